"""Schedules: their formulas, the same bits however they are asked, beside PyTorch's, and values that do not change."""

import copy
import itertools
import math
import pickle
import sys
import threading

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import fastnp as nn
from fastnp.schedules import Cosine, Exponential, Linear, OneCycle, Schedule, Step
from fastnp.schedules.schedule import BLOCK

ALL = [
    Step(0.1, 300, 0.5),
    Step(0.1, 1, 0.0),
    Exponential(0.2, 0.999),
    Exponential(0.001, 1.01),
    Exponential(0.0, 2.0),
    Linear(0.0, 0.1, 2500),
    Linear(0.1, 1e-5, 3 * BLOCK),
    Linear(0.3, 0.3, 7),
    Cosine(0.1, 2500, 100, 1e-4),
    Cosine(0.1, BLOCK),
    Cosine(0.3, 10, 9, 0.7),
    OneCycle(0.1, 2 * BLOCK + 1),
    OneCycle(0.1, 1),
]
every_one = pytest.mark.parametrize("schedule", ALL, ids=repr)


def rate(s, t):
    """The rate by its definition, a number at a time."""
    if isinstance(s, Step):
        return s.rate * s.factor ** (t // s.every)
    if isinstance(s, Exponential):
        return s.rate * s.decay**t if s.rate else 0.0
    if isinstance(s, Linear):
        return s.start + (s.stop - s.start) * min(t / s.total, 1)
    if isinstance(s, Cosine):
        if t < s.warmup:
            return s.rate * (t + 1) / s.warmup
        share = min((t - s.warmup) / (s.total - s.warmup), 1)
        return s.floor + (s.rate - s.floor) * (1 + math.cos(math.pi * share)) / 2
    return one_cycle(s.peak, s.total, min(t, s.total - 1))


def one_cycle(peak, total, t):
    top, first, last = 0.3 * total - 1, peak / 25, peak / 250_000
    begin, end, share = (first, peak, t / top) if t <= top else (peak, last, (t - top) / (total - 1 - top))
    return begin + (end - begin) * (1 - math.cos(math.pi * share)) / 2


@every_one
def test_rates_are_by_the_formula(schedule):
    rates = schedule.rates(0, 3 * BLOCK + 5)
    assert rates.dtype == np.float64 and rates.shape == (3 * BLOCK + 5,)
    largest = rates.max()
    for t, value in enumerate(rates):
        assert value == pytest.approx(rate(schedule, t), rel=1e-11, abs=1e-15 * largest)


@every_one
def test_rates_are_finite_and_not_negative(schedule):
    rates = schedule.rates(0, 5 * BLOCK)
    assert np.isfinite(rates).all() and (rates >= 0).all()


def test_ends_are_exact():
    assert Linear(0.1, 0.7, 10)(0) == 0.1 and Linear(0.1, 0.7, 10)(10) == Linear(0.1, 0.7, 10)(11) == 0.7
    cosine = Cosine(0.1, 100, 10, 0.003)
    assert cosine(0) == 0.1 * (1 / 10) and cosine(9) == cosine(10) == 0.1 and cosine(100) == cosine(10_000) == 0.003
    assert Cosine(0.1, 7)(0) == 0.1 and Cosine(0.1, 7)(7) == 0.0
    assert (Linear(0.1, 0.1, 999).rates(0, 2000) == 0.1).all()
    assert (Cosine(0.1, 999, 0, 0.1).rates(0, 2000) == 0.1).all()
    cycle = OneCycle(0.1, 100)
    assert (cycle(0), cycle(29), cycle(99)) == (0.1 / 25, 0.1, 0.1 / 25 / 1e4)
    assert cycle(100) == cycle(10**9) == cycle(99) < cycle(98)


@pytest.mark.parametrize("total", [1, 2, 3, 4, 10, 100, 1333])
def test_one_cycle_goes_up_and_then_down(total):
    changes = np.diff(OneCycle(0.1, total).rates(0, total))
    rising = changes > 0
    assert (changes != 0).all() and not (~rising[:-1] & rising[1:]).any()


# --- the same bits ---


@every_one
def test_calls_and_rates_have_the_same_bits(schedule):
    updates = [*range(5), *range(BLOCK - 3, BLOCK + 3), *range(3 * BLOCK - 2, 3 * BLOCK + 2)]
    whole = schedule.rates(0, 4 * BLOCK)
    alone = [type(schedule)(**schedule._settings())(t) for t in updates]
    assert all(type(value) is float for value in alone)
    assert alone == whole[updates].tolist() == [schedule(t) for t in reversed(updates)][::-1]
    assert [schedule(np.int64(t)) for t in updates] == alone


@given(st.sampled_from(ALL), st.integers(0, 3 * BLOCK), st.lists(st.integers(0, 2 * BLOCK), max_size=5))
def test_any_division_has_the_same_bits(schedule, first, counts):
    starts = [first + before for before in itertools.accumulate(counts, initial=0)]
    pieces = [schedule.rates(start, count) for start, count in zip(starts, counts, strict=False)]
    assert [len(piece) for piece in pieces] == counts
    fresh = pickle.loads(pickle.dumps(schedule))
    assert b"".join(piece.tobytes() for piece in pieces) == fresh.rates(first, sum(counts)).tobytes()


def test_rates_are_the_callers_own():
    schedule = Linear(0.0, 1.0, 10)
    rates = schedule.rates(0, 5)
    rates[:] = 9
    assert schedule.rates(0, 5) == pytest.approx([0.0, 0.1, 0.2, 0.3, 0.4])
    assert schedule.rates(7, 0).shape == (0,)


def test_threads_that_ask_for_different_blocks():
    schedule = Exponential(0.1, 0.9999)
    expected = Exponential(0.1, 0.9999).rates(0, 8 * BLOCK)
    wrong = []

    def ask(seed):
        for t in np.random.default_rng(seed).integers(0, 8 * BLOCK, 3000):
            if schedule(int(t)) != expected[t]:
                wrong.append(t)

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        threads = [threading.Thread(target=ask, args=(seed,)) for seed in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(interval)
    assert not wrong


# --- far away ---


@every_one
@pytest.mark.parametrize("update", [10**6, 10**15, 10**18])
def test_far_updates(schedule, update):
    with np.errstate(all="raise"):
        got = schedule.rates(update - 3, 7)
        assert got[3] == schedule(update)
    if isinstance(schedule, (Step, Exponential)):
        assert (got == (math.inf if schedule == Exponential(0.001, 1.01) else 0)).all()
    else:
        assert (got == got[0]).all() and got[0] == pytest.approx(rate(schedule, update))


@pytest.mark.parametrize(
    "make", [lambda n: Linear(0.2, 0.1, n), lambda n: Cosine(0.2, n, 10, 0.1), lambda n: OneCycle(1, n)]
)
def test_a_long_schedule(make):
    schedule = make(2**53)
    with np.errstate(all="raise"):
        assert schedule(10**15) == pytest.approx(rate(schedule, 10**15))
        assert schedule(2**60) == schedule(2**61) == pytest.approx(rate(schedule, 2**60))


# --- beside PyTorch ---


def torch_rates(make, n):
    """The rates of n updates by a scheduler of PyTorch's."""
    torch = pytest.importorskip("torch")
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.1)
    scheduler = make(torch.optim.lr_scheduler, optimizer)
    rates = [optimizer.param_groups[0]["lr"]]
    while len(rates) < n:
        optimizer.step()
        scheduler.step()
        rates.append(optimizer.param_groups[0]["lr"])
    return rates


TORCH = {
    "step": (Step(0.1, 7, 0.3), lambda of, optimizer: of.StepLR(optimizer, 7, 0.3), 100),
    "exponential": (Exponential(0.1, 0.97), lambda of, optimizer: of.ExponentialLR(optimizer, 0.97), 100),
    "linear": (Linear(0.05, 0.02, 60), lambda of, optimizer: of.LinearLR(optimizer, 0.5, 0.2, 60), 100),
    "cosine": (Cosine(0.1, 80, 0, 0.01), lambda of, optimizer: of.CosineAnnealingLR(optimizer, 80, 0.01), 81),
} | {
    f"one_cycle-{total}": (
        OneCycle(0.4, total),
        lambda of, optimizer, total=total: of.OneCycleLR(optimizer, 0.4, total_steps=total),
        total,
    )
    for total in (1, 2, 3, 4, 10, 100, 1001)
}


@pytest.mark.parametrize("name", TORCH)
def test_rates_are_pytorchs(name):
    schedule, make, n = TORCH[name]
    assert schedule.rates(0, n) == pytest.approx(torch_rates(make, n), rel=1e-12)


# --- settings ---

MISTAKES = [
    (lambda: Step(-0.1, 1, 0.5), ValueError, "Step: rate must be finite and not negative, got -0.1"),
    (lambda: Step(0.1, 0, 0.5), ValueError, "Step: every must be at least 1, got 0"),
    (lambda: Step(0.1, 2.0, 0.5), TypeError, "Step: every must be an integer, got 2.0"),
    (lambda: Step(0.1, 2, math.nan), ValueError, "Step: factor must be finite and not negative, got nan"),
    (lambda: Step(0.1, 2**53 + 1, 0.5), ValueError, "Step: every must be at most 2\\*\\*53, got 9007199254740993"),
    (lambda: Exponential("0.1", 0.5), TypeError, "Exponential: rate must be a number, got '0.1'"),
    (lambda: Exponential(0.1, -1), ValueError, "Exponential: decay must be finite and not negative, got -1"),
    (lambda: Linear(math.inf, 0.0, 10), ValueError, "Linear: start must be finite and not negative, got inf"),
    (lambda: Linear(0.1, -0.1, 10), ValueError, "Linear: stop must be finite and not negative, got -0.1"),
    (lambda: Linear(0.1, 0.0, True), TypeError, "Linear: total must be an integer, got True"),
    (lambda: Cosine(0.1, 0), ValueError, "Cosine: total must be at least 1, got 0"),
    (lambda: Cosine(0.1, 10, -1), ValueError, "Cosine: warmup must be at least 0, got -1"),
    (lambda: Cosine(0.1, 10, 10), ValueError, "Cosine: warmup must be less than total, which is 10, got 10"),
    (lambda: Cosine(0.1, 10, 1, -1e-9), ValueError, "Cosine: floor must be finite and not negative, got -1e-09"),
    (lambda: OneCycle(None, 10), TypeError, "OneCycle: peak must be a number, got None"),
    (lambda: OneCycle(0.1, 0), ValueError, "OneCycle: total must be at least 1, got 0"),
    (lambda: OneCycle(0.1, 10)(-1), ValueError, "OneCycle: update must be at least 0, got -1"),
    (lambda: OneCycle(0.1, 10)(1.0), TypeError, "OneCycle: update must be an integer, got 1.0"),
    (lambda: OneCycle(0.1, 10)(True), TypeError, "OneCycle: update must be an integer, got True"),
    (lambda: OneCycle(0.1, 10).rates(-1, 2), ValueError, "OneCycle: first must be at least 0, got -1"),
    (lambda: OneCycle(0.1, 10).rates(0, -2), ValueError, "OneCycle: count must be at least 0, got -2"),
    (lambda: Schedule()(0), NotImplementedError, "a schedule of your own is any callable"),
]


@pytest.mark.parametrize(("make", "error", "message"), MISTAKES, ids=[message for *_, message in MISTAKES])
def test_mistakes(make, error, message):
    with pytest.raises(error, match=message):
        make()


def test_settings_are_plain_numbers():
    schedule = Cosine(np.float32(0.5), np.int64(10), warmup=np.int8(2), floor=0)
    assert [type(value) for value in schedule._settings().values()] == [float, int, int, float]
    assert (schedule.rate, schedule.total, schedule.warmup, schedule.floor) == (0.5, 10, 2, 0.0)


# --- values ---


@every_one
def test_nothing_can_be_assigned(schedule):
    before = repr(schedule)
    for name in [*schedule._settings(), "other", "rates"]:
        with pytest.raises(
            AttributeError, match=f"{type(schedule).__name__}: {name} cannot be assigned.*make a new one"
        ):
            setattr(schedule, name, 0.5)
        with pytest.raises(AttributeError, match=f"{name} cannot be deleted"):
            delattr(schedule, name)
    assert repr(schedule) == before


@every_one
@pytest.mark.parametrize(
    "copied", [copy.copy, copy.deepcopy, lambda s: pickle.loads(pickle.dumps(s)), lambda s: eval(repr(s))]
)
def test_copies(schedule, copied):
    schedule(3)
    other = copied(schedule)
    assert other == schedule and hash(other) == hash(schedule) and repr(other) == repr(schedule)
    assert other.rates(0, 2000).tobytes() == schedule.rates(0, 2000).tobytes()


def test_a_pickle_is_small_and_finds_a_public_name():
    schedule = Cosine(0.1, 10**6)
    schedule(5)
    pickled = pickle.dumps(schedule, protocol=0)
    assert pickled.count(b"fastnp.schedules\nCosine\n") == 1 and len(pickled) < 200
    assert "_block" not in copy.copy(schedule).__dict__


def test_equality_is_by_class_and_settings():
    assert len(set(ALL)) == len(ALL)
    assert Linear(0, 1, 10) == Linear(0.0, 1.0, 10) != Linear(0.0, 1.0, 11)
    assert Step(0.1, 1, 0.5) != Exponential(0.1, 0.5) and Linear(0, 1, 10) != (0.0, 1.0, 10)
    assert {Cosine(0.1, 10): 1}[Cosine(0.1, 10, 0, 0.0)] == 1


def test_a_repr_is_as_it_is_written():
    assert repr(nn.schedules.Cosine(0.1, 1000)) == "Cosine(rate=0.1, total=1000, warmup=0, floor=0.0)"
    assert repr(nn.schedules.Step(1e-3, 100, 0.5)) == "Step(rate=0.001, every=100, factor=0.5)"
