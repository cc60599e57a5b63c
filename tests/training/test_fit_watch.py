"""What watches a training by `fit`: callbacks, validation, the history, the progress bar."""

import io
import pickle
import sys

import numpy as np
import pytest
from fits import CHAIN, Double, assert_same, build, data, fit, loop, setup, state
from fits import backend as backend
from fits import kernel_calls as kernel_calls

import fastnp as nn
from fastnp.training import compiled

KERNEL_AND_LOOP = pytest.mark.parametrize("layers", [CHAIN, [*CHAIN, Double]], ids=["kernel", "loop"])


# --- callbacks ---


@KERNEL_AND_LOOP
def test_a_callback_is_called_after_every_epoch(layers, kernel_calls, monkeypatch):
    monkeypatch.setattr(compiled, "SECONDS_PER_CALL", 1e9)
    run, other = setup(layers), setup(layers)
    seen, states = [], []
    losses = fit(run, 4, callback=lambda *args: seen.append(args) or states.append(state(run)))
    expected = loop(other, 2)
    assert_same(states[1], other)
    expected += loop(other, 2)
    assert_same(states[3], other)
    assert seen == list(enumerate(losses)) == list(enumerate(expected))
    assert all(type(epoch) is int and type(loss) is float for epoch, loss in seen)
    assert len(kernel_calls) == (4 if layers is CHAIN else 0)


@KERNEL_AND_LOOP
@pytest.mark.parametrize("reshuffle", [False, True])
@pytest.mark.parametrize("answer", [True, np.True_])
def test_a_callback_stops(answer, reshuffle, layers):
    run, other = setup(layers, reshuffle=reshuffle), setup(layers, reshuffle=reshuffle)
    assert fit(run, 9, callback=lambda epoch, loss: answer if epoch == 2 else None) == loop(other, 3)
    assert_same(run, other)
    assert fit(run, 2) == loop(other, 2)
    assert_same(run, other)


@pytest.mark.parametrize("answer", [None, False, 0, ""])
def test_other_answers_do_not_stop(answer):
    assert len(fit(setup(), 3, callback=lambda epoch, loss: answer)) == 3


def rates(run, epoch):
    run.optimizer.learning_rate = 0.02 / (epoch + 2)
    run.optimizer.momentum = 0.5
    run.optimizer.weight_decay = 0.1
    run.optimizer.decay_type = "l1"


def fewer_rows(run, epoch):
    run.loader.sampler.indices = run.loader.sampler.indices[:-3]


def more_rows(run, epoch):
    run.loader.sampler.indices = np.concatenate([run.loader.sampler.indices, [0, 1, 2, 3, 4]])


def batch_size(run, epoch):
    run.loader.sampler.batch_size = 3 + 5 * epoch


def drop_last(run, epoch):
    run.loader.sampler.drop_last = epoch % 2 == 0


def reshuffle(run, epoch):
    run.loader.sampler.reshuffle = epoch % 2 == 0


def rows_in_place(run, epoch):
    run.loader.dataset.X[::2] *= 0.5


def new_rows(run, epoch):
    run.loader.dataset.X = 0.5 * run.loader.dataset.X


def new_labels(run, epoch):
    run.loader.dataset.Y = 0.5 * run.loader.dataset.Y


def new_data_set(run, epoch):
    run.loader.dataset = nn.ArrayDataset(*data(23, seed=epoch + 2))


def new_sampler(run, epoch):
    run.loader.sampler = nn.BatchSampler(run.loader.dataset, batch_size=4)


def reduction(run, epoch):
    run.loss_fn.reduction = "sum"


def add_layer(run, epoch):
    if epoch < 3:  # a layer that never runs has no state
        run.model.add(nn.Linear(2, 2, weight_attr=nn.Constant(0.3)) if epoch == 0 else nn.ReLU())


def drop_layer(run, epoch):
    if epoch == 1:
        del run.model.graphs[1]


def new_weights(run, epoch):
    run.model.graphs[0].weights.data = run.model.graphs[0].weights.data / 2


def move_layers(run, epoch):
    run.keep = nn.Sequential(*run.model.graphs, nn.Linear(2, 4, weight_attr=nn.Constant(0.5)))


def hold_less(run, epoch):
    run.optimizer.parameters.pop()


def leave_a_gradient(run, epoch):
    run.model.backward(run.loss_fn.backward())


CHANGES = (rates, fewer_rows, more_rows, batch_size, drop_last, reshuffle, rows_in_place, new_rows, new_labels)
CHANGES += (new_data_set, new_sampler, reduction, add_layer, drop_layer, new_weights, move_layers, hold_less)
CHANGES += (leave_a_gradient,)


@pytest.mark.filterwarnings("ignore:the layer .* joined the model after")
@pytest.mark.parametrize("change", CHANGES)
def test_a_callback_may_change_anything(change):
    run, other, unchanged = setup(), setup(), setup()
    losses = fit(run, 5, callback=lambda epoch, loss: change(run, epoch))
    assert losses == loop(other, 5, after=lambda epoch: change(other, epoch))
    assert_same(run, other)
    assert change is move_layers or losses != loop(unchanged, 5)


def test_a_callback_may_train_copy_and_predict():
    run, other = setup(reshuffle=True), setup(reshuffle=True)
    copies = []

    def callback(epoch, loss):
        fit(run, 2)
        copies.append(pickle.loads(pickle.dumps((run.model, run.loss_fn, run.optimizer, run.loader))))
        nn.fit(*copies[-1], 1)
        run.model.predict(data()[0])

    losses = fit(run, 3, callback=callback)
    expected = loop(other, 9)
    assert losses == expected[::3]
    assert_same(run, other)


def test_a_callback_may_change_the_backend():
    before = nn.backend.process
    run, other = setup(), setup()

    def switch(epoch):
        contexts[-1].__exit__(None, None, None)
        contexts[-1] = nn.use_backend("numpy" if epoch % 2 else "numba")
        contexts[-1].__enter__()

    results = []
    for train in (
        lambda: fit(run, 5, callback=lambda epoch, loss: switch(epoch)),
        lambda: loop(other, 5, after=switch),
    ):
        contexts = [nn.use_backend("numpy")]
        contexts[0].__enter__()
        results.append(train())
        contexts[-1].__exit__(None, None, None)
    assert results[0] == results[1]
    assert_same(run, other)
    assert nn.backend.process == before


@KERNEL_AND_LOOP
def test_a_callback_that_raises(layers):
    run, other, history = setup(layers, reshuffle=True), setup(layers, reshuffle=True), nn.History()
    error = KeyError("mine")

    def callback(epoch, loss):
        if epoch == 1:
            raise error

    with pytest.raises(KeyError) as raised:
        fit(run, 5, callback=callback, history=history)
    assert raised.value is error
    assert history.loss == loop(other, 2)
    assert_same(run, other)


# --- validation and the history ---


@KERNEL_AND_LOOP
def test_validation(layers):
    X, Y = data(31, seed=9)
    run, other, unwatched = setup(layers), setup(layers), setup(layers)
    history = nn.fit(run.model, run.loss_fn, run.optimizer, run.loader, 3, validation=(X, Y))
    expected = []
    loop(other, 3, after=lambda epoch: expected.append(nn.MSE()(other.model.predict(X), Y)))
    assert history.validation_loss == expected
    assert len(set(expected)) == 3
    assert history.loss == fit(unwatched, 3)
    seen, alone = state(run), state(unwatched)
    assert_same(*[{name: each[name] for name in alone if "seen" not in name} for each in (seen, alone)])


def test_validation_by_a_loader():
    X, Y = data(31, seed=9)
    loader = nn.DataLoader(nn.ArrayDataset(X, Y), batch_size=8)
    for batches in loader, [(X[:8], Y[:8]), (X[8:], Y[8:])]:
        run = setup()
        history = nn.fit(run.model, run.loss_fn, run.optimizer, run.loader, 2, validation=batches)
        losses = [nn.MSE()(run.model.predict(x), y) for x, y in batches]
        assert history.validation_loss[-1] == np.average(losses, weights=[len(x) for x, _ in batches])
        assert history.validation_loss[-1] == pytest.approx(nn.MSE()(run.model.predict(X), Y), rel=1e-6)


def test_validation_comes_before_the_callback():
    run, history, seen = setup(), nn.History(), []
    fit(run, 3, validation=data(), history=history, callback=lambda *_: seen.append(len(history.validation_loss)))
    assert seen == [1, 2, 3]


def test_a_history_is_gone_on_with():
    run, other, history = setup(), setup(), nn.History()
    assert nn.fit(run.model, run.loss_fn, run.optimizer, run.loader, 2, history=history) is history
    fit(run, 3, history=history)
    assert history.loss == loop(other, 5) and history.validation_loss == []
    assert all(type(loss) is float for loss in history.loss)
    assert pickle.loads(pickle.dumps(history)) == history
    assert fit(setup(), 1) == history.loss[:1]  # a new history each time


@pytest.mark.parametrize("validated", [False, True])
def test_a_history_draws_itself(validated, tmp_path):
    history = nn.History([3.0, 2.0, 1.0], [4.0, 3.0, 2.0] if validated else [], best_epoch=2 if validated else None)
    history.plot(tmp_path / "losses.png")
    assert (tmp_path / "losses.png").read_bytes().startswith(b"\x89PNG")
    with pytest.raises(ValueError, match=r"\.png"):
        history.plot(tmp_path / "losses.nothing")


# --- progress ---


class Terminal(io.StringIO):
    def isatty(self):
        return True


@KERNEL_AND_LOOP
def test_progress(layers, monkeypatch):
    for shown, options in (True, {}), (False, {"progress": False}):
        monkeypatch.setattr(sys, "stderr", Terminal())
        losses = fit(setup(layers), 7, **options)
        text = sys.stderr.getvalue()
        assert ("7/7" in text and f"loss {losses[-1]:.4g}" in text) if shown else text == ""


@KERNEL_AND_LOOP
def test_silent_where_there_is_no_terminal(layers, capfd):
    fit(setup(layers), 3, validation=data())
    assert capfd.readouterr() == ("", "")


def test_without_standard_error(monkeypatch):
    expected = fit(setup(), 2)
    monkeypatch.setattr(sys, "stderr", None)
    assert fit(setup(), 2) == expected


def test_no_epochs(kernel_calls):
    run, untouched = setup(reshuffle=True), build(CHAIN)
    history = nn.fit(run.model, run.loss_fn, run.optimizer, run.loader, 0, callback=pytest.fail, validation=data())
    assert history == nn.History([], []) and not kernel_calls
    for mine, theirs in zip(run.model.parameters(), untouched.parameters(), strict=True):
        assert np.array_equal(mine.data, theirs.data)
