"""Every public attribute of every public class, set to what it cannot be: right, or refused by name.

What is assigned is refused at once, or where it is used; nothing has changed then. What is accepted, such as
what a layer remembers of its last input, makes no difference to a training.
"""

import inspect
from types import SimpleNamespace

import numpy as np
import pytest
from models import Scale
from own import Descent, Points, Ramp
from public import activations, losses, optimizers, public_classes

import fastnp as nn

VALUES = {"None": None, "NaN": float("nan"), "-1": -1, "a string": "text", "an array": np.array([1.5, 2.5])}
REFUSALS = (TypeError, ValueError, AttributeError)


def world():
    """An object of every public class, most of them in one training."""
    rng = np.random.default_rng(0)
    normal, he, constant = nn.Normal(0.0, 0.5, rng=rng), nn.HeNormal(rng=rng), nn.Constant(0.1)
    others = [cls(rng=rng) for cls in (nn.Uniform, nn.XavierUniform, nn.XavierNormal, nn.HeUniform)]
    linear = nn.Linear(3, 4, weight_attr=normal, bias_attr=constant)
    norm, dropout = nn.LayerNorm(4), nn.Dropout(0.2, rng)
    bends, scale = [cls() for cls in activations()], Scale()
    model = nn.Sequential(linear, norm, *bends, dropout, scale, nn.Linear(4, 2, weight_attr=he))
    x, y = rng.normal(size=(11, 3)), rng.normal(size=(11, 2))
    dataset = nn.ArrayDataset(x, y)
    loader = nn.DataLoader(dataset, batch_size=4, reshuffle=True, rng=rng, chunk=False)
    optimizer, loss_fn, history = nn.SGD(parameters=model.parameters(), learning_rate=0.05), nn.MSE(), nn.History()
    loss_fn(model(x), y)
    parts = SimpleNamespace(model=model, loss_fn=loss_fn, optimizer=optimizer, loader=loader, history=history, rng=rng)
    parts.stopping = nn.EarlyStopping(restore_best=False)
    parts.objects = [
        normal,
        he,
        constant,
        *others,
        linear,
        linear.weights,
        norm,
        dropout,
        *bends,
        scale,
        model,
        dataset,
        loader,
        loader.sampler,
    ]
    parts.objects += [optimizer, Descent(linear.parameters()), loss_fn, history, parts.stopping, Points(), Ramp()]
    parts.objects += [cls() for cls in losses() if cls is not nn.MSE]
    parts.objects += [cls(parameters=model.parameters()) for cls in optimizers() if cls is not nn.SGD]
    return parts


def public_attributes(value):
    names = {name for name in vars(value) if not name.startswith("_")}
    described = inspect.getmembers(
        type(value), lambda member: hasattr(type(member), "__get__") and not callable(member)
    )
    names |= {name for name, _ in described if not name.startswith("_")}
    return sorted(names if type(value) in public_classes() else names & {"name", "parameters", "learning_rate"})


def state(parts):
    return (
        [p.data.tobytes() + p.grad.tobytes() for p in parts.model.parameters()],
        [v.tobytes() for v in parts.optimizer.velocity],
        parts.rng.bit_generator.state,
        list(parts.history.loss) if isinstance(parts.history.loss, list) else None,
    )


def train(parts):
    """The loop, then fit: what they leave."""
    for x, y in parts.loader:
        parts.loss_fn(parts.model(x), y)
        parts.model.backward(parts.loss_fn.backward())
        parts.optimizer.step()
        parts.optimizer.clear_grad()
    return fit(parts)


def fit(parts):
    nn.fit(parts.model, parts.loss_fn, parts.optimizer, parts.loader, 2, progress=False, history=parts.history,
           validation=(np.ones((2, 3)), np.ones((2, 2))), early_stopping=parts.stopping)  # fmt: skip
    return state(parts)


CASES = [
    pytest.param(i, name, value, id=f"{type(made).__name__}.{name}-{value}")
    for i, made in enumerate(world().objects)
    for name in public_attributes(made)
    for value in VALUES
]
# Numbers that these may be.
MEANT = {(nn.Constant, "value", "-1"), (nn.Normal, "mean", "-1")}
# None means NumPy's global generator.
GLOBAL = ("rng", "None")


@pytest.mark.triples
@pytest.mark.parametrize(("i", "name", "value"), CASES)
@pytest.mark.parametrize("use", [train, fit])
def test_an_attribute_is_right_or_refused_by_name(i, name, value, use):
    parts, untouched = world(), world()
    target, before = parts.objects[i], state(parts)
    if (type(target), name, value) in MEANT:
        setattr(target, name, VALUES[value])
        assert np.mean(target((50, 50))) == pytest.approx(-1, abs=0.1)
        return
    try:
        setattr(target, name, VALUES[value])
    except REFUSALS as error:
        assert name in str(error) or name in ("input", "activated")
        assert state(parts) == before
        assert use(parts) == use(untouched)  # as if nothing had been tried
        return
    if (name, value) == GLOBAL:
        np.random.seed(3)
        use(parts)
        return
    try:
        after = use(parts)
    except REFUSALS as error:
        assert name in str(error) or (name == "dataset" and "data set" in str(error))
        assert state(parts) == before
    else:
        assert after == use(untouched)


def test_there_is_an_object_of_every_public_class():
    made = {cls for value in world().objects for cls in type(value).__mro__}
    reports = {cls for cls in public_classes() if cls not in made}
    assert not reports
