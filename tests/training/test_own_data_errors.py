"""What goes wrong in a data set of the user's own: `fit`, which asks ahead, ends where and as the loop does."""

import gc
import signal
import weakref

import numpy as np
import pytest
from fits import backend as backend
from fits import kernel_calls as kernel_calls
from own_data import (
    LABELS,
    ROWS,
    Rows,
    W,
    Whole,
    X,
    Y,
    assert_fit_is_the_loop,
    assert_same_outcome,
    outcome,
    own,
    plain,
)

import fastnp as nn
from fastnp.program import alone
from fastnp.program.program import Program
from fastnp.training import ahead


def raising(error):
    def sample(i):
        raise error

    return sample


def nan_in(values, place):
    values = values.copy()
    values[place] = np.nan
    return values


# For a sample that comes in the middle of a batch, what is given in its place, and of which type the error is.
SAMPLES = {
    "an exception": (raising(KeyError("no such row")), KeyError),
    "an index out of reach": (lambda i: (X[i + ROWS], Y[i]), IndexError),
    "StopIteration": (raising(StopIteration("over")), RuntimeError),
    "the end of the program": (raising(SystemExit(3)), SystemExit),
    "Ctrl-C": (raising(KeyboardInterrupt("now")), KeyboardInterrupt),
    "no pair": (lambda i: X[i], ValueError),
    "a number": (lambda i: 3.0, ValueError),
    "nothing": (lambda i: None, ValueError),
    "four": (lambda i: (*plain(i), 1, 1), ValueError),
    "another width": (lambda i: (X[i][:2], Y[i]), ValueError),
    "another width of targets": (lambda i: (X[i], Y[i][:1]), ValueError),
    "a word": (lambda i: (X[i], ["a", "b"]), TypeError),
    "an object": (lambda i: (object(), Y[i]), ValueError),
    "a tensor": (lambda i: (nn.Tensor((3,)), Y[i]), ValueError),
    "a weight, which others lack": (lambda i: (*plain(i), 1.0), ValueError),
    "NaN": (lambda i: (nan_in(X[i], 1), Y[i]), nn.DivergedError),
    "infinity": (lambda i: (X[i] * [1, np.inf, 1], Y[i]), nn.DivergedError),
    "NaN in the target": (lambda i: (X[i], nan_in(Y[i], 0)), nn.DivergedError),
    "a number that overflows": (lambda i: (X[i], [1e30, 0]), nn.DivergedError),
    "complex numbers": (lambda i: (X[i] + 1j, Y[i]), TypeError),
}  # fmt: skip


def at_request(number, sample, usual=plain):
    """As usual, but for one request."""

    def given():
        dataset = Rows(lambda i: sample(i) if len(dataset.asked) == number + 1 else usual(i))
        return dataset

    return given


@pytest.mark.filterwarnings("ignore:overflow", "ignore:invalid", "ignore:.*deprecated")
@pytest.mark.parametrize("number", [0, 4, 16, ROWS + 13, 2 * ROWS + 22])
@pytest.mark.parametrize("what", SAMPLES)
def test_a_sample(what, number, kernel_calls):
    sample, error = SAMPLES[what]
    (mine, theirs), (seen, _) = assert_fit_is_the_loop(at_request(number, sample))
    assert seen["error"][0] is error
    assert bool(kernel_calls) == (number >= 5 or error is nn.DivergedError)
    asked, expected = mine.loader.dataset.asked, theirs.loader.dataset.asked
    assert asked[: len(expected)] == expected
    if not issubclass(error, nn.DivergedError) and not {"weight", "word", "width"} & {*what.replace(",", "").split()}:
        assert len(asked) - len(expected) <= (ROWS if error in (ValueError, TypeError) else 0)


def whole(change):
    """Whole batches; from the third of the second epoch on they are changed."""

    def given():
        dataset = Whole(lambda i: change(i) if len(dataset.asked) > ROWS + 10 else (X[i], Y[i], W[i]))
        return dataset

    return given


BATCHES = {
    "another width": (lambda i: (X[i][:, :2], Y[i], W[i]), "got an input with 2 features"),
    "three dimensions": (lambda i: (X[i][:, np.newaxis], Y[i], W[i]), "got an input of shape"),
    "one dimension": (lambda i: (X[i][:, 0], Y[i], W[i]), "got an input of shape"),
    "another width of targets": (lambda i: (X[i], Y[i][:, :1], W[i]), "nothing is broadcast"),
    "fewer targets": (lambda i: (X[i], Y[i][:-1], W[i]), "nothing is broadcast"),
    "fewer weights": (lambda i: (X[i], Y[i], W[i][:-1]), "mse: weight has shape"),
    "a negative weight": (lambda i: (X[i], Y[i], W[i] - 3), "mse: weight[0] is"),
    "a weight that is NaN": (lambda i: (X[i], Y[i], W[i] * [1, np.nan, 1, 1, 1][: len(i)]), "mse: weight[1] is nan"),
    "weights in two columns": (lambda i: (X[i], Y[i], Y[i] ** 2), "mse: weight has shape"),
    "words": (lambda i: (X[i].astype(str), Y[i], W[i]), "expected real numbers"),
    "a masked array": (lambda i: (np.ma.masked_array(X[i]), Y[i], W[i]), "is a masked array"),
    "no rows": (lambda i: (X[:0], Y[:0], W[:0]), "the mean loss of an empty batch"),
    "one array": (lambda i: (X[i],), "must be (x, y) or (x, y, weight), got 1 elements"),
    "NaN": (lambda i: (nan_in(X[i], (1, 2)), Y[i], W[i]), "x[1, 2] of this batch is nan"),
}  # fmt: skip


@pytest.mark.parametrize("what", BATCHES)
def test_a_batch(what, kernel_calls):
    change, words = BATCHES[what]
    _, (seen, _) = assert_fit_is_the_loop(whole(change))
    assert words in seen["error"][1]
    assert kernel_calls


def test_a_batch_of_another_kind_that_fails_at_once():
    """Nothing of it has come through: layers and loss remember the last batch of the kind before."""
    with np.errstate(over="raise"):
        _, (seen, _) = assert_fit_is_the_loop(whole(lambda i: (X[i] * 1e300, Y[i])))
    assert seen["error"][0] is FloatingPointError


HARMLESS = {
    "no weights any more": lambda i: (X[i], Y[i]),
    "no weight": lambda i: (X[i], Y[i], None),
    "weights in a column": lambda i: (X[i], Y[i], W[i][:, np.newaxis]),
    "weights of 0": lambda i: (X[i], Y[i], 0 * W[i]),
    "fewer rows": lambda i: (X[i][:2], Y[i][:2], W[i][:2]),
    "more rows": lambda i: (X, Y, W),
    "another dtype": lambda i: (X[i].astype(np.float16), Y[i].astype(int), W[i] > 0),
    "read-only": lambda i: (np.broadcast_to(X[0], (len(i), 3)), Y[i], W[i]),
}


@pytest.mark.parametrize("what", HARMLESS)
def test_batches_of_another_kind(what, kernel_calls):
    _, (seen, _) = assert_fit_is_the_loop(whole(HARMLESS[what]))
    assert seen["error"] is None and kernel_calls


def test_batches_that_are_alike_are_trained_on_in_one_call(kernel_calls, monkeypatch):
    """A short last one, too; where weights end in the middle of what was asked for, that is cut there."""
    monkeypatch.setattr(ahead, "SECONDS_PER_CALL", 1e9)
    assert_fit_is_the_loop(whole(HARMLESS["no weights any more"]))
    assert [rows for _, rows in kernel_calls] == [5, 5, 13, 10, 13, 23, 23]


LABELLED = {
    "a label out of range": (lambda i: (X[i], 2), "target[3] is 2; expected labels"),
    "half a label": (lambda i: (X[i], 0.5), "target[3] is 0.5; expected labels"),
    "half a label that float32 rounds": (lambda i: (X[i], 1 + 1e-12), "target[3] is 1.000000000001"),
}


@pytest.mark.parametrize("what", LABELLED)
def test_a_label(what, kernel_calls):
    sample, words = LABELLED[what]
    given = at_request(ROWS + 13, sample, lambda i: (X[i], LABELS[i]))
    _, (seen, _) = assert_fit_is_the_loop(given, loss_of=nn.CrossEntropy)
    assert words in seen["error"][1]
    assert kernel_calls


@pytest.mark.parametrize(
    ("loss_of", "loss"), [(nn.CrossEntropy, {"class_weight": [1, 2, 3]}), (nn.Quantile, {"q": [0.1, 0.2, 0.3]})]
)
def test_settings_of_a_loss_that_do_not_fit(loss_of, loss):
    sample = (lambda i: (X[i], LABELS[i])) if loss_of is nn.CrossEntropy else plain
    _, (seen, _) = assert_fit_is_the_loop(lambda: Rows(sample), loss_of=loss_of, loss=loss)
    assert "but the predictions have 2" in seen["error"][1]


def test_settings_that_do_not_fit_any_more():
    outcomes = []
    for stage in True, False:
        run = own(Rows(plain), loss_of=nn.Quantile)
        callback = lambda epoch, loss, run=run: setattr(run.loss_fn, "q", (0.1, 0.2, 0.3))  # noqa: E731
        outcomes.append(outcome(run, 3, stage, callback=callback))
    assert_same_outcome(*outcomes)
    assert "but the predictions have 2" in outcomes[0][0]["error"][1]


def test_class_weights_and_probabilities():
    given = lambda: Rows(lambda i: (X[i], np.eye(2)[LABELS[i]]))  # noqa: E731
    _, (seen, _) = assert_fit_is_the_loop(given, loss_of=nn.CrossEntropy, loss={"class_weight": [1, 2]})
    assert "class_weight is for labels" in seen["error"][1]


@pytest.mark.parametrize("at", [0, 1, 7, 12])
def test_a_schedule_that_ends(at, kernel_calls):
    def rate(update):
        if update == at:
            raise RuntimeError("no more rates")
        return 0.01

    _, (seen, _) = assert_fit_is_the_loop(lambda: Rows(plain), sgd={"learning_rate": rate})
    assert seen["error"] == (RuntimeError, "no more rates")
    assert kernel_calls


def test_a_training_that_diverges():
    _, (seen, _) = assert_fit_is_the_loop(
        lambda: Rows(plain), epochs=500, sgd={"learning_rate": 30.0}, layers=[(3, 5), (5, 2)]
    )
    assert seen["error"][0] is nn.DivergedError


def test_what_is_at_fault_is_seen_by_the_prediction():
    """An infinity that the model swallows is not to blame."""

    def change(run):
        run.model.graphs[0].weights.data = np.full((3, 4), -1)

    given = at_request(16, lambda i: ([np.inf, 0, 0], nan_in(Y[i], 1)))
    _, (seen, _) = assert_fit_is_the_loop(given, change=change, layers=[(3, 4), "relu", (4, 2)])
    assert "y[1, 1] of this batch is nan" in seen["error"][1]


def test_after_divergence_the_data_set_was_asked_ahead():
    """By at most the rest of the epoch here; also what draws from a generator is that far."""
    runs = []
    for stage in True, False:
        run = own(Rows(plain))
        run.loader.dataset.sample = lambda i, run=run: (
            X[i] + run.rng.normal(),
            nan_in(Y[i], 0) if len(run.loader.dataset.asked) == ROWS + 2 else Y[i],
        )
        assert outcome(run, 3, stage)[0]["error"][0] is nn.DivergedError
        runs.append(run)
    asked, expected = (len(run.loader.dataset.asked) for run in runs)
    assert expected == ROWS + 5 and expected < asked <= 2 * ROWS
    behind = runs[1].rng
    for _ in range(asked - expected):
        behind.normal()
    assert behind.bit_generator.state == runs[0].rng.bit_generator.state


@pytest.mark.parametrize("number", [6, 16, ROWS + 13, 2 * ROWS + 22])
def test_ctrl_c_in_the_data_set_is_answered_at_once(number, kernel_calls):
    """Batches before it are trained on; that which is broken off is not."""

    def sample(i):
        signal.raise_signal(signal.SIGINT)
        raise AssertionError("Ctrl-C was held back")

    (mine, _), (seen, _) = assert_fit_is_the_loop(at_request(number, sample))
    assert seen["error"][0] is KeyboardInterrupt and kernel_calls
    assert len(mine.loader.dataset.asked) == number + 1
    assert mine.optimizer.updates == number // ROWS * 5 + number % ROWS // 5
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_ctrl_c_before_anything_is_compiled_does_not_wait_for_it(monkeypatch):
    monkeypatch.setattr(alone, "_trained", set())
    monkeypatch.setattr(Program, "compile_training", raising(AssertionError()))
    run = own(at_request(3, lambda i: signal.raise_signal(signal.SIGINT))())
    assert outcome(run, 3, True)[0]["error"][0] is KeyboardInterrupt


@pytest.mark.parametrize("call", [3, 4, 6])
def test_ctrl_c_in_a_kernel_waits_until_its_batches_count(call, monkeypatch):
    train, calls = Program.train, []

    def signalled(self, *arguments):
        done = train(self, *arguments)
        calls.append(done)
        if len(calls) == call:
            signal.raise_signal(signal.SIGINT)
        return done

    monkeypatch.setattr(Program, "train", signalled)
    run = own(Rows(plain))
    mine = outcome(run, 9, True)
    assert mine[0]["error"][0] is KeyboardInterrupt
    assert run.optimizer.updates == sum(calls) and len(calls) == call
    monkeypatch.undo()
    other = own(Rows(plain))
    epochs = sum(calls) // 5
    assert mine[0]["history"] == outcome(other, epochs, False)[0]["history"]
    for a, b in zip(run.model.parameters(), other.model.parameters(), strict=True):
        assert np.array_equal(a.data, b.data) == (sum(calls) % 5 == 0)
    assert outcome(run, 2, True)[0]["error"] is None


def test_the_state_is_that_of_the_last_batch_after_ctrl_c_between_batches():
    runs = [own(at_request(16, raising(KeyboardInterrupt()))()) for _ in range(2)]
    mine, theirs = (outcome(run, 3, stage) for run, stage in zip(runs, (True, False), strict=True))
    assert_same_outcome(mine, theirs)
    for run in runs:
        run.model.backward(run.loss_fn.backward())
    assert all(np.array_equal(a.grad, b.grad) for a, b in zip(*(run.model.parameters() for run in runs), strict=True))


@pytest.mark.parametrize("number", [2, 16, ROWS + 13])
def test_an_error_keeps_nothing_alive(number):
    class Mine(nn.Sequential):
        pass

    run = own(at_request(number, lambda i: {}["no such row"])())
    run.model = Mine(*run.model.graphs)
    gone = weakref.ref(run.model)
    gc.collect()
    gc.disable()
    try:
        assert outcome(run, 3, True)[0]["error"][0] is KeyError
        del run
        assert gone() is None
    finally:
        gc.enable()
