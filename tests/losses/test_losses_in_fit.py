"""`fit` with each loss has the bits of the loop written out, on both backends, with and without weights."""

import copy

import numpy as np
import pytest
from models import assert_same_bits, build, sgd, values
from public import losses

import fastnp as nn

X = np.random.default_rng(0).normal(size=(21, 3))
WEIGHT = np.random.default_rng(1).uniform(0, 2, 21)
SETTINGS = {
    nn.Huber: {"delta": 0.3},
    nn.Quantile: {"q": [0.1, 0.5, 0.9]},
    nn.BCEWithLogits: {"pos_weight": [3, 0.5, 1]},
    nn.CrossEntropy: {"label_smoothing": 0.1, "class_weight": [1, 3, 0.5]},
}


def trainings():
    for cls in losses():
        for settings in {}, SETTINGS.get(cls, {}):
            loss_fn = cls(**settings)
            yield loss_fn, loss_fn._example_target((21, 3), np.random.default_rng(2))
    for loss_fn in nn.BCEWithLogits(clip=0.3), nn.CrossEntropy(clip=0.3):
        yield loss_fn, loss_fn._example_target((21, 3), np.random.default_rng(2))
    yield nn.CrossEntropy(0.1), np.random.default_rng(3).dirichlet(np.ones(3), 21)
    yield nn.CrossEntropy(), np.random.default_rng(3).integers(0, 3, (21, 1))


@pytest.mark.parametrize(("loss_fn", "target"), list(trainings()))
@pytest.mark.parametrize("weight", [None, WEIGHT], ids=["", "weighted"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("reduction", ["mean", "batchmean", "sum"])
def test_fit_is_the_loop(loss_fn, target, weight, dtype, reduction, backend):
    loss_fn = copy.deepcopy(loss_fn)
    loss_fn.reduction = reduction
    data = nn.ArrayDataset(X, target) if weight is None else nn.ArrayDataset(X, target, weight)
    loader = nn.DataLoader(data, batch_size=4)
    theirs, mine = build(3, 9, 3, dtype=dtype), build(3, 9, 3, dtype=dtype)
    optimizer, other = sgd(theirs), sgd(mine)
    optimizer.learning_rate = other.learning_rate = 0.005
    expected = []
    for _ in range(3):
        total = 0.0
        for x, *given in loader:
            total += loss_fn(theirs(x), *given)
            theirs.backward(loss_fn.backward())
            optimizer.step()
            optimizer.clear_grad()
        expected.append(total / len(loader))
    last = loss_fn.pred, loss_fn.target, loss_fn.backward()
    history = nn.fit(mine, loss_fn, other, loader, 3, progress=False)
    assert history.loss == expected
    assert_same_bits(values(mine), values(theirs))
    remembered = loss_fn.pred, loss_fn.target, loss_fn.backward()
    for got, wanted in zip(remembered, last, strict=True):
        np.testing.assert_array_equal(got.reshape(wanted.shape), wanted)


def test_an_easy_task_is_learned(backend):
    labels = (X[:, 0] > 0).astype(int) + (X[:, 1] > 0)
    model = build(3, 16, 3)
    loader = nn.DataLoader(nn.ArrayDataset(X, labels), batch_size=7)
    nn.fit(model, nn.CrossEntropy(), sgd(model), loader, 300, progress=False)
    assert np.mean(model.predict(X).argmax(axis=1) == labels) > 0.9


def spoiled(target, row, value):
    target = target.astype(float)
    target[row] = value
    return target


LABELS = np.random.default_rng(4).integers(0, 3, 21)
BAD = {
    "a label too high": (nn.CrossEntropy, spoiled(LABELS, 17, 3), r"target\[17\] is 3.0; expected labels, .* 0 to 2"),
    "a label below 0": (nn.CrossEntropy, spoiled(LABELS, 17, -1), r"target\[17\] is -1.0"),
    "no whole label": (nn.CrossEntropy, spoiled(LABELS, 17, 0.5), r"target\[17\] is 0.5"),
    "sums": (nn.CrossEntropy, spoiled(np.eye(3)[LABELS], 17, 0.5), r"target\[17\] sums to 1.5"),
    "a count below 0": (nn.PoissonNLL, spoiled(np.ones((21, 3)), (17, 1), -2), r"target\[17, 1\] is -2.0"),
    "beyond 1": (nn.BCEWithLogits, spoiled(np.ones((21, 3)), (17, 1), 1.5), r"target\[17, 1\] is 1.5"),
}  # fmt: skip


class Doubled(nn.Layer):
    def forward(self, x):
        return 2 * np.asarray(x)

    def backward(self, gradient):
        return 2 * gradient


@pytest.mark.parametrize("what", BAD)
@pytest.mark.parametrize("validating", [False, True])
@pytest.mark.parametrize("first", [[], [Doubled]], ids=["compiled", "loop"])
def test_targets_are_looked_at_before_training(what, validating, first, backend):
    cls, target, message = BAD[what]
    model = nn.Sequential(*(layer() for layer in first), *build(3, 9, 3).graphs)
    before = values(model)
    right = cls()._example_target((21, 3), np.random.default_rng(2))
    loader = nn.DataLoader(nn.ArrayDataset(X, right if validating else target), batch_size=4)
    options = {"validation": (X, target)} if validating else {}
    with pytest.raises(ValueError, match=message):
        nn.fit(model, cls(), sgd(model), loader, 1, progress=False, **options)
    assert_same_bits(values(model), before)


@pytest.mark.parametrize("what", ["a label too high", "a label below 0", "no whole label"])
def test_targets_that_turn_bad_while_it_trains(what, backend):
    """A callback writes into the labels: the error is that of the loop, but names the row of the data."""
    target = BAD[what][1]
    errors, after = [], []
    for first in [], [Doubled]:
        labels = LABELS.astype(float)
        model = nn.Sequential(*(layer() for layer in first), *build(3, 9, 3).graphs)
        loader = nn.DataLoader(nn.ArrayDataset(X, labels), batch_size=4)

        def spoil(epoch, loss, labels=labels):
            labels[:] = target

        with pytest.raises(ValueError) as raised:
            nn.fit(model, nn.CrossEntropy(), sgd(model), loader, 2, callback=spoil, progress=False)
        errors.append(str(raised.value))
        after.append(model)
    assert errors[0].startswith("cross_entropy: target[17] is ") and errors[0].replace("[17]", "[1]") == errors[1]


@pytest.mark.parametrize(("last", "cls"), [(nn.Softmax, nn.CrossEntropy), (nn.Sigmoid, nn.BCEWithLogits)])
@pytest.mark.parametrize("nested", [False, True])
def test_what_the_loss_does_itself_is_refused(last, cls, nested):
    model = build(3, 9, 3)
    model.add(nn.Sequential(last()) if nested else last())
    before, loss_fn = values(model), cls()
    target = loss_fn._example_target((21, 3), np.random.default_rng(2))
    loader = nn.DataLoader(nn.ArrayDataset(X, target))
    with pytest.raises(ValueError, match=rf"the model ends in {last.__name__}\(\), which .* does itself"):
        nn.fit(model, loss_fn, sgd(model), loader, 1, progress=False)
    assert_same_bits(values(model), before)
    model.graphs.append(nn.Linear(3, 3))
    nn.fit(model, loss_fn, sgd(model), loader, 1, progress=False)
