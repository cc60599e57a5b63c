"""A method that a user redefines, in a subclass or on an object, takes effect on every path.

Every public method of every public class is redefined by one that counts its calls and distorts what it
returns. `EFFECTS` says on which paths it must then be called; a method that is not listed fails the test.
What it computes is judged by the loop written out, which knows no fast path.
"""

import copy
import functools
import inspect
import pickle
from types import SimpleNamespace

import numpy as np
import pytest
from models import Scale, assert_same_bits
from own import Absolute, Descent, Points, Ramp, X, Y
from public import activations, losses, optimizers, public_classes

import fastnp as nn

CALL, PREDICT, LOOP, FIT, VALIDATION, BUILD = "call", "predict", "loop", "fit", "validation", "build"
FORWARD = {CALL, PREDICT, LOOP, FIT, VALIDATION}
TRAINING = {LOOP, FIT}
NOWHERE: set[str] = set()  # nothing calls it but the user
LAYER = {"forward": FORWARD, "__call__": FORWARD, "backward": TRAINING, "predict": {PREDICT, VALIDATION},
         "parameters": {BUILD, FIT}, "train": NOWHERE, "eval": NOWHERE}  # fmt: skip
LOSS = {"forward": TRAINING | {VALIDATION}, "__call__": TRAINING | {VALIDATION}, "backward": TRAINING}
INITIALIZER = {"__call__": {BUILD}}
DATASET = {"__getitem__": TRAINING, "__len__": {BUILD}}
OPTIMIZER = {"step": TRAINING, "clear_grad": TRAINING, "get_decay": TRAINING, "bind": NOWHERE}
EFFECTS = {
    nn.Layer: LAYER,
    nn.Linear: LAYER,
    **dict.fromkeys(activations(), LAYER),
    nn.Dropout: LAYER,
    nn.LayerNorm: LAYER,
    nn.Sequential: LAYER | {"add": NOWHERE, "whole_program": NOWHERE, "warn_of_newcomers": {FIT}},
    nn.Loss: LOSS,
    **dict.fromkeys(losses(), LOSS),
    nn.Optimizer: OPTIMIZER,
    **dict.fromkeys(optimizers(), OPTIMIZER),
    nn.Dataset: DATASET,
    nn.ArrayDataset: DATASET | {"__getitems__": TRAINING},
    nn.BatchSampler: {
        "__iter__": TRAINING,
        "__len__": TRAINING,
        "next_order": TRAINING,
        "check_reach": NOWHERE,
        "state": NOWHERE,  # of the compiled run, for a sampler with nothing redefined
        "restore": NOWHERE,
    },
    nn.DataLoader: {"__iter__": TRAINING, "__len__": {FIT}, "__call__": NOWHERE},
    nn.Initializer: INITIALIZER,
    nn.Constant: INITIALIZER,
    nn.Normal: INITIALIZER,
    nn.Uniform: INITIALIZER,
    nn.XavierUniform: INITIALIZER,
    nn.XavierNormal: INITIALIZER,
    nn.HeUniform: INITIALIZER,
    nn.HeNormal: INITIALIZER,
    nn.Tensor: {"clear_grad": TRAINING, "convert": NOWHERE},
    nn.History: {"plot": NOWHERE},
    nn.EarlyStopping: {},  # settings alone
}
SPECIAL = ("__call__", "__iter__", "__len__", "__getitem__", "__getitems__")


class Nested(nn.Sequential):
    """Stands for a Sequential in the middle of another."""


# What users make of the classes that do nothing by themselves.
CONCRETE = {nn.Layer: Scale, nn.Loss: Absolute, nn.Optimizer: Descent, nn.Dataset: Points, nn.Initializer: Ramp}

calls: list[str] = []


def distorted(cls, method, self, *args, **options):
    """What `method` of `cls` returns, changed so that it shows."""
    calls.append(method)
    if method == "backward" and args:
        args = (0.5 * np.asarray(args[0]),)
    result = getattr(cls, method)(self, *args, **options)
    if method == "step":
        for p in self.parameters:
            p.data = 0.99 * p.data
    elif method == "clear_grad":
        for tensor in [self] if isinstance(self, nn.Tensor) else self.parameters:
            tensor.grad = np.full(tensor.shape, 1e-3)
    elif method == "get_decay":
        return result + 0.1 * args[0]
    elif method in ("__getitem__", "__getitems__"):
        return 2 * result[0], result[1]
    elif method == "__iter__":
        return iter(list(result)[::-1])
    elif method == "__len__":
        return result if isinstance(self, nn.DataLoader) else max(result - 1, 1)
    elif method == "next_order":
        return result[::-1].copy()
    elif method == "parameters":
        return result[:-1]
    elif result is not None:
        return (0.5 if method == "backward" else 1.25) * result
    return result


def public_methods(cls):
    for name, value in inspect.getmembers(cls, callable):
        if name in SPECIAL if name.startswith("_") else not inspect.isclass(value):
            yield name


def cases():
    for cls in public_classes():
        for method in public_methods(cls):
            for kind in [cls, Nested] if cls is nn.Sequential else [cls]:
                yield pytest.param(kind, method, "subclass", id=f"{kind.__name__}.{method}-subclass")
                if method not in SPECIAL or method == "__getitems__":  # the others count on classes only
                    yield pytest.param(kind, method, "object", id=f"{kind.__name__}.{method}-object")


every_override = pytest.mark.parametrize(("cls", "method", "way"), list(cases()))


def effects(cls, method):
    listed = EFFECTS[nn.Sequential if cls is Nested else cls]
    assert method in listed, f"{cls.__name__}.{method} is new: say in EFFECTS on which paths it takes effect"
    return listed[method]


def subclass(cls, method):
    """A subclass of `cls` with `method` redefined; it can be pickled."""
    name = f"Own{cls.__name__}_{method}"
    if name not in globals():
        base = CONCRETE.get(cls, cls)

        def redefined(self, *args, **options):
            return distorted(base, method, self, *args, **options)

        globals()[name] = type(name, (base,), {method: redefined, "__module__": __name__})
    return globals()[name]


def world(cls=None, method=None, way=None):
    """All that a training takes, with `method` of the object of `cls` redefined."""

    def make(of, *args, **options):
        if of is not cls or method is None:
            return CONCRETE.get(of, of)(*args, **options)
        if way == "subclass":
            return subclass(cls, method)(*args, **options)
        made = CONCRETE.get(of, of)(*args, **options)
        setattr(made, method, functools.partial(distorted, type(made), method, made))
        return made

    np.random.seed(0)
    initializer = cls if cls is not None and issubclass(cls, nn.Initializer) else nn.Normal
    options = {nn.Constant: (0.1,), nn.Normal: (0.0, 0.5), nn.Uniform: (-0.5, 0.5)}.get(initializer, ())
    first = make(nn.Linear, 3, 8, weight_attr=make(initializer, *options))
    activation = cls if cls in activations() else nn.ReLU
    layers = [first, make(activation), nn.Linear(8, 2, weight_attr=nn.Normal(0.0, 0.5))]
    inserted = {
        nn.Layer: (),
        nn.LayerNorm: (8,),
        nn.Dropout: (0.0,),
    }  # which leaves nothing out: `predict` is the model
    if cls in inserted:
        layers.insert(1, make(cls, *inserted[cls]))
    elif cls is Nested:
        layers = [first, make(Nested, nn.ReLU(), nn.Linear(8, 8, weight_attr=nn.Normal(0.0, 0.5))), *layers[1:]]
    model = make(nn.Sequential, *layers)
    if cls is nn.Tensor:
        own = make(nn.Tensor, (1, 8))
        first._bias = own
    kind = cls if cls is not None and issubclass(cls, nn.Optimizer) else nn.SGD
    optimizer = make(kind, parameters=model.parameters(), learning_rate=0.05, weight_decay=0.01)
    loss = cls if cls is not None and issubclass(cls, nn.Loss) else nn.MSE
    targets = loss()._example_target(Y.shape, np.random.default_rng(2)) if loss in losses() else Y
    dataset = make(nn.Dataset) if cls is nn.Dataset else make(nn.ArrayDataset, X, targets)
    loader = make(nn.DataLoader, dataset, functools.partial(make, nn.BatchSampler), batch_size=4)
    return SimpleNamespace(
        model=model, loss_fn=make(loss), optimizer=optimizer, loader=loader, history=make(nn.History), targets=targets
    )


def loop(parts, epochs=3):
    """The loop written out: the mean loss of each epoch."""
    losses = []
    for _ in range(epochs):
        total, batches = 0.0, 0  # not by sum(), which is more exact from Python 3.12 on
        for x, y in parts.loader:
            total += parts.loss_fn(parts.model(x), y)
            batches += 1
            parts.model.backward(parts.loss_fn.backward())
            parts.optimizer.step()
            parts.optimizer.clear_grad()
        losses.append(total / batches)
    return losses


def fit(parts, epochs=3, **options):
    history = nn.fit(parts.model, parts.loss_fn, parts.optimizer, parts.loader, epochs, progress=False, **options)
    return history.loss


def values(parts):
    """Of all tensors, whatever `parameters` says."""
    layers = [layer for graph in parts.model.graphs for layer in getattr(graph, "graphs", [graph])]
    return [v.data.copy() for layer in layers for v in vars(layer).values() if isinstance(v, nn.Tensor)]


def called(path, parts):
    """Whether the redefined method is called on a path."""
    calls.clear()
    {
        CALL: lambda: parts.model(X),
        PREDICT: lambda: parts.model.predict(X),
        LOOP: lambda: loop(parts),
        FIT: lambda: fit(parts),
        # 0 epochs would not validate; what the training itself calls is taken off.
        VALIDATION: lambda: nn.fit(parts.model, parts.loss_fn, parts.optimizer, parts.loader, 1, progress=False,
                                   validation=(X, parts.targets)),
    }[path]()  # fmt: skip
    return len(calls)


@every_override
def test_it_is_called_on_every_path(cls, method, way):
    wanted = effects(cls, method)
    calls.clear()
    parts = world(cls, method, way)
    if BUILD in wanted and way == "subclass":
        assert calls
    for path in (CALL, PREDICT, LOOP, FIT):
        if path in wanted:
            assert called(path, world(cls, method, way)), path
    if VALIDATION in wanted:
        without = called(FIT, world(cls, method, way)) / 3
        assert called(VALIDATION, parts) > without


@pytest.mark.triples
@every_override
@pytest.mark.parametrize("clone", [lambda parts: parts, lambda parts: pickle.loads(pickle.dumps(parts)), copy.deepcopy],
                         ids=["itself", "pickled", "copied"])  # fmt: skip
def test_fit_is_the_loop(cls, method, way, clone):
    theirs, mine = world(cls, method, way), clone(world(cls, method, way))
    losses = loop(theirs)
    assert fit(mine) == losses
    assert_same_bits(values(mine), values(theirs))
    if effects(cls, method) >= TRAINING:
        plain = world(cls)
        assert losses != loop(plain) or [v.tobytes() for v in values(theirs)] != [v.tobytes() for v in values(plain)]


@every_override
def test_predict_and_validation_compute_what_the_model_does(cls, method, way):
    parts = world(cls, method, way)
    if method != "predict":
        np.testing.assert_allclose(parts.model.predict(X), parts.model(X), rtol=1e-5, atol=1e-6)
    validation = X, parts.targets
    history = nn.fit(
        parts.model, parts.loss_fn, parts.optimizer, parts.loader, 2, progress=False, validation=validation
    )
    assert history.validation_loss[-1] == parts.loss_fn(parts.model.predict(X), parts.targets)


LAYERS = [
    case
    for case in cases()
    if case.values[0] in (nn.Linear, *activations(), nn.Dropout, nn.LayerNorm, nn.Sequential, Nested)
]


@pytest.mark.parametrize(("cls", "method", "way"), LAYERS)
def test_checks_take_it_for_a_layer_of_the_users_own(cls, method, way):
    parts = world(cls, method, way)
    report = nn.cross_check(parts.model, X)
    assert report.passed, report
    if method in ("forward", "__call__", "backward"):
        assert report.unchecked
        # The other of the two is not redefined: such a gradient is wrong, and the check must see it.
        assert not nn.gradient_check(parts.model, nn.MSE(), X, Y).passed
    else:
        assert nn.gradient_check(parts.model, nn.MSE(), X, Y).passed


def test_all_public_classes_are_listed():
    assert set(public_classes()) == EFFECTS.keys()
    for cls, listed in EFFECTS.items():
        assert listed.keys() == set(public_methods(cls)), cls
