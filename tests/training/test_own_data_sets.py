"""`fit` over data sets of users' own, asked ahead: to the bit what the loop computes, whatever they give."""

from typing import NamedTuple

import numpy as np
import pytest
from fits import assert_same, loop, state
from fits import backend as backend
from fits import kernel_calls as kernel_calls
from fits import unhurried as unhurried
from own_data import LABELS, ROWS, Rows, W, Whole, X, Y, assert_fit_is_the_loop, own, plain

import fastnp as nn
from fastnp.training import ahead
from fastnp.training.staging import Stage

BUFFER, BOTH = np.zeros(3), (np.zeros((5, 3)), np.zeros((5, 2)))
SMALL = np.array([2, -1, 0])


def reused(i):
    """Only the last of a batch is what it was: as the loop sees it."""
    BUFFER[:] = X[i]
    return BUFFER, Y[i]


def reused_view(i):
    BUFFER[:] = X[i]
    return BUFFER[:3], Y[i]


def reused_batch(indices):
    for buffer, rows in zip(BOTH, (X, Y), strict=True):
        buffer[: len(indices)] = rows[indices]
    return tuple(buffer[: len(indices)] for buffer in BOTH)


def mixed(i):
    """Dtypes that differ within batches, and between them."""
    if i % 7 == 0:
        return SMALL, Y[i].astype(np.float32)
    return (SMALL.astype(np.int8) if i % 3 else X[i].astype(np.float32)), np.round(Y[i]).astype(int)


class Mirrored(nn.ArrayDataset):
    def __getitem__(self, i):
        x, *others = super().__getitem__(i)
        return -x, *others


class Listed(list):
    pass


class Named(NamedTuple):
    x: np.ndarray
    y: np.ndarray


KINDS = {
    "arrays": lambda: Rows(plain),
    "float32": lambda: Rows(lambda i: (X[i].astype("f"), Y[i].astype("f"))),
    "half": lambda: Rows(lambda i: (X[i].astype(np.float16), Y[i] > 0)),
    "big-endian": lambda: Rows(lambda i: (X[i].astype(">f8"), Y[i].astype(">f4"))),
    "lists": lambda: Rows(lambda i: (X[i].tolist(), tuple(Y[i].tolist()))),
    "lists of numbers of NumPy": lambda: Rows(lambda i: [list(X[i]), list(Y[i])]),
    "integers": lambda: Rows(lambda i: ([i, 1, 2], np.arange(2))),
    "mixed dtypes": lambda: Rows(mixed),
    "a buffer that is used again": lambda: Rows(reused),
    "views of one buffer": lambda: Rows(reused_view),
    "columns": lambda: Rows(lambda i: (np.asfortranarray(np.stack([X[i], X[i]]))[0], Y[i])),
    "samples that are iterators": lambda: Rows(lambda i: iter(plain(i))),
    "weights": lambda: Rows(lambda i: (*plain(i), W[i])),
    "weights in columns": lambda: Rows(lambda i: (*plain(i), [W[i]])),
    "weights of Python": lambda: Rows(lambda i: (*plain(i), i % 3)),
    "iterators with weights": lambda: Rows(lambda i: iter((*plain(i), W[i]))),
    "a batch in lists": lambda: Whole(lambda indices: [plain(i) for i in indices]),
    "a batch": lambda: Whole(lambda indices: (X[indices], Y[indices])),
    "a batch of lists": lambda: Whole(lambda indices: (X[indices].tolist(), Y[indices].tolist())),
    "a batch with weights": lambda: Whole(lambda indices: (X[indices], Y[indices], W[indices].tolist())),
    "buffers of batches": lambda: Whole(reused_batch),
    "buffers under names": lambda: Whole(lambda indices: Named(*reused_batch(indices))),
    "more rows than were asked for": lambda: Whole(lambda i: (np.repeat(X[i], 2, 0), np.repeat(Y[i], 2, 0))),
    "as many rows as it likes": lambda: Whole(lambda i: (X[: 1 + i[0]], Y[: 1 + i[0]])),
    "a subclass of ArrayDataset": lambda: Mirrored(X, Y),
    "a subclass with weights": lambda: Mirrored(X, Y, W),
    "a list": lambda: Listed(plain(i) for i in range(ROWS)),
}


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("kind", KINDS)
def test_fit_is_the_loop(kind, dtype, kernel_calls):
    (run, _), (_, seen) = assert_fit_is_the_loop(KINDS[kind], dtype=dtype)
    assert kernel_calls
    written = own(KINDS[kind](), dtype=dtype)
    loop(written, 4)
    assert_same(seen, written)
    run.model.backward(run.loss_fn.backward())
    written.model.backward(written.loss_fn.backward())
    assert_same(run, written)


LABELLED = {
    "numbers": lambda: Rows(lambda i: (X[i], LABELS[i])),
    "numbers of Python": lambda: Rows(lambda i: (X[i], int(LABELS[i]))),
    "arrays without axes": lambda: Rows(lambda i: (X[i], np.array(LABELS[i]))),
    "columns": lambda: Rows(lambda i: (X[i], [float(LABELS[i])])),
    "probabilities": lambda: Rows(lambda i: (X[i], np.eye(2)[LABELS[i]])),
    "weights": lambda: Rows(lambda i: (X[i], LABELS[i], W[i])),
    "of two shapes": lambda: Whole(lambda i: (X[i], LABELS[i] if i[0] % 2 else LABELS[i].reshape(-1, 1))),
    "labels and probabilities": lambda: Whole(lambda i: (X[i], LABELS[i] if i[0] % 2 else np.eye(2)[LABELS[i]])),
}


@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("kind", LABELLED)
def test_labels(kind, reduction, kernel_calls):
    assert_fit_is_the_loop(LABELLED[kind], loss_of=nn.CrossEntropy, loss={"reduction": reduction})
    assert kernel_calls


def test_tensors_of_torch():
    torch = pytest.importorskip("torch")
    x, y = torch.tensor(X), torch.tensor(Y)
    assert_fit_is_the_loop(lambda: Rows(lambda i: (x[i], y[i])))
    assert_fit_is_the_loop(lambda: Whole(lambda indices: (x[indices], y[indices])))


SETTINGS = {
    "reshuffle": {"reshuffle": True},
    "drop_last": {"drop_last": True},
    "one batch": {"batch_size": ROWS},
    "a batch of more": {"batch_size": 100},
    "single rows": {"batch_size": 1},
    "whole batches": {"batch_size": 23},
    "Adam": {"optimizer_of": nn.Adam},
    "clipped": {"sgd": {"clip_norm": 0.1, "weight_decay": 0.1}},
    "schedule": {"sgd": {"learning_rate": nn.schedules.Cosine(0.05, total=20)}},
    "a schedule of the user's own": {"sgd": {"learning_rate": lambda update: 0.05 / (1 + update)}},
    "dropout": {"layers": [(3, 8), lambda: nn.Dropout(0.5, rng=np.random.default_rng(2)), (8, 2)]},
}


@pytest.mark.parametrize("chunk", [1, 60, 10**6])
@pytest.mark.parametrize("setting", SETTINGS)
def test_settings_and_pieces(setting, chunk, monkeypatch, kernel_calls):
    monkeypatch.setattr(ahead, "STAGED_BYTES", chunk * (16 + 2) * 4)
    assert_fit_is_the_loop(lambda: Rows(plain), **SETTINGS[setting])
    size = SETTINGS[setting].get("batch_size", 5)
    assert kernel_calls and max(rows for _, rows in kernel_calls) <= max(chunk, size)
    assert all(rows % size in (0, ROWS % size) for _, rows in kernel_calls)


def test_reduction_none_takes_the_loop(kernel_calls):
    assert_fit_is_the_loop(lambda: Rows(plain), loss={"reduction": "none"})
    assert not kernel_calls


def test_stage_false_takes_the_loop_only_for_other_data_sets(kernel_calls):
    run = own(Rows(plain))
    nn.fit(run.model, run.loss_fn, run.optimizer, run.loader, 3, stage=False)
    assert not kernel_calls
    run.loader = nn.DataLoader(nn.ArrayDataset(X, Y))
    nn.fit(run.model, run.loss_fn, run.optimizer, run.loader, 1, stage=False)
    assert kernel_calls
    with pytest.raises(TypeError, match="fit: stage must be True or False, got None"):
        nn.fit(run.model, run.loss_fn, run.optimizer, run.loader, 1, stage=None)


def test_a_data_set_that_looks_at_the_model():
    """With stage=False it sees every update."""
    run, seen = own(Rows(plain), shuffle=False), []

    def looking(i):
        seen.append(run.optimizer.updates)
        return plain(i)

    run.loader.dataset.sample = looking
    nn.fit(run.model, run.loss_fn, run.optimizer, run.loader, 2, stage=False)
    assert seen == [update + epoch * 5 for epoch in range(2) for update in np.arange(ROWS) // 5]


@pytest.mark.filterwarnings("ignore:the layer Linear")
@pytest.mark.parametrize(("at", "seen"), [(0, 0), (7, 2), (30, 23)])
@pytest.mark.parametrize("what", ["tensors move", "another layer", "a method", "converted", "a gradient", "settings"])
def test_a_data_set_that_changes_what_is_trained(what, at, seen, unhurried):
    """It is asked ahead, for batches 2 to 9, say; what it changes then is as if it had been changed before batch 2."""

    def change(run, at):
        def changing(i):
            if len(run.loader.dataset.asked) == at + 1:
                if what == "tensors move":
                    run.keep = nn.Sequential(run.model.graphs[0], nn.ReLU())(X)
                elif what == "another layer":
                    run.model.graphs.append(nn.Linear(2, 2, weight_attr=nn.Constant(0.5)))
                elif what == "a method":
                    forward = run.model.forward
                    run.model.forward = lambda x: 2 * forward(x)
                elif what == "converted":
                    for tensor in run.model.parameters():
                        tensor.convert(np.float64)
                elif what == "a gradient":
                    run.model.parameters()[0].grad = np.ones((3, 20))
                else:
                    run.optimizer.clip_norm = 0.01
            return plain(i)

        run.loader.dataset.sample = changing

    runs = [own(Rows(plain), batch_size=1) for _ in range(2)]
    for run, when in zip(runs, (at, seen), strict=True):
        change(run, when)
        nn.fit(run.model, run.loss_fn, run.optimizer, run.loader, 3, stage=run is runs[0], progress=False)
    mine, theirs = ([tensor.data for tensor in run.model.parameters()] for run in runs)
    assert all(a.dtype == b.dtype and np.array_equal(a, b) for a, b in zip(mine, theirs, strict=True))


def test_leftover_gradients_count_in_the_first_batch():
    def leave(run):
        run.loss_fn(run.model(X), Y)
        run.model.backward(run.loss_fn.backward())

    (run, _), _ = assert_fit_is_the_loop(lambda: Rows(plain), change=leave)
    clean, _ = assert_fit_is_the_loop(lambda: Rows(plain))
    assert (run.model.parameters()[0].data != clean[0].model.parameters()[0].data).any()


def test_a_frozen_body(kernel_calls):
    def change(run):
        run.optimizer = nn.SGD(parameters=run.model.graphs[-1].parameters(), learning_rate=0.02)

    (run, _), _ = assert_fit_is_the_loop(lambda: Rows(plain), change=change)
    assert kernel_calls and not any(tensor.grad.any() for tensor in run.model.parameters())


def test_a_length_that_changes():
    class Growing(Rows):
        def __len__(self):
            return min(ROWS, 10 + len(self.asked) // 4)

    assert_fit_is_the_loop(lambda: Growing(plain), epochs=6)

    class Shrinking(Rows):
        def __len__(self):
            return ROWS if len(self.asked) < 30 else 5

    _, (seen, _) = assert_fit_is_the_loop(lambda: Shrinking(plain), epochs=6)
    assert "reach 22, but the data set has 5 rows" in seen["error"][1]


def test_random_draws_of_the_data_set():
    """From NumPy's generator, and from that by which the loader shuffles."""

    def change(run):
        run.loader.dataset.sample = lambda i: (X[i] + run.rng.normal() + np.random.normal(), Y[i])

    assert_fit_is_the_loop(lambda: Rows(plain), change=change, reshuffle=True)


@pytest.mark.parametrize("row", [5, 10, 13])
def test_warnings_that_are_errors(row):
    """A number that overflows float32: raised by the batch in which it is, the first that is asked for or not."""
    X_ = X.copy()
    X_[row, 1] = 1e300
    for over, error in ("raise", FloatingPointError), ("ignore", nn.DivergedError):
        with np.errstate(over=over):
            _, (seen, _) = assert_fit_is_the_loop(lambda: Rows(lambda i: (X_[i], Y[i])), shuffle=False)
        assert seen["error"][0] is error


# --- epochs, watches and callbacks ---


def test_it_is_never_asked_past_an_epoch_that_may_be_the_last():
    run = own(Rows(plain))
    asked = []

    def callback(epoch, loss):
        asked.append(len(run.loader.dataset.asked))
        return epoch == 4

    nn.fit(run.model, run.loss_fn, run.optimizer, run.loader, 9, callback=callback, progress=False)
    assert asked == [ROWS * n for n in range(1, 6)]
    run = own(Rows(plain), sgd={"learning_rate": 0.0})
    stopping = nn.EarlyStopping(patience=3, monitor="loss")
    nn.fit(run.model, run.loss_fn, run.optimizer, run.loader, 9, early_stopping=stopping, progress=False)
    assert len(run.loader.dataset.asked) == 4 * ROWS
    assert sorted(run.loader.dataset.asked) == sorted([*range(ROWS)] * 4)


@pytest.mark.parametrize("validation", [None, (X, Y), "loader"])
def test_early_stopping_restores_the_best(validation):
    def options():
        given = nn.DataLoader(Rows(plain), batch_size=7) if validation == "loader" else validation
        monitor = "loss" if validation is None else "validation_loss"
        return {"validation": given, "early_stopping": nn.EarlyStopping(patience=2, min_delta=0.05, monitor=monitor)}

    _, (seen, _) = assert_fit_is_the_loop(
        lambda: Rows(plain), epochs=40, fit_options=options, sgd={"learning_rate": 0.3}
    )
    assert seen["error"] is None and seen["history"].count(",") > 8


@pytest.mark.parametrize("what", ["rate", "batch_size", "indices", "dataset", "loss", "forward", "arrays"])
def test_callbacks_change_things(what, kernel_calls):
    outcomes = []
    for stage in True, False:
        run = own(Rows(plain))

        def callback(epoch, loss, run=run):
            if epoch != 1:
                return
            if what == "rate":
                run.optimizer.learning_rate = 0.001
            elif what == "batch_size":
                run.loader.sampler.batch_size = 3
            elif what == "indices":
                run.loader.sampler.indices = np.arange(9)
            elif what == "dataset":
                run.loader.dataset = Rows(lambda i: (2 * X[i], Y[i]))
            elif what == "loss":
                run.loss_fn.reduction = "sum"
            elif what == "forward":
                run.model.forward = lambda x: nn.Sequential.forward(run.model, 2 * x)
            else:
                run.loader.dataset = nn.ArrayDataset(2 * X, Y)

        history = nn.fit(run.model, run.loss_fn, run.optimizer, run.loader, 4, callback=callback, stage=stage)
        outcomes.append((history.loss, history.learning_rate, state(run)))
        if stage:
            assert len(kernel_calls) >= 4
    assert outcomes[0][:2] == outcomes[1][:2]
    assert_same(outcomes[0][2], outcomes[1][2])


def test_callbacks_see_layers_and_loss_as_after_the_loop():
    seen = []
    for stage in True, False:
        run = own(Rows(plain))
        nn.fit(run.model, run.loss_fn, run.optimizer, run.loader, 3, stage=stage,
               callback=lambda epoch, loss, run=run: seen.append(state(run)))  # fmt: skip
    for mine, theirs in zip(seen[:3], seen[3:], strict=True):
        assert_same(mine, theirs)


# --- how much is asked ahead ---


def test_integers_are_converted_as_the_loop_converts_them():
    """At once: by way of double, their last bits would be others."""
    odd = 2**62 + 2**38 + 1
    columns = [np.full((2, 3), odd), np.full((2, 3), float(odd))]
    model = own(Rows(plain)).model
    stage = Stage(model.whole_program(), nn.MSE(), (2, 2), False)
    stage.put_batches(columns, [np.full((2, 2), -odd)] * 2)
    expected = np.zeros((2, 3), "f")
    expected[...] = columns[0]
    assert np.array_equal(stage.x[:2, :3], expected) and expected[0, 0] != np.float32(np.float64(odd))
    assert np.array_equal(stage.x[2:4, :3], columns[1].astype("f"))
    assert np.array_equal(stage.y[:2], -expected[:, :2])


@pytest.mark.parametrize(("seconds", "most"), [(0.0, 200), (0.0009, 20), (0.003, 5), (0.1, 5)])
def test_as_much_as_takes_20_ms_is_asked_ahead(seconds, most, monkeypatch, kernel_calls):
    """By a clock that only the data set moves: `seconds` for a sample."""
    now = [0.0]

    def sample(i):
        now[0] += seconds
        return X[i % ROWS], Y[i % ROWS]

    class Clock:
        @staticmethod
        def perf_counter():
            now[0] += 1e-9
            return now[0]

    monkeypatch.setattr(ahead, "time", Clock)
    monkeypatch.setattr(ahead, "SECONDS_PER_CALL", 0.02)
    run = own(Rows(sample, 200))
    nn.fit(run.model, run.loss_fn, run.optimizer, run.loader, 3)
    rows = [rows for _, rows in kernel_calls]
    assert rows[:2] == [5, 5] and sum(rows) == 600
    assert max(rows) == most and rows[2] == min(most, 40)
