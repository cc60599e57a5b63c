"""What losses refuse, and how they say so; nothing has changed then."""

import numpy as np
import pytest
from public import losses

import fastnp as nn

PRED = np.zeros((4, 3))
NAN, INF = np.nan, np.inf
THIRDS = np.full((4, 3), 1 / 3)


def row(*values, at=2):
    """Zeros (4, 3), in one row of which other values stand."""
    array = np.zeros((4, 3))
    array[at] = values
    return array


def rows(*values, at=2):
    """As `row`, of probabilities."""
    array = THIRDS.copy()
    array[at] = values
    return array


SETTINGS = [
    (lambda: nn.Huber(0), ValueError, "Huber: delta must be finite and positive, got 0"),
    (lambda: nn.Huber(-1.0), ValueError, "Huber: delta must be finite and positive, got -1.0"),
    (lambda: nn.Huber(NAN), ValueError, "Huber: delta must be finite and positive, got nan"),
    (lambda: nn.Huber(INF), ValueError, "Huber: delta must be finite and positive, got inf"),
    (lambda: nn.Huber("1"), TypeError, "Huber: delta must be a number, got '1'"),
    (lambda: nn.Huber([1, 2]), TypeError, "Huber: delta must be a number, got [1, 2]"),
    (lambda: nn.Huber(None), TypeError, "Huber: delta must be a number, got None"),
    (lambda: nn.Quantile(0), ValueError, "Quantile: q must be between 0 and 1, got 0"),
    (lambda: nn.Quantile(1.0), ValueError, "Quantile: q must be between 0 and 1, got 1.0"),
    (lambda: nn.Quantile([0.5, 1.5]), ValueError, "Quantile: q[1] must be between 0 and 1, got 1.5"),
    (lambda: nn.Quantile([0.5, NAN]), ValueError, "Quantile: q[1] must be finite, got nan"),
    (lambda: nn.Quantile("half"), TypeError, "Quantile: q must be a number, got 'half'"),
    (lambda: nn.Quantile(["half"]), TypeError, "Quantile: q has dtype"),
    (lambda: nn.Quantile([]), ValueError, "Quantile: q must be a number or a list of them, got shape (0,)"),
    (lambda: nn.Quantile([[0.5]]), ValueError, "Quantile: q must be a number or a list of them, got shape (1, 1)"),
    (lambda: nn.Quantile([[0.5], [0.1, 0.2]]), ValueError, "Quantile: q is ragged"),
    (lambda: nn.BCEWithLogits(-1), ValueError, "BCEWithLogits: pos_weight must be finite and not negative, got -1"),
    (lambda: nn.BCEWithLogits([1, INF]), ValueError, "BCEWithLogits: pos_weight[1] must be finite and not negative"),
    (lambda: nn.BCEWithLogits("1"), TypeError, "BCEWithLogits: pos_weight must be a number, got '1'"),
    (lambda: nn.BCEWithLogits(clip=0), ValueError, "BCEWithLogits: clip must be None or between 0 and 0.5, got 0"),
    (lambda: nn.BCEWithLogits(clip="1"), TypeError, "BCEWithLogits: clip must be a number, got '1'"),
    (lambda: nn.CrossEntropy(clip=0.5), ValueError, "CrossEntropy: clip must be None or between 0 and 0.5, got 0.5"),
    (lambda: nn.CrossEntropy(clip=NAN), ValueError, "CrossEntropy: clip must be"),
    (lambda: nn.CrossEntropy(1.1), ValueError, "CrossEntropy: label_smoothing must be from 0 to 1, got 1.1"),
    (lambda: nn.CrossEntropy(-0.1), ValueError, "CrossEntropy: label_smoothing must be from 0 to 1, got -0.1"),
    (lambda: nn.CrossEntropy(None), TypeError, "CrossEntropy: label_smoothing must be a number, got None"),
    (
        lambda: nn.CrossEntropy(class_weight=2.0), TypeError,
        "CrossEntropy: class_weight must be None or a number for each class, got 2.0",
    ),
    (
        lambda: nn.CrossEntropy(class_weight=[1, -1]), ValueError,
        "CrossEntropy: class_weight[1] must be finite and not negative, got -1",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("make", "error", "message"), SETTINGS, ids=[message for _, _, message in SETTINGS])
def test_bad_settings(make, error, message):
    with pytest.raises(error) as caught:
        make()
    assert str(caught.value).startswith(message)


def test_settings_are_checked_when_they_are_assigned():
    loss_fn = nn.Huber(0.5)
    with pytest.raises(ValueError, match="delta must be finite and positive"):
        loss_fn.delta = 0
    assert loss_fn.delta == 0.5
    loss_fn = nn.CrossEntropy(0.1, [1, 2])
    for name, value in ("label_smoothing", 2), ("class_weight", [-1]), ("clip", -0.1), ("reduction", "median"):
        with pytest.raises(ValueError, match=name):
            setattr(loss_fn, name, value)
    assert repr(loss_fn) == "CrossEntropy(label_smoothing=0.1, class_weight=(1.0, 2.0), clip=None, reduction='mean')"


def test_a_setting_is_a_copy():
    q = np.array([0.1, 0.9])
    loss_fn = nn.Quantile(q)
    q[:] = 7
    assert loss_fn.q == (0.1, 0.9)


LABELS = "expected labels, whole numbers from 0 to 2"
COUNTS = "expected counts, which are finite and not negative"
ROW_OF = "expected probabilities of 3 classes, which sum to 1 within 0.01"
TARGETS = [
    (nn.CrossEntropy(), [0, 1, 3, 0], f"cross_entropy: target[2] is 3; {LABELS}"),
    (nn.CrossEntropy(), [0, -1, 3, 0], f"cross_entropy: target[1] is -1; {LABELS}"),
    (nn.CrossEntropy(), [[0], [1], [2], [3]], f"cross_entropy: target[3, 0] is 3; {LABELS}"),
    (nn.CrossEntropy(), [0, 1, 0.5, 0], f"cross_entropy: target[2] is 0.5; {LABELS}"),
    (nn.CrossEntropy(), [0, 1, 0, NAN], f"cross_entropy: target[3] is nan; {LABELS}"),
    (nn.CrossEntropy(), [INF, 1, 0, 0], f"cross_entropy: target[0] is inf; {LABELS}"),
    (nn.CrossEntropy(), rows(0.5, 0.4, 0), f"cross_entropy: target[2] sums to 0.9; {ROW_OF}"),
    (nn.CrossEntropy(), row(1, 0, 0), f"cross_entropy: target[0] sums to 0; {ROW_OF}"),
    (
        nn.CrossEntropy(), rows(1.5, -0.5, 0),
        "cross_entropy: target[2, 1] is -0.5; expected probabilities, which are not negative",
    ),
    (
        nn.CrossEntropy(), rows(NAN, 0, 1, at=1),
        "cross_entropy: target[1, 0] is nan; expected probabilities, which are not negative",
    ),
    (nn.CrossEntropy(), rows(INF, 0, 1, at=1), f"cross_entropy: target[1] sums to inf; {ROW_OF}"),
    (
        nn.CrossEntropy(class_weight=[1, 2, 3]), THIRDS,
        "cross_entropy: class_weight is for labels; the target has probabilities, (4, 3)",
    ),
    (
        nn.CrossEntropy(class_weight=[1, 2]), [0, 1, 0, 1],
        "cross_entropy: class_weight has 2 numbers, but the predictions have 3 classes",
    ),
    (
        nn.CrossEntropy(), [0, 1, 2],
        "cross_entropy: pred has shape (4, 3), target (3,); expected a label for each row, (4,), or probabilities, "
        "(4, 3)",
    ),
    (nn.CrossEntropy(), np.zeros((4, 2)), "cross_entropy: pred has shape (4, 3), target (4, 2); expected a label"),
    (nn.CrossEntropy(), np.zeros((4, 1, 3)), "cross_entropy: pred has shape (4, 3), target (4, 1, 3); expected a"),
    (nn.CrossEntropy(), 1, "cross_entropy: pred has shape (4, 3), target (); expected a label"),
    (nn.PoissonNLL(), row(0, -1, 0), f"poisson_nll: target[2, 1] is -1.0; {COUNTS}"),
    (nn.PoissonNLL(), row(0, NAN, 0), f"poisson_nll: target[2, 1] is nan; {COUNTS}"),
    (nn.PoissonNLL(), row(0, 0, INF), f"poisson_nll: target[2, 2] is inf; {COUNTS}"),
    (nn.BCEWithLogits(), row(0, 1.01, 0), "bce_with_logits: target[2, 1] is 1.01; expected probabilities from 0 to 1"),
    (nn.BCEWithLogits(), row(-1, 1, 0), "bce_with_logits: target[2, 0] is -1.0; expected probabilities from 0 to 1"),
    (nn.BCEWithLogits(), row(NAN, 1, 0), "bce_with_logits: target[2, 0] is nan; expected probabilities from 0 to 1"),
    (
        nn.BCEWithLogits([1, 2]), row(0, 0, 0),
        "bce_with_logits: pos_weight has 2 numbers, but the predictions have 3 outputs",
    ),
    (nn.Quantile([0.1, 0.9]), row(0, 0, 0), "quantile: q has 2 numbers, but the predictions have 3 outputs"),
    *[
        (cls(), np.zeros(4), f"{cls().name}: pred has shape (4, 3), target (4,); they must be equal")
        for cls in losses() if cls is not nn.CrossEntropy
    ],
]  # fmt: skip


@pytest.mark.parametrize(("loss_fn", "target", "message"), TARGETS, ids=[f"{i}" for i in range(len(TARGETS))])
def test_bad_targets(loss_fn, target, message):
    with pytest.raises(ValueError) as caught:
        loss_fn(PRED, target)
    assert str(caught.value).startswith(message)
    assert loss_fn.pred is None and loss_fn.target is None


def test_rows_are_counted_from_the_first():
    for loss_fn, target, message in TARGETS:
        if ": target[2" in message:
            with pytest.raises(ValueError) as caught:
                loss_fn._check_target(np.asarray(target), 3, 1000)
            assert str(caught.value).startswith(message.replace("target[2", "target[1002"))


@pytest.mark.parametrize("pred", [np.zeros(4), np.zeros((4, 3, 1)), np.zeros((4, 0)), 0.0], ids=np.shape)
def test_cross_entropy_takes_logits_in_rows(pred):
    with pytest.raises(ValueError, match=r"cross_entropy: pred has shape .*; expected logits \(rows, classes\)"):
        nn.CrossEntropy()(pred, [0, 0, 0, 0])


def test_probabilities_may_be_rounded():
    for dtype in np.float16, np.float32, np.float64:
        rows = np.random.default_rng(0).dirichlet(np.ones(30), 50).astype(dtype)
        nn.CrossEntropy()(np.zeros((50, 30)), rows)
    nn.CrossEntropy()(PRED, np.round(THIRDS, 4))


@pytest.mark.parametrize("cls", losses(), ids=lambda cls: cls.__name__)
@pytest.mark.parametrize(
    ("weight", "message"),
    [
        ([1, 1, -1, 1], r"weight\[2\] is -1; weights must be finite and not negative"),
        ([1, 1, 1, NAN], r"weight\[3\] is nan; weights must be finite"),
        ([1, 1, 1], r"weight has shape \(3,\); expected a number for each of 4 rows"),
    ],
)
def test_bad_weights(cls, weight, message):
    loss_fn = cls()
    with pytest.raises(ValueError, match=f"{loss_fn.name}: {message}"):
        loss_fn(PRED, loss_fn._example_target((4, 3), np.random.default_rng(0)), weight)
    assert loss_fn.pred is None


@pytest.mark.parametrize("cls", losses(), ids=lambda cls: cls.__name__)
def test_what_are_no_numbers(cls):
    for pred, target in (PRED.astype(str), PRED), (PRED, PRED.astype(object)), (PRED * 1j, PRED):
        with pytest.raises(TypeError, match=r"the (pred|target) given to the loss"):
            cls()(pred, target)
