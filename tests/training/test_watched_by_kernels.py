"""Validation and early stopping where whole epochs run in one call: the bits of the loop, which does both in Python."""

import signal

import numpy as np
import pytest
from fits import assert_same, data, setup, state
from fits import backend as backend
from fits import kernel_calls as kernel_calls

import fastnp as nn
from fastnp.program.program import Program
from fastnp.training import compiled, kernel_watch

DTYPES = pytest.mark.parametrize("dtype", [np.float32, np.float64])


def stepwise(optimizer):
    """The same optimizer, of a class that makes `fit` run the loop."""
    base = type(optimizer)
    optimizer.__class__ = type(base.__name__, (base,), {"step": lambda self: base.step(self)})
    return optimizer


def trained(run, epochs, validation, stopping, **options):
    """The history of a training, and all that is seen of it."""
    history = nn.History()
    options = {"validation": validation, "early_stopping": stopping, "history": history} | options
    nn.fit(run.model, run.loss_fn, run.optimizer, run.loader, epochs, progress=False, **options)
    return history, state(run)


def assert_same_history(mine, theirs):
    for name in "loss", "validation_loss", "learning_rate":
        assert np.array_equal(getattr(mine, name), getattr(theirs, name), equal_nan=True), name
        assert all(type(value) is float for value in getattr(mine, name))
    assert mine.best_epoch == theirs.best_epoch and type(mine.best_epoch) is type(theirs.best_epoch)


def compare(make, validation, stopping, epochs=12, change=lambda run: None, **options):
    """Train by kernels and by the loop: the same history and state, also after some epochs more. Gives the history."""
    results = []
    for remake in (lambda optimizer: None), stepwise:
        run = make()
        change(run)
        remake(run.optimizer)
        first = trained(run, epochs, validation, stopping, **options)
        updates = getattr(run.optimizer, "updates", 0)
        results.append((*first, updates, *trained(run, 2, validation, None)))
    (history, seen, updates, more, seen_more), (expected, there, updates_there, more_there, there_more) = results
    assert_same_history(history, expected)
    assert_same(seen, there)
    assert updates == updates_there
    assert_same_history(more, more_there)
    assert_same(seen_more, there_more)
    return history


# Not far from what is trained on, so that it gets worse after some epochs; with weights.
X, Y = np.random.default_rng(3).normal(size=(31, 3)), 0.3 * np.random.default_rng(4).normal(size=(31, 2))
W = np.random.default_rng(5).uniform(0, 2, 31)
W[::3] = 0
FAST = {"learning_rate": 0.2, "momentum": 0.5}
PATIENT, IMPATIENT = nn.EarlyStopping(patience=50), nn.EarlyStopping(patience=2)


def loader_of(*arrays, **options):
    return nn.DataLoader(nn.ArrayDataset(*arrays), **options)


VALIDATIONS = {
    "arrays": (X, Y),
    "weights": (X, Y, W),
    "a column of weights": (X, Y, W[:, np.newaxis]),
    "a row": (X[:1], Y[:1]),
    "other dtypes": (X.astype(np.float16), np.rint(Y).astype(int)),
    "a loader": loader_of(X, Y, batch_size=7),
    "a loader with weights": loader_of(X, Y, W, batch_size=4),
    "a loader, batches without weight": loader_of(X, Y, np.r_[np.zeros(8), W[8:]], batch_size=4),
    "a loader that is shuffled": loader_of(X, Y, W, batch_size=8, shuffle=True, rng=np.random.default_rng(0)),
    "a loader that drops": loader_of(X, Y, batch_size=8, drop_last=True),
    "a loader with one batch": loader_of(X, Y, batch_size=64),
}


@DTYPES
@pytest.mark.parametrize("name", VALIDATIONS)
@pytest.mark.parametrize("stopping", [None, IMPATIENT, PATIENT], ids=["none", "impatient", "patient"])
def test_validation_data(name, stopping, dtype, kernel_calls):
    history = compare(lambda: setup(sgd=FAST, dtype=dtype), VALIDATIONS[name], stopping)
    assert len(kernel_calls) <= 4 + 2 and sum(epochs for epochs, _ in kernel_calls) >= len(history.loss)
    assert (history.best_epoch is None) == (stopping is None)
    if name == "arrays" and stopping is not None:
        assert 0 < history.best_epoch < len(history.loss) - 1 and (len(history.loss) < 12) == (stopping is IMPATIENT)


@pytest.mark.triples
@DTYPES
@pytest.mark.parametrize("reduction", ["mean", "batchmean", "sum"])
@pytest.mark.parametrize("loader", [
    {"reshuffle": True}, {"reshuffle": True, "own_rng": False}, {"reshuffle": True, "drop_last": True},
    {"batch_size": 23}, {"batch_size": 1, "reshuffle": True}, {"drop_last": True}, {"arrays": (*data(), np.arange(23))},
], ids=str)  # fmt: skip
@pytest.mark.parametrize("validation", ["arrays", "a loader with weights"])
def test_trainings(loader, reduction, dtype, validation, kernel_calls):
    sgd = {"learning_rate": {"mean": 0.2, "batchmean": 0.1, "sum": 0.02}[reduction], "momentum": 0.5}
    compare(
        lambda: setup(sgd=sgd, dtype=dtype, loss={"reduction": reduction}, **loader), VALIDATIONS[validation], IMPATIENT
    )
    assert kernel_calls


@pytest.mark.parametrize("stopping", [
    nn.EarlyStopping("loss", 2, 0.01), nn.EarlyStopping("loss", 1, 1e9), nn.EarlyStopping(patience=1, min_delta=0.005),
    nn.EarlyStopping(patience=3, restore_best=False), nn.EarlyStopping("loss", 3, restore_best=False),
], ids=repr)  # fmt: skip
@pytest.mark.parametrize("reshuffle", [False, True])
@pytest.mark.parametrize("validation", [None, (X, Y)], ids=["alone", "validated"])
def test_rules(stopping, reshuffle, validation, kernel_calls):
    if stopping.monitor == "validation_loss" and validation is None:
        pytest.skip("needs validation")
    history = compare(lambda: setup(sgd=FAST, reshuffle=reshuffle), validation, stopping)
    assert kernel_calls and history.best_epoch is not None


@pytest.mark.triples
@DTYPES
@pytest.mark.parametrize("reshuffle", [False, True])
@pytest.mark.parametrize("rows", [1, 5, 10, 20, 23, 46])
@pytest.mark.parametrize("stopping", [None, IMPATIENT, PATIENT, nn.EarlyStopping("loss", 2, 0.01)], ids=repr)
def test_pieces_of_any_length(rows, reshuffle, stopping, dtype, kernel_calls, monkeypatch):
    """Epochs in pieces, or one or two of them at once."""
    monkeypatch.setattr(compiled, "STAGED_BYTES", (16 if dtype is np.float32 else 8) * 4 * rows)
    monkeypatch.setattr(compiled.CompiledRun, "_rows_per_call", lambda self: rows)
    compare(lambda: setup(sgd=FAST, dtype=dtype, reshuffle=reshuffle), (X, Y), stopping)
    assert len(kernel_calls) > 4


@pytest.mark.parametrize("seconds", [1e-7, 1e-3, 1e9])
def test_calls_of_any_length(seconds, monkeypatch):
    monkeypatch.setattr(compiled, "SECONDS_PER_CALL", seconds)
    compare(lambda: setup(sgd=FAST, reshuffle=True), (X, Y), IMPATIENT)


LABELS, FEW = np.arange(23) % 4, np.arange(31) % 4
SHARES = np.full((31, 4), 0.25)


@DTYPES
@pytest.mark.parametrize(
    "loss", [{}, {"class_weight": [1, 2, 3, 4]}, {"label_smoothing": 0.1, "reduction": "sum"}], ids=str
)
@pytest.mark.parametrize("validation", [
    (X, FEW), (X, FEW[:, np.newaxis], W), loader_of(X, FEW, W, batch_size=6), (X, SHARES),
], ids=["labels", "weighted", "loader", "probabilities"])  # fmt: skip
def test_labels(loss, validation, dtype, kernel_calls):
    if "class_weight" in loss and isinstance(validation, tuple) and validation[1] is SHARES:
        pytest.skip("is for labels")
    options = {"arrays": (data()[0], LABELS), "loss": loss, "loss_of": nn.CrossEntropy, "dtype": dtype}
    compare(lambda: setup([(3, 16), "relu", (16, 4)], sgd={"learning_rate": 0.02}, **options), validation, IMPATIENT)
    assert kernel_calls


@DTYPES
@pytest.mark.parametrize("reshuffle", [False, True])
def test_layers_that_draw_and_normalize(reshuffle, dtype, kernel_calls):
    """A validation draws nothing, and leaves alone what the training remembers."""
    rngs = []

    def make():
        rngs.append(np.random.default_rng(7))
        layers = [
            (3, 20),
            nn.Tanh,
            lambda: nn.Dropout(0.3, rng=rngs[-1]),
            lambda: nn.LayerNorm(20, dtype=dtype),
            (20, 2),
        ]
        return setup(layers, sgd=FAST, dtype=dtype, reshuffle=reshuffle)

    compare(make, (X, Y), IMPATIENT)
    assert kernel_calls and rngs[0].bit_generator.state == rngs[1].bit_generator.state


OPTIMIZERS = {
    "nesterov": lambda ps: nn.SGD(0.5, ps, 0.2, 0.01, nesterov=True),
    "clipped": lambda ps: nn.SGD(0.5, ps, 0.2, clip_norm=0.3),
    "biases apart": lambda ps: nn.SGD(0.5, ps, 0.2, 0.003, decay_bias=False),
    "Adam": lambda ps: nn.Adam(ps, 0.03),
    "AdamW, clipped": lambda ps: nn.AdamW(ps, 0.03, clip_norm=0.5, decay_bias=False),
    "Adam, epsilon hat": lambda ps: nn.Adam(ps, 0.03, epsilon=0.01, epsilon_hat=True),
    "RMSprop": lambda ps: nn.RMSprop(ps, 0.01),
    "RMSprop with momentum": lambda ps: nn.RMSprop(ps, 0.01, momentum=0.5),
    "a schedule": lambda ps: nn.SGD(0.5, ps, nn.schedules.Exponential(0.2, 0.999)),
    "a schedule, rated": lambda ps: nn.SGD(0.5, ps, nn.schedules.Exponential(0.2, 0.999), rate_in_velocity=True),
    "a function": lambda ps: nn.Adam(ps, lambda update: 0.03 / (1 + 0.01 * update)),
}


def kept_of(run):
    names = run.optimizer._kernel_rule.kept
    return [array.copy() for name in names for array in getattr(run.optimizer, name)]


@DTYPES
@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("pieces", [False, True])
def test_optimizers(name, pieces, dtype, kernel_calls, monkeypatch):
    if pieces:
        monkeypatch.setattr(compiled.CompiledRun, "_rows_per_call", lambda self: 10)
    results = []
    for remake in (lambda optimizer: None), stepwise:
        run = setup(dtype=dtype)
        run.optimizer = OPTIMIZERS[name](run.model.parameters())
        remake(run.optimizer)
        for stopping in IMPATIENT, None:
            options = {"validation": (X, Y), "early_stopping": stopping, "progress": False}
            history = nn.fit(run.model, run.loss_fn, run.optimizer, run.loader, 15 if stopping else 2, **options)
            assert stopping is None or 0 < history.best_epoch < len(history.loss) - 1
            arrays = [*(tensor.data.copy() for tensor in run.model.parameters()), *kept_of(run)]
            results.append((history, run.optimizer.updates, run.optimizer.learning_rate, [a.tobytes() for a in arrays]))
    assert results[:2] == results[2:]
    assert results[0][1] == 5 * (results[0][0].best_epoch + 1) and kernel_calls
    paced = name.startswith("a schedule") or name == "a function"
    assert len(set(results[0][0].learning_rate)) == (len(results[0][0].loss) if paced else 1)


@pytest.mark.parametrize("last", [0, 3, 5, 22, 24])
def test_a_schedule_that_ends(last, kernel_calls):
    def schedule(update):
        if update > last:
            raise LookupError("no more")
        return 0.2

    results = []
    for remake in (lambda optimizer: None), stepwise:
        run, history = setup(), nn.History()
        run.optimizer = nn.SGD(0.5, run.model.parameters(), schedule)
        remake(run.optimizer)
        with pytest.raises(LookupError, match="no more"):
            trained(run, 9, (X, Y), PATIENT, history=history)
        arrays = [*(tensor.data.copy() for tensor in run.model.parameters()), *kept_of(run)]
        results.append((history, run.optimizer.updates, [a.tobytes() for a in arrays]))
    assert results[0] == results[1] and kernel_calls
    assert len(history.loss) == len(history.validation_loss) == (last + 1) // 5


def test_the_head_alone(kernel_calls):
    def hold(run):
        run.optimizer = nn.SGD(0.5, run.model.parameters()[2:], learning_rate=0.2)

    compare(setup, (X, Y), IMPATIENT, change=hold)
    assert kernel_calls


def leave_a_gradient(run):
    run.loss_fn(run.model(data()[0]), data()[1])
    run.model.backward(run.loss_fn.backward())


@pytest.mark.parametrize("stopping", [IMPATIENT, nn.EarlyStopping("loss", 4, 1e9)], ids=["later", "the first"])
def test_an_epoch_of_the_loop_first(stopping, kernel_calls):
    """Where a gradient is left over."""
    history = compare(lambda: setup(sgd=FAST), (X, Y), stopping, change=leave_a_gradient)
    assert kernel_calls and (history.best_epoch == 0) == (stopping is not IMPATIENT)


def test_a_history_that_is_appended_to(kernel_calls):
    run, history = setup(sgd=FAST), nn.History([7.0, 6.0], [5.0])
    options = {"validation": (X, Y), "early_stopping": nn.EarlyStopping(patience=2, min_delta=1e9), "history": history}
    nn.fit(run.model, run.loss_fn, run.optimizer, run.loader, 9, **options)
    assert (len(history.loss), len(history.validation_loss), history.best_epoch) == (5, 5, 2)
    assert np.array_equal(history.learning_rate, [np.nan, np.nan, 0.2, 0.2, 0.2], equal_nan=True) and kernel_calls


# --- where one epoch at a time is trained ---


class Rows(nn.ArrayDataset):
    def __getitem__(self, idx):
        return super().__getitem__(idx)


OTHERS = {
    "a loader that reshuffles": lambda: loader_of(X, Y, batch_size=7, reshuffle=True, rng=np.random.default_rng(0)),
    "a list": lambda: [(X[:7], Y[:7]), (X[7:], Y[7:])],
    "a data set of ones own": lambda: nn.DataLoader(Rows(X, Y), batch_size=7),
}


@pytest.mark.parametrize("name", OTHERS)
def test_other_validation_data(name, kernel_calls):
    runs = setup(sgd=FAST), setup(sgd=FAST)
    stepwise(runs[1].optimizer)
    (mine, _), (theirs, _) = (trained(run, 9, OTHERS[name](), IMPATIENT) for run in runs)
    assert mine == theirs
    assert kernel_calls == [(1, 23)] * len(mine.loss)


def test_validation_data_that_is_large(monkeypatch, kernel_calls):
    limit = 31 * (16 + 2) * 4
    for largest, calls in (limit, 1), (limit - 1, 9):
        monkeypatch.setattr(kernel_watch, "LARGEST", largest)
        kernel_calls.clear()
        trained(setup(sgd=FAST), 9, (X, Y), PATIENT)
        assert (len(kernel_calls) == 9) == (calls == 9)


def test_with_a_callback(kernel_calls):
    runs = setup(sgd=FAST), setup(sgd=FAST)
    (mine, seen), (theirs, there) = (
        trained(run, 9, (X, Y), IMPATIENT, callback=callback)
        for run, callback in zip(runs, (lambda *_: None, None), strict=True)
    )
    assert mine == theirs
    assert_same(seen, there)
    assert kernel_calls[: len(mine.loss)] == [(1, 23)] * len(mine.loss)


def weigh_down(run, validation, epoch):
    validation[0][:, 0] *= 0.5


def other_losses(run, validation, epoch):
    run.loss_fn.reduction = "sum"


@pytest.mark.parametrize("change", [weigh_down, other_losses])
def test_a_callback_may_change_what_is_validated(change):
    results = []
    for remake in (lambda optimizer: None), stepwise:
        run, validation, seen = setup(sgd={"learning_rate": 0.02}), (X.copy(), Y.copy()), []
        remake(run.optimizer)

        def callback(epoch, loss, run=run, validation=validation, seen=seen):
            seen.append(run.loss_fn.__class__(reduction=run.loss_fn.reduction)(run.model.predict(validation[0]), Y))
            change(run, validation, epoch)

        results.append(trained(run, 4, validation, PATIENT, callback=callback)[0])
        assert results[-1].validation_loss == seen
    assert results[0] == results[1]


@pytest.mark.parametrize("restores", [False, True])
def test_a_last_update_that_diverges_is_that_of_the_best_epoch(restores, kernel_calls):
    results = []
    for remake in (lambda optimizer: None), stepwise:
        arrays = np.ones((5, 1)), np.full((5, 1), 3.0)
        run = setup([(1, 1)], arrays=arrays, shuffle=False, batch_size=1)
        run.optimizer = nn.SGD(0.0, run.model.parameters(), lambda update: 0.1 if update < 14 else 1e39)
        remake(run.optimizer)
        with np.errstate(all="ignore"), pytest.raises(nn.DivergedError) as raised:
            trained(run, 3, None, nn.EarlyStopping("loss", 4, restore_best=restores))
        results.append((raised.value.epoch, raised.value.loss, str(raised.value)))
    assert results[0] == results[1] and results[0][0] == 2 and "after its last update" in results[0][2]


# --- where it ends in an exception ---


@pytest.mark.parametrize("reshuffle", [False, True])
def test_divergence(reshuffle, kernel_calls):
    results = []
    for change in (lambda run: None), (lambda run: stepwise(run.optimizer)):
        run = setup([(3, 2)], sgd={"learning_rate": 4.0, "momentum": 0.0}, reshuffle=reshuffle)
        change(run)
        history = nn.History()
        with np.errstate(all="ignore"), pytest.raises(nn.DivergedError) as raised:
            trained(run, 500, (X, Y), nn.EarlyStopping(patience=600), history=history)
        results.append((history, raised.value.epoch, raised.value.batch, str(raised.value), run))
    (mine, *of_mine, run), (theirs, *of_theirs, other) = results
    assert of_mine == of_theirs and len(mine.loss) == len(mine.validation_loss) == of_mine[0] > 0
    assert_same_history(mine, theirs)
    assert mine.best_epoch is not None and kernel_calls
    assert_same(
        *({k: v for k, v in state(each).items() if k[:4] in ("data", "velo", "draw", "orde")} for each in (run, other))
    )


def test_a_validation_loss_that_is_not_finite_is_no_divergence(kernel_calls):
    far = np.full(X.shape, 3e38), Y
    history = compare(lambda: setup(sgd=FAST), far, nn.EarlyStopping(patience=3))
    assert history.best_epoch is None and len(history.loss) == 3 and kernel_calls
    assert not np.isfinite(history.validation_loss).any()


@pytest.mark.parametrize("reshuffle", [False, True])
def test_ctrl_c_loses_no_epoch(reshuffle, monkeypatch):
    """A signal that comes while the kernel runs is seen when it returns: its epochs are trained and validated."""
    train, calls = Program.train, []

    def signalled(self, *args):
        done = train(self, *args)
        calls.append(done)
        if len(calls) == 3:
            signal.raise_signal(signal.SIGINT)
        return done

    run, other, history = setup(reshuffle=reshuffle), setup(reshuffle=reshuffle), nn.History()
    monkeypatch.setattr(Program, "train", signalled)
    monkeypatch.setattr(compiled, "STAGED_BYTES", 23 * (16 + 2) * 4 * 3)
    stopping = nn.EarlyStopping(patience=10**7)
    with pytest.raises(KeyboardInterrupt):
        nn.fit(
            run.model,
            run.loss_fn,
            run.optimizer,
            run.loader,
            10**6,
            validation=(X, Y),
            early_stopping=stopping,
            history=history,
        )
    monkeypatch.undo()
    assert len(history.loss) * 5 == sum(calls)
    stepwise(other.optimizer)
    expected, _ = trained(other, len(history.loss), (X, Y), nn.EarlyStopping(patience=10**7, restore_best=False))
    assert history == expected
    assert_same(run, other)
