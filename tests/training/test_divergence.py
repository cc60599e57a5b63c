"""A loss that is no longer finite: the message says what was at fault, and where."""

import pickle

import numpy as np
import pytest
from models import Scale, assert_same_bits, build, sgd, values

import fastnp as nn

pytestmark = pytest.mark.usefixtures("backend")

X = np.random.default_rng(0).normal(size=(12, 3))
Y = np.random.default_rng(1).normal(size=(12, 2))


class Points(nn.Dataset):
    def __init__(self, x, y):
        self.x, self.y = x, y

    def __getitem__(self, idx):
        return self.x[idx], self.y[idx]

    def __len__(self):
        return len(self.x)


def spoilt(array, value):
    array = array.copy()
    array[6, 1] = value
    return array


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e200])
@pytest.mark.parametrize("name", ["x", "y"])
def test_the_data_of_a_users_own_set_is_named(name, value):
    data = {"x": X, "y": Y}
    data[name] = spoilt(data[name], value)
    model = build(3, 8, 2)
    history = nn.History()
    words = rf"epoch 0, batch 1, for the data is at fault: {name}\[2, 1\] of this batch is .*not a finite float32"
    loader = nn.DataLoader(Points(data["x"], data["y"]), batch_size=4)
    with np.errstate(over="ignore"), pytest.raises(nn.DivergedError, match=words) as raised:
        nn.fit(model, nn.MSE(), sgd(model), loader, 5, history=history, progress=False)
    assert (raised.value.epoch, raised.value.batch) == (0, 1) and history.loss == []
    assert "smaller learning rate" not in str(raised.value)
    again = pickle.loads(pickle.dumps(raised.value))
    assert (str(again), again.epoch, again.batch) == (str(raised.value), 0, 1)


def test_data_that_a_callback_spoils_is_named():
    """The compiled run, which checked the data before it began."""
    model, dataset = build(3, 8, 2), nn.ArrayDataset(X.copy(), Y.copy())

    def spoil(epoch, loss):
        if epoch == 1:
            dataset.Y[6, 1] = np.nan

    loader = nn.DataLoader(dataset, batch_size=4)
    with pytest.raises(nn.DivergedError, match=r"epoch 2, batch 1, .*y\[2, 1\] of this batch is nan"):
        nn.fit(model, nn.MSE(), sgd(model), loader, 5, callback=spoil, progress=False)


@pytest.mark.parametrize("own", [False, True])
def test_parameters_that_were_not_finite_before_are_named(own):
    model = nn.Sequential(*build(3, 8, 2).graphs, *[Scale()] * own)
    model.graphs[2].weights.data[5, 1] = np.nan
    with pytest.raises(nn.DivergedError, match=r"for a parameter of shape \(8, 2\) is nan at \[5, 1\] before this"):
        nn.fit(model, nn.MSE(), sgd(model), nn.DataLoader(nn.ArrayDataset(X, Y)), 1, progress=False)


def test_a_training_that_diverges_is_told_to_go_slower():
    model = build(3, 8, 2)
    with pytest.raises(nn.DivergedError, match="try a smaller learning rate"):
        nn.fit(model, nn.MSE(), sgd(model, learning_rate=1e6), nn.DataLoader(nn.ArrayDataset(X, Y)), 50, progress=False)
    assert all(np.isfinite(value).all() for value in values(model))


@pytest.mark.parametrize("own", [False, True])
def test_a_last_update_that_diverges_is_noticed(own):
    """No loss comes after it."""
    model = nn.Sequential(*build(3, 8, 2).graphs, *[Scale()] * own)
    loader, history = nn.DataLoader(nn.ArrayDataset(X, Y), batch_size=12), nn.History()
    optimizer = sgd(model, learning_rate=1e39)
    words = "after its last update, in epoch 0, batch 0, a parameter .* left as they stand"
    with np.errstate(all="ignore"), pytest.raises(nn.DivergedError, match=words):
        nn.fit(model, nn.MSE(), optimizer, loader, 1, history=history, progress=False)
    assert len(history.loss) == 1 and np.isfinite(history.loss[0])
    assert not all(np.isfinite(value).all() for value in values(model))


class Masked(nn.Layer):
    def __init__(self):
        super().__init__()
        self.mask = nn.Tensor((2,))
        self.mask.data = [0, -np.inf]

    def forward(self, x):
        return np.where(np.isinf(self.mask.data), 0, x)

    def backward(self, gradient):
        return np.where(np.isinf(self.mask.data), 0, gradient)

    def parameters(self):
        return [self.mask]


@pytest.mark.parametrize("held", ["all", "the others"])
def test_parameters_that_were_infinite_from_the_start_are_no_divergence(held):
    model = nn.Sequential(*build(3, 2).graphs, Masked())
    optimizer = sgd(model, parameters=(model if held == "all" else model.graphs[0]).parameters())
    assert len(nn.fit(model, nn.MSE(), optimizer, nn.DataLoader(nn.ArrayDataset(X, Y)), 2, progress=False).loss) == 2


@pytest.mark.parametrize("rate", [None, np.nan, -1.0, "fast"])
def test_a_callback_that_sets_no_learning_rate(rate):
    model = build(3, 8, 2)
    optimizer, kept = sgd(model), []

    def change(epoch, loss):
        kept[:] = values(model)
        optimizer.learning_rate = rate

    with pytest.raises((TypeError, ValueError), match="SGD: learning_rate must be"):
        nn.fit(model, nn.MSE(), optimizer, nn.DataLoader(nn.ArrayDataset(X, Y)), 3, callback=change, progress=False)
    assert_same_bits(values(model), kept)
    assert optimizer.learning_rate == 0.05


def test_targets_that_a_loss_leaves_out_are_not_at_fault():
    class Known(nn.MSE):
        def forward(self, pred, target):
            self.known = np.isfinite(target)
            return super().forward(np.where(self.known, pred, 0), np.where(self.known, target, 0))

        def backward(self):
            return np.where(self.known, super().backward(), 0)

    model = build(3, 8, 2)
    loader = nn.DataLoader(Points(X, spoilt(Y, np.nan)), batch_size=4)
    with np.errstate(all="ignore"), pytest.raises(nn.DivergedError, match="try a smaller learning rate"):
        nn.fit(model, Known(), sgd(model, learning_rate=1e6), loader, 60, progress=False)
