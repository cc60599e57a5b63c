"""Ctrl-C: answered at once, with the model whole, and no epoch lost that was trained."""

import os
import signal
import threading
import time

import numpy as np
import pytest
from fits import CHAIN, Double, assert_same, data, fit, loop, setup
from fits import backend as backend

import fastnp
import fastnp as nn
from fastnp.kernels.reference import updates
from fastnp.program import alone
from fastnp.program.program import Program
from fastnp.training import compiled

KERNEL_AND_LOOP = pytest.mark.parametrize("layers", [CHAIN, [*CHAIN, Double]], ids=["kernel", "loop"])


def interrupted(run, epochs=10**9, history=None, delay=0.15):
    """Train until Ctrl-C comes; how long it took to answer."""
    sent = []

    def send():
        time.sleep(delay)
        sent.append(time.perf_counter())
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=send)
    thread.start()
    with pytest.raises(KeyboardInterrupt):
        try:
            fit(run, epochs, history=history)
        finally:
            answered = time.perf_counter()
            thread.join()
    return answered - sent[0]


@KERNEL_AND_LOOP
@pytest.mark.parametrize("reshuffle", [False, True])
def test_ctrl_c(reshuffle, layers):
    history = nn.History()
    run = setup(layers, data(200), reshuffle=reshuffle, sgd={"learning_rate": 1e-4})
    fit(run, 1)
    assert any(interrupted(run, history=history) < 0.2 for _ in range(3))
    assert history.loss and signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert all(np.isfinite(tensor.data).all() for tensor in run.model.parameters())
    assert len(fit(run, 2, history=history)) >= 3
    run.model.backward(run.loss_fn.backward())


def test_ctrl_c_in_a_long_epoch():
    run = setup([(64, 64), "relu", (64, 64), "relu", (64, 2)], data(50_000, 64), batch_size=16)
    assert any(interrupted(run) < 0.2 for _ in range(3))


@pytest.mark.parametrize("reshuffle", [False, True])
def test_ctrl_c_loses_no_epoch(reshuffle, monkeypatch):
    """A signal that comes while the kernel runs is seen when it returns: its epochs are trained, and count."""
    run, other, history = setup(reshuffle=reshuffle), setup(reshuffle=reshuffle), nn.History()
    train, calls = Program.train, []

    def signalled(self, *args):
        done = train(self, *args)
        calls.append(done)
        if len(calls) == 3:
            signal.raise_signal(signal.SIGINT)
        return done

    monkeypatch.setattr(Program, "train", signalled)
    monkeypatch.setattr(compiled, "STAGED_BYTES", 23 * (16 + 2) * 4 * 3)
    with pytest.raises(KeyboardInterrupt):
        fit(run, 10**6, history=history)
    assert len(history.loss) * 5 == sum(calls)
    assert history.loss == loop(other, len(history.loss))
    for mine, theirs in zip(run.model.parameters(), other.model.parameters(), strict=True):
        assert np.array_equal(mine.data, theirs.data)
    assert run.rng.bit_generator.state == other.rng.bit_generator.state
    monkeypatch.undo()
    assert fit(run, 2) == loop(other, 2)
    assert_same(run, other)


@pytest.mark.parametrize("batch", [8, 9, 10])
def test_ctrl_c_loses_no_epoch_of_the_loop(batch):
    """Five batches an epoch: a signal in the last one comes through when that epoch counts."""
    calls = []

    class Signalling(Double):
        def backward(self, gradient):
            calls.append(None)
            if len(calls) == batch:
                signal.raise_signal(signal.SIGINT)
            return super().backward(gradient)

    run, other, history = setup([*CHAIN, Signalling]), setup([*CHAIN, Double]), nn.History()
    with pytest.raises(KeyboardInterrupt):
        fit(run, 100, history=history)
    assert len(calls) == batch
    assert history.loss == loop(other, batch // 5)


@KERNEL_AND_LOOP
def test_ctrl_c_within_an_update(layers, backend, monkeypatch):
    """On NumPy an update takes several operations; Ctrl-C must not come between them."""
    if backend != "numpy":
        pytest.skip("a compiled update is one call")
    run, other = setup(layers), setup(layers)
    count = 0

    class Signalling:
        def __getattr__(self, name):
            nonlocal count
            if name == "abs":  # after the velocity is changed and before the parameters are
                count += 1
                if count == 8:
                    signal.raise_signal(signal.SIGINT)
            return getattr(np, name)

    monkeypatch.setattr(updates, "np", Signalling())
    with pytest.raises(KeyboardInterrupt):
        fit(run, 100)
    monkeypatch.undo()
    assert count >= 8
    batches = [batch for _ in range(100) for batch in other.loader]
    updates_a_step = 1 if Double in layers else len(other.model.parameters())  # those of a kernel go row by row
    assert count % updates_a_step == 0
    for x, y in batches[: count // updates_a_step]:
        other.loss_fn(other.model(x), y)
        other.model.backward(other.loss_fn.backward())
        other.optimizer.step()
        other.optimizer.clear_grad()
    for mine, theirs in zip(run.model.parameters(), other.model.parameters(), strict=True):
        assert np.array_equal(mine.data, theirs.data)
        assert np.array_equal(mine.grad, theirs.grad)
    for mine, theirs in zip(run.optimizer.velocity, other.optimizer.velocity, strict=True):
        assert np.array_equal(mine, theirs)


def test_ctrl_c_while_the_kernel_is_compiled_is_answered_at_once(backend, monkeypatch):
    """That takes seconds, and nothing has begun yet: no order is drawn, nothing forgotten."""
    run = setup(reshuffle=True)
    run.model(data()[0])
    gradient = run.model.backward(np.ones((len(data()[0]), 2)))
    for tensor in run.model.parameters():
        tensor.clear_grad()
    before = [p.data.copy() for p in run.model.parameters()], run.rng.bit_generator.state
    kernels = fastnp.backend.kernels()
    train = kernels.train
    monkeypatch.setattr(alone, "_trained", set())
    compiling = []

    def signalled(losses, *rest):
        compiling.append(len(losses))
        if len(compiling) == 1:
            signal.raise_signal(signal.SIGINT)
        return train(losses, *rest)

    monkeypatch.setattr(kernels, "train", signalled)
    with pytest.raises(KeyboardInterrupt):
        fit(run, 10)
    assert compiling == [0]
    assert all(np.array_equal(a, p.data) for a, p in zip(before[0], run.model.parameters(), strict=True))
    assert run.rng.bit_generator.state == before[1]
    assert np.array_equal(run.model.backward(np.ones((len(data()[0]), 2))), gradient)


def test_ctrl_c_within_an_update_of_a_training_inside_of_a_callback():
    """The outer training holds Ctrl-C back already; the inner one's update shall be whole, too."""
    inner, other, seen = setup([*CHAIN, Double]), setup([*CHAIN, Double]), []

    class Signalling(Double):
        def backward(self, gradient):
            signal.raise_signal(signal.SIGINT)
            seen.append("went on")
            return super().backward(gradient)

    inner.model.graphs[-1] = Signalling()
    outer = setup()
    with pytest.raises(KeyboardInterrupt):
        fit(outer, 5, callback=lambda *_: fit(inner, 1))
    x, y = next(iter(other.loader))
    other.loss_fn(other.model(x), y)
    other.model.backward(other.loss_fn.backward())
    other.optimizer.step()
    assert seen == ["went on"]
    for mine, theirs in zip(inner.model.parameters(), other.model.parameters(), strict=True):
        assert np.array_equal(mine.data, theirs.data)
