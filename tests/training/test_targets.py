"""What `fit` asks of targets and weights: before training, after callbacks, and of no more rows than it takes."""

import numpy as np
import pytest
from fits import CHAIN, Double, build, fit, setup
from fits import backend as backend

import fastnp as nn

X = np.random.default_rng(0).standard_normal((12, 3))
LABELS = np.arange(12) % 2
COUNTS = np.random.default_rng(1).poisson(2.0, (12, 2)).astype(float)


def training(layers=CHAIN, loss_of=nn.CrossEntropy, target=LABELS, weight=None, **options):
    return setup(layers=layers, arrays=(X, target, weight), loss_of=loss_of, shuffle=False, **options)


def parameters(run):
    return [tensor.data.copy() for tensor in run.model.parameters()]


def spoiled(array, where, value):
    array = array.astype(float)
    array[where] = value
    return array


def assert_refused(run, message, epochs=3, **options):
    before = parameters(run)
    with pytest.raises((ValueError, TypeError), match=message):
        fit(run, epochs, **options)
    assert all(np.array_equal(a, b) for a, b in zip(before, parameters(run), strict=True))


# --- after a callback ---

CHANGES = {
    "counts": (nn.PoissonNLL, COUNTS, {"Y": spoiled(COUNTS, (1, 0), -5)}, r"poisson_nll: target\[1, 0\] is -5"),
    "of 0 and 1": (nn.BCEWithLogits, COUNTS > 1, {"Y": spoiled(COUNTS > 1, (1, 0), 7)}, r"target\[1, 0\] is 7"),
    "probabilities": (nn.CrossEntropy, np.eye(2)[LABELS], {"Y": np.full((12, 2), 0.7)}, r"target\[0\] sums to 1.4"),
    "labels": (nn.CrossEntropy, LABELS, {"Y": spoiled(LABELS, 1, 2)}, r"target\[1\] is 2.0"),
    "weights too long": (nn.MSE, COUNTS, {"weight": np.ones(20)}, "X has 12 rows, weight 20"),
    "targets too long": (nn.MSE, COUNTS, {"Y": np.ones((20, 2))}, "X has 12 rows, Y 20"),
    "too few rows": (nn.MSE, COUNTS, {"X": X[:7]}, "X has 7 rows, Y 12"),
}  # fmt: skip


@pytest.mark.parametrize("what", CHANGES)
def test_data_that_a_callback_sets(what):
    loss_of, target, change, message = CHANGES[what]
    run, seen = training(loss_of=loss_of, target=target), []

    def callback(epoch, loss):
        seen.append(parameters(run))
        for name, value in change.items():
            setattr(run.loader.dataset, name, value)

    with pytest.raises(ValueError, match=message):
        fit(run, 3, callback=callback)
    assert len(seen) == 1
    assert all(np.array_equal(a, b) for a, b in zip(seen[0], parameters(run), strict=True))


def test_what_a_callback_writes_into_weights_and_settings():
    weight = np.ones(12)
    run = training(weight=weight)
    with pytest.raises(ValueError, match=r"fit: weight\[5\] is -1"):
        fit(run, 2, callback=lambda epoch, loss: weight.__setitem__(5, -1))
    run = training(target=np.eye(2)[LABELS])
    with pytest.raises(ValueError, match="class_weight is for labels"):
        fit(run, 2, callback=lambda epoch, loss: setattr(run.loss_fn, "class_weight", [1, 2]))


# --- which rows ---


class Shifted(nn.DataLoader):
    """Gives other targets than those of its data set."""

    def __iter__(self):
        for x, y in super().__iter__():
            yield x, y - 1


class Labelled(nn.BatchSampler):
    """Draws no row without a label."""

    def __iter__(self):
        for indices in super().__iter__():
            yield indices[indices > 2]


def test_targets_of_a_loader_of_ones_own_are_its_own():
    run = training(target=LABELS + 1)
    run.loader = Shifted(nn.ArrayDataset(X, LABELS + 1), batch_size=5)
    fit(run, 1)


@pytest.mark.parametrize("bad", [-1, np.nan])
def test_rows_that_are_not_drawn_may_hold_anything(bad):
    target = spoiled(LABELS, slice(0, 3), bad)
    run = training(target=target)
    run.loader.sampler.indices = np.arange(3, 12)
    fit(run, 1, callback=lambda epoch, loss: None)
    run.loader = nn.DataLoader(nn.ArrayDataset(X, target), Labelled, batch_size=4)
    fit(run, 1)
    run.loader.dataset.Y[7] = bad
    run.loader = nn.DataLoader(run.loader.dataset)
    run.loader.sampler.indices = np.arange(3, 12)
    assert_refused(run, r"target\[7\] is -1" if bad == -1 else r"Y\[7\] is nan")


def test_rows_that_a_last_short_batch_leaves_out():
    run = training(target=spoiled(LABELS, 11, 9), drop_last=True)
    fit(run, 1)
    assert_refused(training(target=spoiled(LABELS, 11, 9)), r"target\[11\] is 9")


# --- before anything is changed ---


def linear(target, loss_of):
    run = training(target=target, loss_of=loss_of)
    run.model = nn.Linear(3, 2)
    run.optimizer = nn.SGD(parameters=run.model.parameters())
    return run


def test_whatever_the_model_is():
    assert_refused(linear(spoiled(LABELS, 11, 7), nn.CrossEntropy), r"target\[11\] is 7.0")
    for layers in [*CHAIN, Double], [Double, *CHAIN]:
        assert_refused(training(layers, nn.PoissonNLL, spoiled(COUNTS, (11, 1), -1)), r"target\[11, 1\] is -1")
        assert_refused(training(layers, target=spoiled(np.eye(2)[LABELS], 11, 1)), r"target\[11\] sums to 2")


def test_a_validation_loader_too():
    for bad in spoiled(LABELS, 11, 7), spoiled(LABELS, 11, np.nan):
        loader = nn.DataLoader(nn.ArrayDataset(X, bad), batch_size=5)
        assert_refused(training(), r"target\[11\] is 7.0|validation Y\[11\] is nan", validation=loader)


def test_weights_beyond_the_dtype():
    assert_refused(training(weight=spoiled(np.ones(12), 3, 1e39)), r"fit: weight\[3\] is 1e\+39, not a finite float32")


def test_probabilities_are_not_looked_at_again_when_they_are_rounded():
    """In float32, what sums to 0.99 may be less than that."""
    small = np.arange(1, 9000) / 1e5
    target = np.stack([0 * small, small, 0.990000001 - small], axis=1)
    in_double, in_single = (target.astype(dtype).sum(axis=1, dtype=float) for dtype in (float, np.float32))
    target = target[(abs(in_double - 1) <= 0.01) & (abs(in_single - 1) > 0.01)][:12]
    assert len(target) == 12
    model = build([(3, 3)])
    loss_fn = nn.CrossEntropy()
    history = nn.fit(
        model, loss_fn, nn.SGD(parameters=model.parameters()), nn.DataLoader(nn.ArrayDataset(X, target), batch_size=5),
        3, progress=False,
    )  # fmt: skip
    assert len(history.loss) == 3


# --- validation is of all data at once ---

WEIGHT = np.random.default_rng(2).uniform(0, 3, 12)


class Column(nn.Dataset):
    """Gives each weight as an array of one."""

    def __getitem__(self, idx):
        return X[idx], LABELS[idx], WEIGHT[idx : idx + 1]

    def __len__(self):
        return 12


class Renamed(nn.CrossEntropy):
    """Redefines what changes no loss."""

    def backward(self):
        return 1.0 * super().backward()


@pytest.mark.parametrize("cls", [nn.CrossEntropy, Renamed])
@pytest.mark.parametrize("reduction", ["mean", "batchmean", "sum", "none"])
@pytest.mark.parametrize("settings", [{}, {"class_weight": [1, 5]}], ids=["", "class_weight"])
@pytest.mark.parametrize("weight", [None, WEIGHT, "column"], ids=["", "weighted", "column"])
def test_over_a_loader_it_is_that_of_all_data(cls, reduction, settings, weight):
    run = training(loss_of=cls, loss={"reduction": reduction, **settings}, dtype=np.float64)
    run.optimizer.learning_rate = 0.0
    data = Column() if weight is not None and isinstance(weight, str) else nn.ArrayDataset(X, LABELS, weight)
    arrays = (X, LABELS) if weight is None else (X, LABELS, WEIGHT)
    got = [nn.History(), nn.History()]
    for history, validation in zip(got, (nn.DataLoader(data, batch_size=5), arrays), strict=True):
        fit(run, 1, validation=validation, history=history)
    np.testing.assert_allclose(got[0].validation_loss, got[1].validation_loss, rtol=1e-12)


def test_no_weight_is_none():
    history = nn.History()
    run = training()
    fit(run, 1, validation=(X, LABELS, None), history=history)
    assert history.validation_loss == [nn.CrossEntropy()(run.model.predict(X), LABELS)]
