"""The learning rate, a number or by a schedule: what is shown and assigned, and schedules that give no rate."""

import itertools
import signal
from functools import partial

import numpy as np
import pytest
from fits import CHAIN, Double, assert_same, data, fit, loop, setup
from fits import backend as backend
from fits import kernel_calls as kernel_calls
from own import Descent
from public import optimizers

import fastnp as nn
from fastnp.training import compiled

every_optimizer = pytest.mark.parametrize("cls", [*optimizers(), Descent], ids=lambda cls: cls.__name__)


def made(cls, rate):
    tensor = nn.Tensor(1)
    tensor.data = [1.0]
    return cls(parameters=[tensor], learning_rate=rate)


def halves(update):
    return 2.0**-update


# --- what is shown and assigned ---


@every_optimizer
def test_it_shows_the_rate_of_the_next_update(cls):
    optimizer = made(cls, halves)
    assert (optimizer.learning_rate, optimizer.schedule, optimizer.updates) == (1.0, halves, 0)
    optimizer.step()
    assert (optimizer.learning_rate, optimizer.updates) == (0.5, 1)
    optimizer.updates = 5
    optimizer.step()
    assert (optimizer.learning_rate, optimizer.updates) == (2.0**-6, 6)


@every_optimizer
def test_a_number_ends_a_schedule_and_a_schedule_begins_where_updates_stand(cls):
    optimizer = made(cls, halves)
    optimizer.step()
    optimizer.learning_rate = 3
    assert (optimizer.learning_rate, optimizer.schedule, type(optimizer.learning_rate)) == (3.0, None, float)
    optimizer.step()
    other = nn.schedules.Linear(1.0, 0.0, 4)
    optimizer.learning_rate = other
    assert (optimizer.learning_rate, optimizer.schedule) == (0.5, other)
    optimizer.learning_rate *= 4  # the usual way to change a number
    assert (optimizer.learning_rate, optimizer.schedule) == (2.0, None)


@every_optimizer
@pytest.mark.parametrize("bad", ["fast", None, -1, float("nan"), float("inf"), 1j, np.ones(1)], ids=str)
def test_what_is_refused_changes_nothing(cls, bad):
    for rate in halves, 0.25:
        optimizer = made(cls, rate)
        before = optimizer.learning_rate, optimizer.schedule
        with pytest.raises((TypeError, ValueError), match=f"{cls.__name__}: learning_rate must be"):
            optimizer.learning_rate = bad
        assert (optimizer.learning_rate, optimizer.schedule) == before
        with pytest.raises((TypeError, ValueError), match=f"{cls.__name__}: learning_rate must be"):
            made(cls, bad)


@every_optimizer
def test_the_schedule_is_read_only_and_says_what_to_write(cls):
    optimizer = made(cls, 0.1)
    with pytest.raises(AttributeError, match=f"{cls.__name__}.schedule cannot be assigned.*learning_rate"):
        optimizer.schedule = halves
    assert (optimizer.schedule, optimizer.learning_rate) == (None, 0.1)


@every_optimizer
@pytest.mark.parametrize("rate", [np.float32(0.5), np.array(0.5), 1, True, np.float64(0.25)], ids=repr)
def test_any_real_number_is_a_rate(cls, rate):
    for optimizer in made(cls, rate), made(cls, lambda update: rate):
        assert optimizer.learning_rate == float(rate) and type(optimizer.learning_rate) is float
        optimizer.step()


@every_optimizer
@pytest.mark.parametrize("bad", [-1, 1.0, "1", None, True, 2**53 + 1, 2**70], ids=str)
def test_updates_are_counts(cls, bad):
    optimizer = made(cls, 0.1)
    optimizer.updates = 3
    with pytest.raises((TypeError, ValueError), match=f"{cls.__name__}: updates must be"):
        optimizer.updates = bad
    assert optimizer.updates == 3
    optimizer.updates = 2**53 - 1
    optimizer.step()
    assert optimizer.updates == 2**53


@every_optimizer
def test_its_repr_names_the_schedule_or_the_rate(cls):
    assert f"{cls.__name__}(" in repr(made(cls, 0.125)) and "learning_rate=0.125" in repr(made(cls, 0.125))
    text = repr(made(cls, nn.schedules.Linear(1.0, 0.0, 4)))
    assert "schedule=Linear(start=1.0, stop=0.0, total=4)" in text and "learning_rate" not in text
    assert "schedule=" in repr(made(cls, lambda update: float("nan")))  # which it does not ask


# --- callbacks ---


@pytest.mark.parametrize("layers", [CHAIN, [*CHAIN, Double]], ids=["kernel", "loop"])
def test_callbacks_read_it_and_set_it(layers):
    """A number from the first epoch's end, then a schedule again, which goes on by all updates so far."""
    plans = {0: 0.005, 1: nn.schedules.Exponential(0.03, 0.9), 3: 0.01}
    runs, seen = [setup(layers, sgd={"learning_rate": gentle}) for _ in range(2)], []

    def change(run, epoch):
        seen.append(run.optimizer.learning_rate)
        if epoch in plans:
            run.optimizer.learning_rate = plans[epoch]

    losses = fit(runs[0], 5, callback=lambda epoch, loss: change(runs[0], epoch))
    assert losses == loop(runs[1], 5, lambda epoch: change(runs[1], epoch))
    assert_same(*runs)
    assert seen == [gentle(5), 0.005, plans[1](15), plans[1](20), 0.01] * 2


def gentle(update):
    return 0.02 / (1 + 0.1 * update)


@pytest.mark.parametrize("layers", [CHAIN, [*CHAIN, Double]], ids=["kernel", "loop"])
def test_a_schedule_is_asked_for_each_update_in_their_order(layers):
    asked = []
    run = setup(layers, sgd={"learning_rate": lambda update: asked.append(update) or 0.01}, reshuffle=True)
    fit(run, 4)
    assert [update for update, _ in itertools.groupby(asked)] == list(range(20))


class ByRates(nn.schedules.Schedule):
    """One of a user's own that gives many rates by other means than one."""

    def __init__(self, rates):
        object.__setattr__(self, "given", rates)

    def rates(self, first, count):
        return np.full(count, 0.5)

    def _formula(self, updates):
        return 0.01 + 0 * updates


class ByCall(nn.schedules.Linear):
    def __call__(self, update):
        return 0.5 * super().__call__(update)


@pytest.mark.parametrize("schedule", [ByRates(0.5), ByCall(0.02, 0.01, 9), nn.schedules.Linear(0.02, 0.0, 9)], ids=str)
def test_a_subclass_of_schedules_is_asked_as_the_loop_asks(schedule):
    runs = [setup(sgd={"learning_rate": schedule}) for _ in range(2)]
    assert fit(runs[0], 3) == loop(runs[1], 3)
    assert_same(*runs)


# --- schedules that give no rate ---


class Trouble(Exception):
    pass


def raises(update):
    raise Trouble("no rate today")


def ends(update):
    return next(iter([]))


GIVES = {
    "nan": float("nan"), "inf": float("inf"), "negative": -0.1, "string": "0.1", "None": None, "complex": 1j,
    "array": np.ones(1), "raises": raises, "ends": ends,
}  # fmt: skip
PLACES = {"the first": 0, "one in an epoch": 8, "the first of an epoch": 10, "the last of an epoch": 14}
PATHS = ["kernel", "long epochs", "own layer", "own optimizer", "clipped", "dropout", "watched"]


def broken_at(bad, kind):
    """A schedule that gives no rate for one update, and rates for those before and behind."""

    def schedule(update):
        if update != bad:
            return gentle(update)
        return GIVES[kind](update) if callable(GIVES[kind]) else GIVES[kind]

    return schedule


def options_of(path):
    layers = {"own layer": [*CHAIN, Double], "dropout": [(3, 20), partial(nn.Dropout, 0.3), "relu", (20, 2)]}
    return {"layers": layers.get(path, CHAIN), "sgd": {"clip_norm": 0.5} if path == "clipped" else {}}


class CountedSGD(nn.SGD):
    def step(self):
        super().step()


def assert_breaks_off_as_the_loop(path, kind, bad, reshuffle, cls=nn.SGD):
    """`fit` and the loop: the same error, state and order of rows; then both go on, by another schedule."""
    np.random.seed(0)
    cls = CountedSGD if path == "own optimizer" else cls
    np.random.seed(1)
    run = setup(optimizer_of=cls, reshuffle=reshuffle, **options_of(path))
    np.random.seed(1)
    other = setup(optimizer_of=cls, reshuffle=reshuffle, **options_of(path))
    history, errors = nn.History(), []
    watched = {"validation": data(9), "early_stopping": nn.EarlyStopping(restore_best=False, patience=99)}
    options = {"history": history} | (watched if path == "watched" else {})
    for each, train in (run, partial(fit, run, 4, **options)), (other, partial(loop, other, 4)):
        each.optimizer.learning_rate = broken_at(bad, kind)
        with pytest.raises((TypeError, ValueError, Trouble, RuntimeError)) as caught:
            train()
        errors.append(caught)
        assert each.optimizer.updates == bad
        each.optimizer.learning_rate = 0.01  # that reading it is no error
    other.optimizer.clear_grad()
    for caught in errors:
        words = " ".join([str(caught.value), *getattr(caught.value, "__notes__", [])])
        assert f"{cls.__name__}" in words and f"update {bad}, counted from 0" in words
    assert len({(caught.type, str(caught.value)) for caught in errors}) == 1
    assert len(history.loss) == len(history.learning_rate) == bad // 5
    assert len(history.validation_loss) == (bad // 5 if path == "watched" else 0)
    assert history.learning_rate == [gentle(5 * epoch) for epoch in range(bad // 5)]
    assert_same(run, other)
    for each in run, other:
        each.optimizer.learning_rate = nn.schedules.Exponential(0.02, 0.9)
    assert fit(run, 2, history=history)[bad // 5 :] == loop(other, 2)
    assert_same(run, other)


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("reshuffle", [False, True])
def test_a_schedule_without_a_rate_breaks_off_as_the_loop(path, place, reshuffle, monkeypatch):
    if path == "long epochs":
        monkeypatch.setattr(compiled, "STAGED_BYTES", 23 * (16 + 2) * 4 // 2)
    else:
        monkeypatch.setattr(compiled, "SECONDS_PER_BATCH", 1e-7)  # so that several epochs are one call
    kind = list(GIVES)[(PATHS.index(path) + list(PLACES).index(place)) % len(GIVES)]
    assert_breaks_off_as_the_loop(path, kind, PLACES[place], reshuffle)


@pytest.mark.parametrize("kind", GIVES)
@pytest.mark.parametrize("cls", optimizers(), ids=lambda cls: cls.__name__)
def test_whatever_stands_for_a_rate_is_refused(cls, kind):
    assert_breaks_off_as_the_loop("kernel", kind, 7, True, cls)


@pytest.mark.parametrize("layers", [CHAIN, [*CHAIN, Double]], ids=["kernel", "loop"])
def test_a_formula_that_grows_beyond_all_rates_names_the_update(layers):
    run, history = setup(layers, sgd={"learning_rate": nn.schedules.Exponential(1e-300, 1e70)}), nn.History()
    first = next(update for update in itertools.count() if run.optimizer.schedule(update) == float("inf"))
    with pytest.raises(ValueError, match=rf"SGD: what its schedule gives for update {first}, .* got inf"):
        fit(run, 3, history=history)
    assert (run.optimizer.updates, len(history.loss)) == (first, first // 5)


def test_a_base_that_is_no_schedule_is_named():
    run = setup(sgd={"learning_rate": nn.schedules.Schedule()})
    with pytest.raises(NotImplementedError) as caught:
        fit(run, 1)
    assert "SGD: its schedule was asked for the rate of update 0" in caught.value.__notes__[0]


def test_divergence_before_the_end_of_the_rates_is_divergence():
    run = setup(sgd={"learning_rate": lambda update: 1e30 if update < 9 else float("nan")})
    with pytest.raises(nn.DivergedError), np.errstate(all="ignore"):
        fit(run, 3)
    assert run.optimizer.updates < 9


@pytest.mark.parametrize("staged", [1 << 19, 23 * (16 + 2) * 4 // 3], ids=["short epochs", "long epochs"])
@pytest.mark.parametrize("bad", [0, 3, 7, 10, 12])
def test_ctrl_c_in_a_slow_schedule_is_let_through(staged, bad, monkeypatch):
    """At once, with the model as after the updates that are counted."""
    monkeypatch.setattr(compiled, "STAGED_BYTES", staged)
    asked = []

    def slow(update):
        asked.append(update)
        if update == bad and asked.count(bad) == 1:
            signal.raise_signal(signal.SIGINT)
        return gentle(update)

    run, other, history = setup(sgd={"learning_rate": slow}), setup(sgd={"learning_rate": gentle}), nn.History()
    with pytest.raises(KeyboardInterrupt):
        fit(run, 4, history=history)
    assert asked[-1] == bad and run.optimizer.updates <= bad
    assert run.optimizer.updates % 5 == 0 or staged < 1 << 19
    assert len(history.loss) == run.optimizer.updates // 5
    for x, y in [batch for _ in range(3) for batch in other.loader][: run.optimizer.updates]:
        other.loss_fn(other.model(x), y)
        other.model.backward(other.loss_fn.backward())
        other.optimizer.step()
        other.optimizer.clear_grad()
    for mine, theirs in zip(run.model.parameters(), other.model.parameters(), strict=True):
        assert np.array_equal(mine.data, theirs.data) and not mine.grad.any()
    assert fit(run, 2) == loop(other, 2)
    assert_same(run, other)
