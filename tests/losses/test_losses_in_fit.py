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
    yield nn.CrossEntropy(0.1), np.random.default_rng(3).dirichlet(np.ones(3), 21)
    yield nn.CrossEntropy(), np.random.default_rng(3).integers(0, 3, (21, 1))


@pytest.mark.parametrize(("loss_fn", "target"), list(trainings()))
@pytest.mark.parametrize("weight", [None, WEIGHT], ids=["", "weighted"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("reduction", ["mean", "sum"])
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
