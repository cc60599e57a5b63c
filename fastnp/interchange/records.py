"""What a run tells, a `History`, and when it stops, an `EarlyStopping`: as attributes, for their room is above."""

from collections.abc import Callable
from typing import Any

import numpy as np

from ..checks import shown
from .container import Container
from .plain import Tensors, noted, read

NUMBERS = "loss", "validation_loss", "learning_rate"
SETTINGS = "monitor", "patience", "min_delta", "restore_best"


def _check(owner: str, name: str, value: Any, attributes: tuple[str, ...]) -> None:
    if not all(hasattr(value, attribute) for attribute in attributes):
        raise TypeError(f"{name} must be {owner}, got {shown(value)}")


def noted_history(history: Any, tensors: Tensors) -> dict[str, Any]:
    """The numbers of a history."""
    _check("a History", "save: history", history, NUMBERS)
    numbers = {name: np.array(getattr(history, name), np.float64) for name in NUMBERS}
    notes = {name: noted(array, tensors, f"history.{name}") for name, array in numbers.items()}
    return notes | {"best_epoch": history.best_epoch}


def into_history(container: Container, notes: Any, history: Any) -> Any:
    """What fills a history with numbers that were read; without one, these, by name."""
    if not isinstance(notes, dict) or set(notes) != {*NUMBERS, "best_epoch"}:
        raise container.fault(f"its notes on the history cannot be read: {shown(notes)}")
    found: dict[str, Any] = {"best_epoch": notes["best_epoch"]}
    if found["best_epoch"] is not None and (type(found["best_epoch"]) is not int or found["best_epoch"] < 0):
        raise container.fault(f"the best epoch is {shown(found['best_epoch'])}")
    for name in NUMBERS:
        array = read(container, notes[name])
        if not isinstance(array, np.ndarray) or array.ndim != 1 or array.dtype != np.float64:
            raise container.fault(f"the history has something else than numbers as {name}")
        found[name] = array.tolist()
    if history is None:
        return found
    _check("a History", "load: history", history, NUMBERS)
    return _setting(history, found)


def noted_settings(early_stopping: Any) -> dict[str, Any]:
    """The settings of early stopping."""
    _check("an EarlyStopping", "save: early_stopping", early_stopping, SETTINGS)
    return {name: getattr(early_stopping, name) for name in SETTINGS}


def into_settings(container: Container, notes: Any, early_stopping: Any) -> Callable[[], None]:
    """What fills an `EarlyStopping` with settings that were read."""
    _check("an EarlyStopping", "load: early_stopping", early_stopping, SETTINGS)
    if not isinstance(notes, dict) or set(notes) != set(SETTINGS):
        raise container.fault(f"its notes on early stopping cannot be read: {shown(notes)}")
    try:
        type(early_stopping)(**notes)
    except (TypeError, ValueError) as error:
        raise container.fault(str(error)) from error
    return _setting(early_stopping, notes)


def _setting(thing: Any, values: dict[str, Any]) -> Callable[[], None]:
    def fill() -> None:
        for name, value in values.items():
            setattr(thing, name, value)

    return fill
