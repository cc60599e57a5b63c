"""Weights of rows: through data sets, the loader, the loop, `fit` and validation."""

import copy
import pickle

import numpy as np
import pytest
from fits import CHAIN, Double, compare, data, fit, setup, state
from fits import backend as backend
from fits import kernel_calls as kernel_calls

import fastnp as nn

X, Y = data()
W = np.random.default_rng(3).uniform(0, 2, len(X))
W[::4] = 0

dtypes = pytest.mark.parametrize("dtype", [np.float32, np.float64])
reductions = pytest.mark.parametrize("reduction", ["mean", "batchmean", "sum"])


@dtypes
@reductions
@pytest.mark.parametrize("loader", [{}, {"reshuffle": True}, {"drop_last": True}, {"batch_size": 23}], ids=str)
def test_fit_is_the_loop(dtype, reduction, loader, kernel_calls):
    compare(arrays=(X, Y, W), dtype=dtype, loss={"reduction": reduction}, **loader)
    assert kernel_calls


@pytest.mark.parametrize("weight", [W[:, np.newaxis], W.astype(np.float16), W > 0, np.arange(23), W.tolist()])
def test_in_any_layout(weight, kernel_calls):
    compare(arrays=(X, Y, weight))
    assert kernel_calls


def test_where_the_loop_runs(kernel_calls):
    compare(layers=[*CHAIN, Double], arrays=(X, Y, W))
    compare(arrays=(X, Y, W), loss={"reduction": "none"})
    assert not kernel_calls


@dtypes
@reductions
def test_weights_of_one_change_no_bit(dtype, reduction):
    weighted, plain = (
        setup(arrays=arrays, dtype=dtype, loss={"reduction": reduction}) for arrays in ((X, Y, X[:, 0] ** 0), (X, Y))
    )
    assert fit(weighted, 3) == fit(plain, 3)
    mine, theirs = state(weighted), state(plain)
    assert all(np.array_equal(mine[name], theirs[name]) for name in theirs)


def test_a_weight_counts_as_so_many_rows():
    """Whole weights against rows that stand so often; in float64, whose sums differ by their rounding alone."""
    count = np.arange(len(X)) % 3
    times = np.repeat(np.arange(len(X)), count)
    options = {"dtype": np.float64, "batch_size": 64, "shuffle": False}
    weighted, repeated = setup(arrays=(X, Y, count), **options), setup(arrays=(X[times], Y[times]), **options)
    np.testing.assert_allclose(fit(weighted, 5), fit(repeated, 5), rtol=1e-12)
    for mine, theirs in zip(weighted.model.parameters(), repeated.model.parameters(), strict=True):
        np.testing.assert_allclose(mine.data, theirs.data, rtol=1e-9, atol=1e-12)


def test_a_batch_without_weight_has_loss_0_and_its_update_is_made():
    weight = np.r_[np.zeros(5), np.ones(18)]
    run = compare(arrays=(X, Y, weight), shuffle=False)
    run = setup(arrays=(X[:10], Y[:10], weight[:10]), shuffle=False)
    run.optimizer.velocity[0][:] = 1
    before = run.model.parameters()[0].data.copy()
    x, y, w = next(iter(run.loader))
    assert run.loss_fn(run.model(x), y, w) == 0
    gradient = run.loss_fn.backward()
    assert gradient.shape == y.shape and not gradient.any()
    run.model.backward(gradient)
    run.optimizer.step()
    assert not np.array_equal(run.model.parameters()[0].data, before)


def test_the_loader_hands_them_on():
    loader = nn.DataLoader(nn.ArrayDataset(X, Y, W), batch_size=5)
    assert np.array_equal(np.concatenate([w for _, _, w in loader]), W)
    x, y, w = loader.dataset[3]
    assert np.array_equal(x, X[3]) and np.array_equal(y, Y[3]) and w == W[3]

    class Samples(nn.Dataset):
        def __getitem__(self, idx):
            return X[idx], Y[idx], W[idx]

        def __len__(self):
            return len(X)

    for theirs, mine in zip(nn.DataLoader(Samples(), batch_size=5), loader, strict=True):
        assert all(np.array_equal(a, b) for a, b in zip(theirs, mine, strict=True))
    run, own = setup(arrays=(X, Y, W), shuffle=False), setup(shuffle=False)
    own.loader = nn.DataLoader(Samples(), batch_size=5)
    assert fit(run, 3) == fit(own, 3)


@pytest.mark.parametrize("size", [1, 4])
def test_batches_of_another_size_are_refused(size):
    class Samples(nn.Dataset):
        def __getitem__(self, idx):
            return (X[idx], Y[idx], W[idx], W[idx])[:size]

        def __len__(self):
            return len(X)

    run = setup()
    before = [tensor.data.copy() for tensor in run.model.parameters()]
    run.loader = nn.DataLoader(Samples(), batch_size=5)
    with pytest.raises(ValueError, match=r"triples \(data, label, weight\)"):
        fit(run, 1)

    class Batches(Samples):
        def __getitems__(self, indices):
            return (X[indices], Y[indices], W[indices], W[indices])[:size]

    run.loader = nn.DataLoader(Batches(), batch_size=5)
    with pytest.raises(ValueError, match=rf"batch 0 of epoch 0 must be \(x, y\) or \(x, y, weight\), got {size}"):
        fit(run, 1)
    with pytest.raises(TypeError, match=r"item 0 of which is not \(x, y\) or \(x, y, weight\)"):
        run.loader = [(X, Y, W, W)[:size]]
        fit(run, 1)
    assert all(np.array_equal(a, b.data) for a, b in zip(before, run.model.parameters(), strict=True))


BAD = {
    "negative": (np.where(np.arange(23) == 7, -1, W), r"weight\[7\] is -1"),
    "NaN": (np.where(np.arange(23) == 7, np.nan, W), r"weight\[7\] is nan"),
    "infinite": (np.where(np.arange(23) == 7, np.inf, W), r"weight\[7\] is inf"),
    "all 0": (np.zeros(23), "weight: all weights are 0"),
    "too short": (W[:5], "X has 23 rows, weight 5"),
    "of each number": (np.ones((23, 2)), r"weight has shape \(23, 2\)"),
    "a number": (1.0, "a single number"),
}  # fmt: skip


@pytest.mark.parametrize("what", BAD)
def test_bad_weights_are_refused(what):
    weight, message = BAD[what]
    with pytest.raises(ValueError, match=message):
        nn.ArrayDataset(X, Y, weight)


@pytest.mark.parametrize("value", [-1.0, np.nan])
def test_weights_that_turn_bad_are_refused_before_training(value):
    weight = W.copy()
    run = setup(arrays=(X, Y, weight))
    before = run.model.parameters()[0].data.copy()
    weight[7] = value
    with pytest.raises(ValueError, match=r"fit: weight\[7\] is"):
        fit(run, 1)
    assert np.array_equal(run.model.parameters()[0].data, before)


def test_no_numbers():
    with pytest.raises(TypeError, match="weight"):
        nn.ArrayDataset(X, Y, ["much"] * 23)


def test_callbacks_may_change_them(kernel_calls):
    def change(epoch, loss):
        run.loader.dataset.weight = None if epoch == 1 else W[::-1]

    for layers in CHAIN, [*CHAIN, Double]:
        run = setup(layers=layers, arrays=(X, Y, W), shuffle=False)
        losses = fit(run, 4, callback=change)
        other = setup(layers=layers, arrays=(X, Y, W), shuffle=False)
        expected = fit(other, 1)
        for weight in W[::-1], None, W[::-1]:
            other.loader.dataset.weight = weight
            expected += fit(other, 1)
        assert losses == expected


def test_copies_have_them():
    dataset = nn.ArrayDataset(X, Y, W)
    for other in copy.copy(dataset), copy.deepcopy(dataset), pickle.loads(pickle.dumps(dataset)):
        assert np.array_equal(other.weight, W)
    assert repr(dataset) == "ArrayDataset(X (23, 3) float64, Y (23, 2) float64, weight (23,) float64)"


def test_a_data_set_from_before_there_were_weights():
    old = nn.ArrayDataset.__new__(nn.ArrayDataset)
    old.__dict__.update(X=X, Y=Y)
    assert len(old[0]) == 2 and old.weight is None


@reductions
def test_validation(reduction):
    run = setup(loss={"reduction": reduction}, dtype=np.float64)
    loader = nn.DataLoader(nn.ArrayDataset(X, Y, W), batch_size=6)
    at_once, by_batch = nn.History(), nn.History()
    other = copy.deepcopy((run.model, run.loss_fn, run.optimizer, run.loader))
    fit(run, 2, validation=(X, Y, W), history=at_once)
    np.random.seed(6)
    nn.fit(*other, 2, validation=loader, history=by_batch, progress=False)
    np.testing.assert_allclose(at_once.validation_loss, by_batch.validation_loss, rtol=1e-12)
    assert at_once.validation_loss[-1] == nn.MSE(reduction=reduction)(run.model.predict(X), Y, W)


def test_validation_batches_without_weight():
    run = setup()
    history = nn.History()
    fit(run, 1, validation=[(X, Y, np.zeros(23)), (X, Y, np.zeros(23))], history=history)
    assert history.validation_loss == [0.0]


class Absolute(nn.Loss):
    """Of a user: |pred − target|."""

    def forward(self, pred, target, *weight):
        self.got = len(weight)
        self.slope = np.sign(pred - target) / pred.size
        return float(np.mean(np.abs(pred - target)))

    def backward(self):
        return self.slope


def test_a_loss_of_ones_own_gets_weights_where_there_are_any():
    run = setup(arrays=(X, Y, W), loss_of=Absolute)
    fit(run, 1, validation=(X, Y))
    assert run.loss_fn.got == 1
    run = setup(loss_of=Absolute)
    fit(run, 1)
    assert run.loss_fn.got == 0
    assert run.loss_fn(X, X) == 0 and run.loss_fn.got == 0
    assert run.loss_fn(X, X, W) == 0 and run.loss_fn.got == 1
