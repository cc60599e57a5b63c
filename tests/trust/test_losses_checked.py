"""`cross_check` and `gradient_check` of every loss, with and without weights; they find a loss that is wrong."""

import numpy as np
import pytest
from models import build
from public import losses

import fastnp as nn

X = np.random.default_rng(3).normal(size=(7, 3))
WEIGHT = [1, 2, 0, 0.5, 1, 3, 0.1]
SETTINGS = {
    nn.Huber: {"delta": 0.3},
    nn.Quantile: {"q": [0.1, 0.9]},
    nn.BCEWithLogits: {"pos_weight": [3, 0.5]},
    nn.CrossEntropy: {"label_smoothing": 0.1, "class_weight": [1, 3]},
}
CLIPPED = {nn.BCEWithLogits: {"pos_weight": [3, 0.5], "clip": 0.4}, nn.CrossEntropy: {"clip": 0.4}}
each_loss = pytest.mark.parametrize("cls", losses(), ids=lambda cls: cls.__name__)
reductions = pytest.mark.parametrize("reduction", ["mean", "batchmean", "sum", "none"])
weights = pytest.mark.parametrize("weight", [None, WEIGHT], ids=["", "weighted"])


@each_loss
@reductions
@weights
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_losses_pass(cls, reduction, weight, dtype):
    for settings in {}, SETTINGS.get(cls, {}), CLIPPED.get(cls, {}):
        report = nn.cross_check(
            build(3, 9, 2, dtype=dtype), X, None, cls(reduction=reduction, **settings), weight=weight
        )
        assert report.passed, report
        assert {("the loss", "value"), ("the loss", "gradient")} <= {(row.where, row.what) for row in report.rows}


@reductions
@weights
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_probabilities_pass(reduction, weight, dtype):
    rows = np.random.default_rng(0).dirichlet([1, 1], 7)
    for smoothing, clip in (0.0, None), (0.2, None), (0.2, 0.4):
        loss_fn = nn.CrossEntropy(smoothing, reduction=reduction, clip=clip)
        assert nn.cross_check(build(3, 9, 2, dtype=dtype), X, rows, loss_fn, weight=weight).passed


@each_loss
@weights
def test_gradients_pass(cls, weight, backend):
    loss_fn = cls(**SETTINGS.get(cls, {}))
    target = loss_fn._example_target((7, 2), np.random.default_rng(0))
    report = nn.gradient_check(build(3, 9, 2), loss_fn, X, target, weight=weight)
    assert report.passed, report


@each_loss
@pytest.mark.parametrize("check", ["cross_check", "gradient_check"])
def test_bad_weights_are_refused(cls, check):
    target = cls()._example_target((7, 2), np.random.default_rng(0))
    arguments = (X, target, cls()) if check == "cross_check" else (cls(), X, target)
    with pytest.raises(ValueError, match="weight has shape"):
        getattr(nn, check)(build(3, 9, 2), *arguments, weight=[1, 2])


@each_loss
def test_a_gradient_that_forgets_the_weights_is_found(cls):
    class Forgetful(cls):
        def forward(self, pred, target, weight=None):
            loss = super().forward(pred, target, weight)
            super().forward(pred, target)
            return loss

    target = cls()._example_target((7, 2), np.random.default_rng(0))
    report = nn.gradient_check(build(3, 9, 2), Forgetful(), X, target, weight=WEIGHT)
    assert not report.passed
    assert nn.gradient_check(build(3, 9, 2), Forgetful(), X, target).passed


def test_a_loss_of_the_users_own_gets_weights_where_there_are_some():
    seen = []

    class Own(nn.Loss):
        def forward(self, pred, target, weight=1.0):
            seen.append(weight)
            self.gradient = np.broadcast_to(np.reshape(weight, (-1, 1)), pred.shape)
            return float(np.sum(self.gradient * pred))

        def backward(self):
            return self.gradient

    assert nn.cross_check(build(3, 9, 2), X, None, Own(), weight=WEIGHT).passed
    assert nn.gradient_check(build(3, 9, 2), Own(), X, np.zeros((7, 2)), weight=WEIGHT).passed
    assert all(weight is WEIGHT for weight in seen)
    assert nn.cross_check(build(3, 9, 2), X, None, Own()).passed
    assert seen[-1] == 1.0
