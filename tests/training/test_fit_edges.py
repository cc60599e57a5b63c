"""What ends a training by `fit`: a loss that diverges, and bad input before anything is changed."""

import math
import pickle

import numpy as np
import pytest
from fits import assert_same, data, fit, loop, setup, state
from fits import backend as backend

import fastnp as nn
from fastnp.training import compiled, finite

# --- a loss that is no longer finite ---


class Same(nn.Layer):
    """A layer of a user's own, which computes nothing."""

    def forward(self, x):
        return x

    def backward(self, gradient):
        return gradient


LINEAR_CHAIN = [(3, 4), (4, 2)]  # with ReLU a large step makes the network constant instead


def diverging_loop(run):
    """The loop until a loss is not finite: the losses of whole epochs, then (epoch, batch)."""
    losses = []
    while True:
        total, batches = 0.0, 0
        for x, y in run.loader:
            loss = run.loss_fn(run.model(x), y)
            if not math.isfinite(loss):
                return losses, (len(losses), batches)
            run.model.backward(run.loss_fn.backward())
            run.optimizer.step()
            run.optimizer.clear_grad()
            total += loss
            batches += 1
        losses.append(total / batches)


@pytest.mark.parametrize("layers", [LINEAR_CHAIN, [*LINEAR_CHAIN, Same]], ids=["kernel", "loop"])
@pytest.mark.parametrize("called_back", [False, True])
@pytest.mark.parametrize("reshuffle", [False, True])
@pytest.mark.parametrize("staged", [1 << 19, 5 * (16 + 2) * 4 * 2])
@pytest.mark.parametrize("rate, batch_size", [(0.1, 1), (0.7, 5), (2, 8), (2, 23)])
def test_divergence(rate, batch_size, staged, reshuffle, called_back, layers, monkeypatch):
    monkeypatch.setattr(compiled, "STAGED_BYTES", staged)
    options = {"reshuffle": reshuffle, "batch_size": batch_size, "sgd": {"learning_rate": rate}}
    run, other, history = setup(layers, **options), setup(layers, **options), nn.History([7.0])
    callback = (lambda *_: None) if called_back else None
    with pytest.raises(nn.DivergedError) as raised:
        fit(run, 1000, history=history, callback=callback)
    losses, where = diverging_loop(other)
    error = raised.value
    assert (error.epoch, error.batch) == where
    assert where[0] > 0
    assert not math.isfinite(error.loss)
    assert f"epoch {where[0]}, batch {where[1]}" in str(error) and "learning rate" in str(error)
    assert history.loss == [7.0, *losses]
    mine, theirs = state(run), state(other)
    for name in "pred", "dpred":  # NaN in some places
        assert np.array_equal(mine.pop(name), theirs.pop(name), equal_nan=True)
    names = [name for name in theirs if not name.startswith(("seen", "input", "activated"))]
    assert_same({name: mine[name] for name in names}, {name: theirs[name] for name in names})
    run.optimizer.learning_rate = other.optimizer.learning_rate = 0  # usable: the same batch fails once more
    with pytest.raises(nn.DivergedError):
        fit(run, 1000)


def test_divergence_at_once():
    run = setup(sgd={"learning_rate": 1})
    run.model.graphs[0].weights.data[0, 0] = np.inf
    before = [tensor.data.copy() for tensor in run.model.parameters()]
    with pytest.raises(nn.DivergedError) as raised:
        fit(run, 5)
    assert (raised.value.epoch, raised.value.batch) == (0, 0)
    assert all(np.array_equal(a, b.data) for a, b in zip(before, run.model.parameters(), strict=True))
    again = pickle.loads(pickle.dumps(raised.value))
    assert str(again) == str(raised.value)
    assert (again.epoch, again.batch) == (0, 0) and np.isnan(again.loss) == np.isnan(raised.value.loss)


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_divergence_without_warnings(reduction):
    run = setup(LINEAR_CHAIN, loss={"reduction": reduction}, sgd={"learning_rate": 0.7})
    with pytest.raises(nn.DivergedError):
        fit(run, 1000)


def test_a_loss_that_float32_cannot_hold():
    """The squares overflow: no warning but the error."""
    run = setup(arrays=(data()[0], np.full((23, 2), 1e30)), loss={"reduction": "none"})
    with pytest.raises(nn.DivergedError):
        fit(run, 2)


def test_a_validation_loader_without_batches():
    run = setup()
    before = [tensor.data.copy() for tensor in run.model.parameters()]
    with pytest.raises(ValueError, match="validation"):
        fit(run, 2, validation=nn.DataLoader(nn.ArrayDataset(np.ones((0, 3)), np.ones((0, 2)))))
    assert all(np.array_equal(a, b.data) for a, b in zip(before, run.model.parameters(), strict=True))


# --- bad input: a clear error, and nothing is changed ---


def spoiled(array, where, value):
    array = array.copy()
    array[where] = value
    return array


X, Y = data()


BAD = {
    "epochs below 0": ({}, {"epochs": -1}, ValueError, "epochs must be at least 0, got -1"),
    "epochs a float": ({}, {"epochs": 2.0}, TypeError, "epochs must be an integer, got 2.0"),
    "epochs a bool": ({}, {"epochs": True}, TypeError, "epochs must be an integer"),
    "epochs a generator": ({}, {"epochs": iter(range(3))}, TypeError, "epochs must be an integer"),
    "epochs None": ({}, {"epochs": None}, TypeError, "epochs must be an integer"),
    "no batches": ({"batch_size": 24, "drop_last": True}, {}, ValueError, "no batches"),
    "no rows": ({"arrays": (X[:0], Y[:0])}, {}, ValueError, "no batches"),
    "NaN": ({"arrays": (spoiled(X, (7, 2), np.nan), Y)}, {}, ValueError, r"X\[7, 2\] is nan"),
    "first NaN": ({"arrays": (spoiled(X, ([9, 6], [0, 1]), np.nan), Y)}, {}, ValueError, r"X\[6, 1\] is nan"),
    "infinity": ({"arrays": (X, spoiled(Y, (22, 0), -np.inf))}, {}, ValueError, r"Y\[22, 0\] is -inf"),
    "overflow": (
        {"arrays": (X, spoiled(Y, (3, 1), 1e39))},
        {},
        ValueError,
        r"Y\[3, 1\] is 1e\+39, not a finite float32",
    ),
    "half infinity": ({"arrays": (spoiled(X.astype("f2"), (1, 1), np.inf), Y)}, {}, ValueError, r"X\[1, 1\] is inf"),
    "X too narrow": ({"arrays": (X[:, :2], Y)}, {}, ValueError, "got an input with 2 features"),
    "X without columns": ({"arrays": (X[:, :0], Y)}, {}, ValueError, "got an input with 0 features"),
    "X too wide": ({"arrays": (np.tile(X, 2), Y)}, {}, ValueError, "got an input with 6 features"),
    "X flat": ({"arrays": (X[:, 0], Y)}, {}, ValueError, "got an input of shape"),
    "Y too narrow": ({"arrays": (X, Y[:, :1])}, {}, ValueError, r"target \(5, 1\)"),
    "Y flat": ({"arrays": (X, Y[:, 0])}, {}, ValueError, r"target \(5,\)"),
    "history": ({}, {"history": []}, TypeError, "history"),
    "callback": ({}, {"callback": 5}, TypeError, "callback"),
    "validation of four": ({}, {"validation": (X, Y, Y, Y)}, TypeError, "validation must be .*got a tuple of 4"),
    "validation weights": ({}, {"validation": (X, Y, X)}, ValueError, r"validation weight has shape \(23, 3\)"),
    "validation weight": ({}, {"validation": (X, Y, -np.eye(23)[3])}, ValueError, r"validation weight\[3\] is -1"),
    "validation 0": ({}, {"validation": (X, Y, np.zeros(23))}, ValueError, "validation weight: all weights are 0"),
    "validation of none": ({}, {"validation": ()}, ValueError, "the validation has no batches"),
    "validation a number": ({}, {"validation": 5}, TypeError, "validation"),
    "validation lengths": ({}, {"validation": (X, Y[:5])}, ValueError, "validation"),
    "validation width": ({}, {"validation": (X[:, :2], Y)}, ValueError, "2 features"),
    "validation labels": ({}, {"validation": (X, Y[:, :1])}, ValueError, "shape"),
    "validation empty": ({}, {"validation": (X[:0], Y[:0])}, ValueError, "validation"),
    "validation NaN": ({}, {"validation": (spoiled(X, (7, 2), np.nan), Y)}, ValueError, r"\[7, 2\] is nan"),
}


@pytest.mark.parametrize("reshuffle", [False, True])
@pytest.mark.parametrize("name", BAD)
def test_bad_input(name, reshuffle, monkeypatch):
    monkeypatch.setattr(finite, "CHECKED_NUMBERS", 4)
    options, arguments, error, message = BAD[name]
    run, other = (setup(**options | {"reshuffle": reshuffle}) for _ in range(2))
    X, Y = data(5)
    for each in run, other:
        each.loss_fn(each.model(X), Y)
    drawn = np.random.get_state()[1].copy()
    with pytest.raises(error, match=message):
        fit(run, **{"epochs": 3} | arguments)
    assert np.array_equal(drawn, np.random.get_state()[1])
    mine, theirs = state(run), state(other)
    kept = [key for key in theirs if key.startswith(("data", "grad", "velocity", "drawn", "order"))]
    assert_same({key: mine[key] for key in kept}, {key: theirs[key] for key in kept})


def test_large_numbers_fit_into_double():
    fit(setup(arrays=(X, spoiled(Y, (3, 1), 1e39)), dtype=np.float64, sgd={"learning_rate": 1e-30}), 1)


def test_other_models_optimizers_and_loaders():
    run, other = setup(), setup()
    good = run.model, run.loss_fn, run.optimizer, run.loader
    for place, value, error, message in (
        (0, nn.Sequential(nn.ReLU()), ValueError, "no parameters"),
        (0, nn.Sequential(), ValueError, "no parameters"),
        (0, None, TypeError, "model"),
        (0, "model", TypeError, "model"),
        (1, None, TypeError, "loss_fn"),
        (1, nn.MSE, TypeError, "loss_fn"),
        (2, other.optimizer, ValueError, "the optimizer holds none of the model's parameters"),
        (2, 0.1, TypeError, "optimizer"),
        (3, X, (TypeError, ValueError), "dataloader|loader"),
        (3, (batch for batch in run.loader), TypeError, "dataloader"),
        (3, None, TypeError, "dataloader"),
        (3, [], ValueError, "no batches"),
    ):
        arguments = list(good)
        arguments[place] = value
        with pytest.raises(error, match=message):
            nn.fit(*arguments, 2)
    assert fit(run, 2) == loop(other, 2)
