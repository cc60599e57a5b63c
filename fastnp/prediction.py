"""Predictions by a `forward` of the user's own, which shall disturb no backward to come and no other thread.

Such a `forward` calls the library's, through `super()`. While its model predicts, that one leaves the model's
state alone, as `predict` does.
"""

import contextlib
import threading
from collections.abc import Iterator
from typing import Any

running = 0  # predictions of this kind, in any thread: where there are none, nobody need ask further
_lock = threading.Lock()
_here = threading.local()


def _models() -> dict[int, Any]:
    if not hasattr(_here, "models"):
        _here.models = {}
    return _here.models


def _count(step: int) -> None:
    global running
    with _lock:
        running += step


@contextlib.contextmanager
def predicting(model: Any) -> Iterator[None]:
    """For the time in which `model` predicts in this thread."""
    models = _models()
    if id(model) in models:
        yield
        return
    _count(1)
    try:  # what Ctrl-C leaves behind before this line is a count too high, which only costs a question
        models[id(model)] = None
        yield
    finally:
        models.pop(id(model), None)
        _count(-1)


def anybody_predicts() -> bool:
    """Whether this thread predicts, with whatever model: what only training does is left out then."""
    return running > 0 and bool(_models())


def is_predicting(model: Any, x: Any) -> bool:
    """Whether this model predicts in this thread; then x is what its library part was given last."""
    models = _models()
    if id(model) not in models:
        return False
    models[id(model)] = (x,)
    return True


@contextlib.contextmanager
def interrupted(model: Any) -> Iterator[tuple[Any] | None]:
    """The input (x,) of a model that predicts in this thread, which for this block does so no longer; else None.

    A `forward` that asks for the gradient with respect to its input, say, needs a state to go back from.
    """
    models = _models()
    last = models.get(id(model))
    if last is not None:
        del models[id(model)]
    try:
        yield last
    finally:
        if last is not None:
            models[id(model)] = last
