"""Ctrl-C at any moment and before any line, and memory that runs out: the model is whole."""

import _thread
import random
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from trainings import X, Y, alone, assert_whole, bits, fit, loop, states_after, training

import fastnp as nn
from fastnp.program import lowering
from fastnp.training import compiled

SOURCES = str(Path(nn.__file__).parent)


class Rows(nn.Dataset):
    """Gives what an ArrayDataset gives, which nobody knows but itself."""

    def __getitem__(self, i):
        return X[i], Y[i]

    def __len__(self):
        return len(X)


OPTIONS = {"kernel": {}, "reshuffle": {"reshuffle": True}, "loop": {"own": True}, "data set": {"dataset": Rows()}}


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
@pytest.mark.parametrize("count", [20, pytest.param(100, marks=pytest.mark.slow)])
def test_ctrl_c_at_many_moments(count, options, monkeypatch):
    monkeypatch.setattr(compiled, "SECONDS_PER_CALL", 0.002)  # fewer epochs to search for the state below
    fit(training(**options), 1)  # compiled by now
    delays = random.Random(3)
    for _ in range(count):
        parts, history, go = training(**options), nn.History(), threading.Event()

        def interrupt(go=go, delay=delays.uniform(0, 0.015)):
            go.wait()
            threading.Event().wait(delay)
            _thread.interrupt_main()

        timer = threading.Thread(target=interrupt)
        timer.start()
        with pytest.raises(KeyboardInterrupt):
            go.set()
            fit(parts, 10**9, history=history)
        timer.join()
        expected, reached = bits(parts), []
        assert np.isfinite(history.loss).all()

        other = training(**options)

        def found(epoch, loss, expected=expected, reached=reached, other=other):
            reached.append(bits(other) == expected)
            return reached[-1]

        losses = fit(other, len(history.loss))
        assert losses == history.loss
        if bits(other) != expected and {"own", "dataset"} & options.keys():  # up to an epoch, batch by batch
            model, loss_fn, optimizer, loader = other
            for x, y in loader:
                loss_fn(model(x), y)
                model.backward(loss_fn.backward())
                optimizer.step()
                optimizer.clear_grad()
                reached.append(bits(other) == expected)
            assert any(reached)
        elif bits(other) != expected:  # a kernel call had ended, its epochs were not yet counted
            fit(other, 20_000, callback=found)
            assert reached[-1]
        assert_whole(parts)


def interrupted(call, at):
    """Raise KeyboardInterrupt before the at-th line of fastnp that `call` runs; False where there are fewer."""
    count, before = 0, sys.gettrace()

    def line(frame, event, argument):
        nonlocal count
        if event == "line":
            count += 1
            if count == at:
                raise KeyboardInterrupt
        return line

    sys.settrace(lambda frame, event, argument: line if frame.f_code.co_filename.startswith(SOURCES) else None)
    try:
        call()
    except KeyboardInterrupt:
        return True
    finally:
        sys.settrace(before)
    return False


def at_every_line(how):
    """Ctrl-C before each line of Python that a training runs, after batches of another size."""
    states = states_after(10)
    at, hit = 0, True
    while hit:
        at += 1
        parts = training(dataset=Rows() if how == "data set" else None)
        model = parts[0]
        model(X[:2])
        model.predict(X[:2])

        def call(parts=parts, model=model):
            if how in ("fit", "data set"):
                fit(parts, 2)
            elif how == "loop":
                loop(parts, 1)
            else:
                model(X)
                model.predict(X)
                model(X[:1])

        hit = interrupted(call, at)
        assert bits(parts) in states, f"line {at}: parameters of no whole number of updates"
        assert_whole(parts)
    assert at > 100


def memory_runs_out():
    """A batch for which there is no memory leaves the model as it was, for a batch of the size before too."""
    for parts in training(), training(own=True):
        model = parts[0]
        expected = model(X).copy(), model.predict(X)
        room = lowering.aligned_zeros

        def full(size, dtype):
            raise MemoryError

        for call in model, model.predict, lambda rows, parts=parts: fit(parts, 1):
            lowering.aligned_zeros = full
            before = bits(parts)
            try:
                call(np.zeros((100_000, 3), np.float32))
            except MemoryError:
                assert bits(parts) == before
            else:
                assert call not in (model, model.predict)
            finally:
                lowering.aligned_zeros = room
            if bits(parts) == before:
                assert np.array_equal(model(X), expected[0])
                assert np.array_equal(model.predict(X), expected[1])
        assert_whole(parts)


@pytest.mark.parametrize("how", ["fit", "data set", "loop", "predict"])
def test_ctrl_c_at_every_line(how):
    """In a process of its own: what is left half done may end one."""
    alone(__name__, f"at_every_line({how!r})", FASTNP_QUIET="1")


def test_a_batch_too_large_for_memory():
    alone(__name__, "memory_runs_out()", FASTNP_QUIET="1")
