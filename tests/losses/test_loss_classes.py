"""Losses as users call them: values by hand, shapes, reductions, settings, copies."""

import copy
import pickle

import numpy as np
import pytest
from public import losses

import fastnp as nn

RNG = np.random.default_rng(0)
PRED = RNG.normal(size=(6, 3))
WEIGHT = np.array([1, 0, 2, 0.5, 1, 3])
SETTINGS = {
    nn.Huber: {"delta": 0.5},
    nn.Quantile: {"q": (0.1, 0.5, 0.9)},
    nn.BCEWithLogits: {"pos_weight": (1.0, 2.0, 0.5)},
    nn.CrossEntropy: {"label_smoothing": 0.1, "class_weight": (1.0, 2.0, 0.5)},
}
each_loss = pytest.mark.parametrize("cls", losses(), ids=lambda cls: cls.__name__)
elementwise = [cls for cls in losses() if cls is not nn.CrossEntropy]


def made(cls, **options):
    return cls(**SETTINGS.get(cls, {}), **options)


def target_of(loss_fn, shape=PRED.shape):
    return loss_fn._example_target(shape, np.random.default_rng(1))


def softplus(x):
    return np.log1p(np.exp(x))


def log_softmax(x):
    return x - np.log(np.sum(np.exp(x), axis=1, keepdims=True))


D, Z = PRED - 0.2, np.full(PRED.shape, 0.2)
LABELS = np.array([0, 2, 1, 1, 0, 2])
ONE_HOT = np.eye(3)[LABELS]
W = np.array(SETTINGS[nn.CrossEntropy]["class_weight"])
BY_HAND = {  # a loss, its target, what 'none' returns
    "mse": (nn.MSE(), Z, D**2 / 2),
    "mae": (nn.MAE(), Z, abs(D)),
    "huber": (nn.Huber(0.5), Z, np.where(abs(D) <= 0.5, D**2 / 2, 0.5 * (abs(D) - 0.25))),
    "quantile": (nn.Quantile(0.3), Z, np.maximum(-0.3 * D, 0.7 * D)),
    "quantiles": (nn.Quantile([0.1, 0.5, 0.9]), Z, np.maximum(-D * [0.1, 0.5, 0.9], D * [0.9, 0.5, 0.1])),
    "poisson": (nn.PoissonNLL(), Z, np.exp(PRED) - 0.2 * PRED),
    "bce": (nn.BCEWithLogits(), Z, 0.2 * softplus(-PRED) + 0.8 * softplus(PRED)),
    "bce-weighted": (nn.BCEWithLogits([1, 2, 3]), Z, 0.2 * softplus(-PRED) * [1, 2, 3] + 0.8 * softplus(PRED)),
    "labels": (nn.CrossEntropy(), LABELS, -log_softmax(PRED)[range(6), LABELS]),
    "smoothed": (nn.CrossEntropy(0.3), LABELS, -np.sum((0.7 * ONE_HOT + 0.1) * log_softmax(PRED), axis=1)),
    "class-weight": (nn.CrossEntropy(class_weight=W), LABELS, -W[LABELS] * log_softmax(PRED)[range(6), LABELS]),
    "both": (
        nn.CrossEntropy(0.3, W), LABELS, -np.sum((0.7 * ONE_HOT + 0.1) * W * log_softmax(PRED), axis=1),
    ),
    "bce-clipped": (
        nn.BCEWithLogits([1, 2, 3], clip=0.4), Z,
        0.2 * np.minimum(softplus(-PRED), -np.log(0.4)) * [1, 2, 3] + 0.8 * np.minimum(softplus(PRED), -np.log(0.4)),
    ),
    "labels-clipped": (
        nn.CrossEntropy(clip=0.3), LABELS, -np.log(np.maximum(np.exp(log_softmax(PRED)), 0.3))[range(6), LABELS],
    ),
    "both-clipped": (
        nn.CrossEntropy(0.3, W, clip=0.3), LABELS,
        -np.sum((0.7 * ONE_HOT + 0.1) * W * np.maximum(log_softmax(PRED), np.log(0.3)), axis=1),
    ),
    "probabilities-clipped": (
        nn.CrossEntropy(clip=0.3), Z + 2 / 15, -np.sum(np.maximum(log_softmax(PRED), np.log(0.3)), axis=1) / 3,
    ),
    "probabilities": (nn.CrossEntropy(), Z + 2 / 15, -np.sum(log_softmax(PRED), axis=1) / 3),
}  # fmt: skip


@pytest.mark.parametrize("name", BY_HAND)
@pytest.mark.parametrize("weight", [None, WEIGHT], ids=["", "weighted"])
def test_values_by_hand(name, weight, backend):
    loss_fn, target, terms = BY_HAND[name]
    given = () if weight is None else (weight,)
    w = np.ones(6) if weight is None else weight
    counted = w * (W[LABELS] if name in ("class-weight", "both", "both-clipped") else 1)
    terms = terms * w.reshape(-1, *[1] * (terms.ndim - 1))
    for reduction, expected in (
        ("none", terms), ("sum", np.sum(terms)), ("mean", np.sum(terms) / np.sum(counted) / (terms.size / 6)),
        ("batchmean", np.sum(terms) / np.sum(counted)),
    ):  # fmt: skip
        loss_fn.reduction = reduction
        loss = loss_fn(PRED, target, *given)
        np.testing.assert_allclose(loss, expected, rtol=1e-12)
        assert isinstance(loss, np.ndarray if reduction == "none" else float)


@each_loss
@pytest.mark.parametrize("reduction", ["mean", "batchmean", "sum", "none"])
@pytest.mark.parametrize("weight", [None, WEIGHT], ids=["", "weighted"])
def test_gradients_are_those_of_the_loss(cls, reduction, weight, backend):
    loss_fn = made(cls, reduction=reduction)
    target = target_of(loss_fn)
    model = nn.Sequential(nn.Linear(3, 3, weight_attr=nn.Normal(0, 1), dtype=np.float64))
    report = nn.gradient_check(model, loss_fn, PRED, target, weight=weight)
    assert report.passed, report


@each_loss
def test_what_is_remembered(cls, backend):
    loss_fn = made(cls)
    assert loss_fn.pred is None and loss_fn.target is None
    with pytest.raises(ValueError, match="backward before a loss"):
        loss_fn.backward()
    for dtype in np.float32, np.float64:
        pred, target = PRED.astype(dtype), target_of(loss_fn)
        loss_fn(pred, target)
        assert loss_fn.backward().dtype == loss_fn.pred.dtype == loss_fn.target.dtype == dtype
        assert loss_fn.backward().shape == loss_fn.pred.shape == pred.shape
        np.testing.assert_array_equal(loss_fn.target, target.astype(dtype))
        pred[:] = 0
        assert np.any(loss_fn.pred)
        gradient = loss_fn.backward()
        gradient[:] = 0
        assert np.any(loss_fn.backward())


@each_loss
def test_copies_go_their_own_way(cls):
    loss_fn = made(cls)
    loss_fn(PRED, target_of(loss_fn))
    gradient = loss_fn.backward()
    for clone in copy.copy(loss_fn), copy.deepcopy(loss_fn), pickle.loads(pickle.dumps(loss_fn)):
        assert repr(clone) == repr(loss_fn)
        assert vars(clone).keys() == loss_fn.__getstate__().keys()
        np.testing.assert_array_equal(clone.backward(), gradient)
        clone(2 * PRED, target_of(loss_fn))
        np.testing.assert_array_equal(loss_fn.backward(), gradient)
        clone.reduction = "sum"
        for name in cls._settings:
            setattr(clone, name, {"label_smoothing": 0.5, "class_weight": None, "clip": 0.1}.get(name, 0.7))
        assert loss_fn.reduction == "mean" and repr(loss_fn) == repr(made(cls))


@pytest.mark.parametrize("cls", [nn.BCEWithLogits, nn.CrossEntropy])
def test_an_old_pickle_has_no_clip(cls, backend):
    loss_fn, old = made(cls), cls.__new__(cls)
    vars(old).update({name: value for name, value in loss_fn.__getstate__().items() if name != "clip"})
    assert old.clip is None
    assert old(9 * PRED, target_of(loss_fn)) == loss_fn(9 * PRED, target_of(loss_fn))


@pytest.mark.parametrize("cls", [nn.BCEWithLogits, nn.CrossEntropy])
def test_a_clip_is_in_force_from_the_next_call_on(cls, backend):
    loss_fn, target = made(cls), target_of(made(cls))
    whole = loss_fn(9 * PRED, target)
    gradient = loss_fn.backward()
    loss_fn.clip = 0.1
    assert loss_fn(9 * PRED, target) < whole
    np.testing.assert_array_equal(loss_fn.backward(), gradient)
    loss_fn.clip = None
    assert loss_fn(9 * PRED, target) == whole


REPRS = {
    "MAE(reduction='mean')": nn.MAE(),
    "Huber(delta=0.5, reduction='sum')": nn.Huber(0.5, "sum"),
    "Quantile(q=(0.1, 0.9), reduction='mean')": nn.Quantile(np.array([0.1, 0.9])),
    "PoissonNLL(reduction='none')": nn.PoissonNLL("none"),
    "BCEWithLogits(pos_weight=None, clip=None, reduction='mean')": nn.BCEWithLogits(),
    "CrossEntropy(label_smoothing=0.1, class_weight=(1.0, 2.0), clip=1e-07, reduction='mean')": nn.CrossEntropy(
        0.1, [1, 2], clip=1e-7
    ),
}


@pytest.mark.parametrize("expected", REPRS)
def test_reprs_show_the_settings(expected):
    assert repr(REPRS[expected]) == expected


def test_names():
    assert [cls().name for cls in losses()] == [str(cls()) for cls in losses()]
    names = {"MSE": "mse", "MAE": "mae", "Huber": "huber", "Quantile": "quantile", "PoissonNLL": "poisson_nll",
             "BCEWithLogits": "bce_with_logits", "CrossEntropy": "cross_entropy"}  # fmt: skip
    assert {cls.__name__: cls().name for cls in losses()} == names
    assert all(cls(name="mine").name == "mine" for cls in losses())


def test_settings_may_be_changed_at_any_time(backend):
    for cls, settings in SETTINGS.items():
        plain, changed = cls(), made(cls)
        target = target_of(plain)
        before = changed(PRED, target), plain(PRED, target)
        assert before[0] != before[1]
        for name in settings:
            setattr(changed, name, getattr(plain, name))
        assert changed(PRED, target) == before[1]
        np.testing.assert_array_equal(changed.backward(), plain.backward())


@each_loss
@pytest.mark.parametrize("reduction", ["mean", "batchmean", "sum", "none"])
def test_weights_of_one_are_no_weights(cls, reduction, backend):
    loss_fn = made(cls, reduction=reduction)
    target = target_of(loss_fn)
    plain, gradient = loss_fn(PRED, target), loss_fn.backward()
    np.testing.assert_array_equal(loss_fn(PRED, target, np.ones(6)), plain)
    np.testing.assert_array_equal(loss_fn.backward(), gradient)


@each_loss
@pytest.mark.parametrize("reduction", ["mean", "batchmean", "sum"])
def test_weights_of_zero(cls, reduction, backend):
    loss_fn = made(cls, reduction=reduction)
    assert loss_fn(PRED, target_of(loss_fn), np.zeros(6)) == 0
    assert not loss_fn.backward().any()


@pytest.mark.parametrize("cls", elementwise, ids=lambda cls: cls.__name__)
@pytest.mark.parametrize("shape", [(), (6,), (6, 1), (2, 3, 3), (0, 3), (0,)], ids=str)
def test_other_shapes(cls, shape, backend):
    loss_fn = cls(reduction="sum")
    pred, target = np.random.default_rng(2).normal(size=shape), target_of(loss_fn, shape)
    flat = loss_fn(np.reshape(pred, (1, -1)), np.reshape(target, (1, -1)))
    gradient = loss_fn.backward()
    assert loss_fn(pred, target) == pytest.approx(flat, rel=1e-14)
    np.testing.assert_array_equal(loss_fn.backward(), gradient.reshape(shape))
    if shape and shape[0]:
        assert loss_fn(pred, target, np.ones(shape[0])) == pytest.approx(flat, rel=1e-14)
    loss_fn.reduction = "none"
    assert loss_fn(pred, target).shape == shape


def test_settings_of_each_output_go_with_the_last_axes(backend):
    q = np.linspace(0.1, 0.9, 6)
    pred, target = np.random.default_rng(0).normal(size=(2, 4, 2, 3))
    flat = nn.Quantile(q, "none")(pred.reshape(4, 6), target.reshape(4, 6))
    loss_fn = nn.Quantile(q, "none")
    np.testing.assert_array_equal(loss_fn(pred, target), flat.reshape(4, 2, 3))
    assert nn.cross_check(nn.Linear(2, 6), np.ones((3, 2)), None, loss_fn).passed
    one = nn.Quantile([0.3], "sum")  # a row of one number each
    assert one(pred[0].ravel(), target[0].ravel()) == pytest.approx(nn.Quantile(0.3, "sum")(pred[0], target[0]))


def test_labels_come_in_many_ways(backend):
    loss_fn = nn.CrossEntropy()
    expected = loss_fn(PRED, LABELS)
    for labels in (
        LABELS[:, np.newaxis], LABELS.tolist(), LABELS.astype(np.uint8), LABELS.astype(np.float32), LABELS[::-1][::-1],
        LABELS.astype(">i8"),
    ):  # fmt: skip
        assert loss_fn(PRED, labels) == expected
    for rows in ONE_HOT, ONE_HOT.astype(int), ONE_HOT.astype(bool), np.asfortranarray(ONE_HOT):
        assert loss_fn(PRED, rows) == expected
    assert loss_fn(PRED[:, :2], LABELS > 0) == loss_fn(PRED[:, :2], (LABELS > 0).astype(int))
    assert loss_fn(PRED[:, :1], np.zeros(6)) == 0  # one class alone


def test_cross_entropy_of_infinite_logits(backend):
    pred = np.array([[-np.inf, 0, 0], [0, -np.inf, 0]])
    loss_fn = nn.CrossEntropy(reduction="none")
    np.testing.assert_allclose(loss_fn(pred, [1, 2]), [np.log(2)] * 2)
    np.testing.assert_allclose(loss_fn.backward(), [[0, -0.5, 0.5], [0.5, 0, -0.5]])
    np.testing.assert_allclose(loss_fn(pred, np.eye(3)[[1, 2]]), [np.log(2)] * 2)
    np.testing.assert_array_equal(loss_fn(pred, [0, 0]), [np.inf, np.log(2)])
    np.testing.assert_array_equal(nn.CrossEntropy(0.1, [0, 1, 1], "none")(pred[:1], [1]) < np.inf, True)


def test_nothing_at_all(backend):
    for cls in losses():
        loss_fn = cls(reduction="sum")
        assert loss_fn(np.empty((0, 3)), target_of(loss_fn, (0, 3))) == 0
        assert loss_fn.backward().shape == (0, 3)
        for loss_fn.reduction in "mean", "batchmean":
            with pytest.raises(ValueError, match="empty batch"):
                loss_fn(np.empty((0, 3)), target_of(loss_fn, (0, 3)))
