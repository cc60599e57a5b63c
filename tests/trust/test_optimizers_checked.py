"""`cross_check` of optimizers: every rule is judged by its formula, from the updates that were made before."""

import copy

import numpy as np
import pytest
from cases import DTYPES
from models import assert_same_bits, batches, build, gradients, train, values

import fastnp as nn
from fastnp.backend import BACKENDS
from fastnp.trust.rounded import Rounded

dtypes = pytest.mark.parametrize("dtype", DTYPES, ids=lambda dtype: dtype.__name__)
X = np.random.default_rng(3).normal(size=(7, 3))

OPTIMIZERS = {
    "sgd": (nn.SGD, {}, ["velocity"]),
    "nesterov": (nn.SGD, {"nesterov": True}, ["velocity"]),
    "rated": (nn.SGD, {"rate_in_velocity": True}, ["velocity"]),
    "rated-nesterov": (nn.SGD, {"rate_in_velocity": True, "nesterov": True}, ["velocity"]),
    "adam": (nn.Adam, {}, ["first_moment", "second_moment"]),
    "adam-hat": (nn.Adam, {"epsilon": 1e-3, "epsilon_hat": True}, ["first_moment", "second_moment"]),
    "adamw": (nn.AdamW, {"weight_decay": 0.1}, ["first_moment", "second_moment"]),
    "rmsprop": (nn.RMSprop, {}, ["mean_square", "velocity"]),
    "rmsprop-momentum": (nn.RMSprop, {"momentum": 0.9}, ["mean_square", "velocity"]),
}
SETTINGS = {
    "plain": {},
    "l2": {"weight_decay": 0.1, "decay_bias": False},
    "l1-clipped": {"weight_decay": 0.1, "decay_type": "l1", "clip_norm": 0.01},
    "not clipped": {"clip_norm": 1e6, "learning_rate": nn.schedules.Cosine(0.1, 9, warmup=2)},
}
optimizers = pytest.mark.parametrize("name", OPTIMIZERS)


def made(name, parameters, **options):
    cls, own, _ = OPTIMIZERS[name]
    return cls(parameters=parameters, **own | options)


def steps(report):
    """The rows of the updates."""
    return [row for row in report.rows if ", step " in row.what]


def checked(model, optimizer, **options):
    report = nn.cross_check(model, X, optimizer=optimizer, **options)
    assert report.passed, str(report)
    assert not report.unchecked
    return report


# --- sound optimizers pass ---


@dtypes
@optimizers
@pytest.mark.parametrize("settings", SETTINGS)
def test_every_optimizer_passes(name, settings, dtype):
    model = build(3, 9, 2, dtype=dtype)
    rows = steps(checked(model, made(name, model.parameters(), **SETTINGS[settings])))
    count = 3 if "adam" in name else 2
    arrays = [*OPTIMIZERS[name][2], "data"]
    for backend in BACKENDS:
        expected = {(f"tensor {i}", f"{a}, step {s + 1}") for i in range(4) for a in arrays for s in range(count)}
        assert {(row.where, row.what) for row in rows if row.backend == backend} == expected
    assert 0.1 < max(row.fraction for row in rows) <= 1  # roundings show
    for row in rows:
        assert row.got != 0 or row.what.startswith("velocity")


@dtypes
@pytest.mark.parametrize("settings", [
    {"beta1": 0.0}, {"beta2": 0.0}, {"beta1": 0.9999, "beta2": 0.9999999}, {"epsilon": 1.0}, {"learning_rate": 0.0},
])  # fmt: skip
def test_settings_at_their_ends(settings, dtype):
    model = build(3, 9, 2, dtype=dtype)
    for updates in 0, 10**9:
        optimizer = nn.Adam(model.parameters(), **settings)
        optimizer.updates = updates
        checked(model, optimizer)


@optimizers
@pytest.mark.parametrize("value", [np.inf, 1e25])
def test_what_overflows_is_not_wrong(name, value):
    x = X.copy()
    x[2, 1] = value
    model = build(3, 9, 2)
    for options in {}, {"clip_norm": 0.1}:
        report = nn.cross_check(model, x, optimizer=made(name, model.parameters(), **options))
        assert report.passed, str(report)


@dtypes
@optimizers
@pytest.mark.parametrize("power", [-60, -20, 20])
def test_magnitudes(name, power, dtype):
    model = build(3, 9, 2, dtype=dtype)
    optimizer = made(name, model.parameters(), clip_norm=2.0**power)
    report = nn.cross_check(model, X * 2.0**power, np.full((7, 2), 2.0**power), optimizer=optimizer)
    assert report.passed, str(report)


# --- where it begins ---


@optimizers
def test_it_goes_on_from_the_updates_that_were_made(name, backend):
    asked = []

    def schedule(update):
        asked.append(update)
        return 0.1 / (1 + update)

    model = build(3, 9, 2)
    optimizer = made(name, model.parameters(), learning_rate=schedule)
    train(model, optimizer, batches(3, 2))
    done = optimizer.updates
    asked.clear()
    rows = steps(checked(model, optimizer))
    count = len({row.what for row in rows}) // (len(OPTIMIZERS[name][2]) + 1)
    assert set(asked) >= set(range(done, done + count))
    old = values(model)[0]
    first = next(row for row in rows if (row.where, row.what) == ("tensor 0", "data, step 1"))
    assert abs(first.got - old[first.index]) < 0.1


def test_an_optimizer_that_does_not_count_is_found(monkeypatch):
    """The count, and so the rates of a schedule, are the judge's own."""
    model = build(3, 9, 2)
    cases = [nn.Adam(model.parameters()), nn.RMSprop(model.parameters(), lambda update: 0.1 / (1 + update))]
    monkeypatch.setattr(nn.Optimizer, "updates", property(lambda self: 0, lambda self, value: None))
    for optimizer in cases:
        report = nn.cross_check(model, X, optimizer=optimizer)
        failed = {row.what for row in report.rows if not row.passed}
        assert failed and all(what.startswith("data") and not what.endswith("step 1") for what in failed)


def test_the_norm_is_of_all_that_the_optimizer_holds():
    """Also of another model's tensors, which are run along."""
    model, other = build(3, 9, 2), build(2, 2, seed=1)
    for tensor in other.parameters():
        tensor.grad += 5
    optimizer = nn.SGD(parameters=[*other.parameters(), *model.parameters()], clip_norm=0.01)
    rows = steps(checked(model, optimizer))
    assert {row.where for row in rows} == {*(f"tensor {i}" for i in range(4)), "of another model"}


def test_a_part_of_the_parameters_is_named_by_its_place_in_the_model():
    model = build(3, 9, 5, 2)
    optimizer = nn.Adam(model.graphs[-1].parameters())
    assert {row.where for row in steps(checked(model, optimizer))} == {"tensor 4", "tensor 5"}


@dtypes
@optimizers
def test_model_and_optimizer_stay_as_they_are(name, dtype):
    model = build(3, 9, 2, dtype=dtype)
    optimizer = made(name, model.parameters(), clip_norm=0.1, learning_rate=nn.schedules.Exponential(0.1, 0.9))
    train(model, optimizer, batches(3, 2))
    tensors, kept = list(optimizer.parameters), OPTIMIZERS[name][2]
    before = [*values(model), *gradients(model), *(a.copy() for kind in kept for a in getattr(optimizer, kind))]
    schedule, updates, rate = optimizer.schedule, optimizer.updates, optimizer.learning_rate
    twin, twins = copy.deepcopy((model, optimizer))
    checked(model, optimizer)
    after = [*values(model), *gradients(model), *(a for kind in kept for a in getattr(optimizer, kind))]
    assert_same_bits(before, after)
    assert all(a is b for a, b in zip(tensors, optimizer.parameters, strict=True))
    assert (optimizer.schedule, optimizer.updates, optimizer.learning_rate) == (schedule, updates, rate)
    train(model, optimizer, batches(3, 2))
    train(twin, twins, batches(3, 2))
    assert_same_bits(values(model), values(twin))


# --- the users' own ---


class Own(nn.Optimizer):
    runs = 0

    def step(self):
        Own.runs += 1
        for p in self.parameters:
            p.data = p.data - self.learning_rate * p.grad


class Redefined(nn.Adam):
    def get_decay(self, values):
        return 0.1 * values**3


def test_the_users_own_are_run_and_named():
    model = build(3, 9, 2)
    replaced = nn.SGD(parameters=model.parameters())
    replaced.get_decay = lambda values: 0 * values
    Own.runs = 0
    for optimizer in Own(model.parameters()), Redefined(model.parameters()), replaced:
        name = f"optimizer {type(optimizer).__name__}"
        report = nn.cross_check(model, X, optimizer=optimizer)
        assert report.unchecked == [name]
        assert report.passed and not steps(report)
        assert f"{name}: not fastnp's own, run but not checked" in str(report)
    assert Own.runs == 2 * len(BACKENDS)


def test_a_subclass_that_only_adds_is_checked():
    class Named(nn.RMSprop):
        def describe(self):
            return "an optimizer of mine"

    model = build(3, 9, 2)
    assert steps(checked(model, Named(model.parameters())))


def test_what_an_optimizer_raises_is_raised():
    model = build(3, 9, 2)
    optimizer = nn.Adam(model.parameters(), lambda update: -1.0 if update == 2 else 0.1)
    with pytest.raises(ValueError, match="for update 2"):
        nn.cross_check(model, X, optimizer=optimizer)


# --- bad input ---


@pytest.mark.parametrize(
    ("optimizer", "error", "words"),
    [
        (lambda: nn.Adam(build(3, 9, 2).parameters()), ValueError, "holds none of the model's parameters"),
        (lambda: Own(build(3, 9, 2).parameters()), ValueError, "holds none of the model's parameters"),
        (lambda: nn.SGD, TypeError, "optimizer must be an object with step"),
        (lambda: 0.1, TypeError, "optimizer must be an object with step"),
    ],
)
def test_bad_optimizers_are_refused_before_anything_runs(optimizer, error, words):
    model = build(3, 9, 2)
    with pytest.raises(error, match=f"cross_check: .*{words}"):
        nn.cross_check(model, [["no", "numbers"]], optimizer=optimizer())


# --- the arithmetic of the judge ---


def drawn(dtype, seed):
    rng = np.random.default_rng(seed)
    return (rng.normal(size=500) * 2.0 ** rng.integers(-20, 20, 500)).astype(dtype)


FORMULAS = {
    "sum": lambda a, b, c, s: a + b,
    "difference": lambda a, b, c, s: a - b,
    "cancelling": lambda a, b, c, s: (a + c) - a,
    "product": lambda a, b, c, s: a * b * c,
    "quotient": lambda a, b, c, s: (a + b) / (c * c),
    "root": lambda a, b, c, s: (a * a + b * b) ** 0.5,
    "settings": lambda a, b, c, s: s * a + (1 - s) * b,
    "from a setting": lambda a, b, c, s: 1 - a / s,
}


@dtypes
@pytest.mark.parametrize("name", FORMULAS)
def test_what_is_computed_is_within_the_bound(name, dtype):
    numbers, formula = [drawn(dtype, seed) for seed in range(3)], FORMULAS[name]
    exact = formula(*(Rounded(a, dtype) for a in numbers), Rounded.setting(0.9))
    computed = formula(*numbers, 0.9)
    error = abs(computed - exact.value)
    assert computed.dtype == dtype
    assert (error <= exact.error).all()
    assert np.max(error / exact.error) > 0.2  # and it is no more than there is to be


@dtypes
def test_the_bound_holds_for_numbers_below_the_normal_ones(dtype):
    a, b = (drawn(dtype, seed) * np.finfo(dtype).tiny for seed in range(2))
    b *= np.finfo(dtype).eps / dtype(np.finfo(dtype).tiny)
    exact = Rounded(a, dtype) * Rounded(b, dtype)
    assert (abs(a * b - exact.value) <= exact.error).all()
    assert (a * b != exact.value).any()


@dtypes
def test_what_may_overflow_on_the_way_is_not_judged(dtype):
    largest = np.finfo(dtype).max
    a = Rounded(np.array([largest / 2, largest / 8, 1.0], dtype), dtype)
    with np.errstate(invalid="ignore"):
        assert np.array_equal(np.isfinite((a * 4 * 2.0**-60).error), [False, True, True])


@pytest.mark.parametrize("beta", [0.0, 0.1, 0.9, 0.999, 0.9999999])
def test_what_corrects_a_moment_is_within_the_bound(beta):
    """1 − betaᵗ, in double, of which little may be left."""
    mpmath = pytest.importorskip("mpmath")
    for t in 1, 2, 3, 1000, 10**6:
        exact = 1 - beta ** Rounded.setting(t)
        with mpmath.workdps(50):
            power = mpmath.mpf(beta) ** t
            judged = 1 - power
            assert abs(float(judged - mpmath.mpf(1 - beta**t))) <= exact.error
            assert exact.error <= (min(t, 64) + 3) * 2.0**-53 * (power + judged) + 2e-30
