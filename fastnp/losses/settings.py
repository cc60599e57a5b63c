"""Settings of losses, checked when they are assigned: a number, or one for each output of the model."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..arrays import real_array
from ..checks import check_rate, check_real, shown

MANY = 64  # numbers, for which an array takes less time than a tuple


def share(owner: str, name: str, value: Any) -> float:
    """`value` as a float. Raises TypeError for no number, ValueError where it is not from 0 to 1."""
    number = check_real(owner, name, value)
    if not 0 <= number <= 1:
        raise ValueError(f"{owner}: {name} must be from 0 to 1, got {shown(value)}")
    return number


def clipped(owner: str, name: str, value: Any) -> float | None:
    """None, or `value` as a float. Raises TypeError for no number, ValueError where it is not between 0 and 0.5."""
    if value is None:
        return None
    number = check_real(owner, name, value)
    if not 0 < number < 0.5:
        raise ValueError(f"{owner}: {name} must be None or between 0 and 0.5, got {shown(value)}")
    return number


def most_of(clip: float | None) -> float:
    """−log of a probability as small as clip: infinite where that is None."""
    return math.inf if clip is None else -math.log(clip)


def quantile(owner: str, name: str, value: Any) -> float:
    """`value` as a float. Raises TypeError for no number, ValueError where it is not between 0 and 1."""
    number = check_real(owner, name, value)
    if not 0 < number < 1:
        raise ValueError(f"{owner}: {name} must be between 0 and 1, got {shown(value)}")
    return number


def one_or_each(check: Callable[[str, str, Any], float]) -> Callable[[str, str, Any], float | tuple[float, ...]]:
    """A check of a number, which `check` does, or of one for each output: a tuple of floats."""

    def checked(owner: str, name: str, value: Any) -> float | tuple[float, ...]:
        if _is_one(value):
            return check(owner, name, value)
        return _each(check, owner, name, value)

    return checked


def weights(owner: str, name: str, value: Any) -> tuple[float, ...] | None:
    """None, or a number for each class as a tuple of floats. Raises TypeError or ValueError as `check_rate` does."""
    if value is None:
        return None
    if _is_one(value):
        raise TypeError(f"{owner}: {name} must be None or a number for each class, got {shown(value)}")
    return _each(check_rate, owner, name, value)


def or_none(check: Callable[[str, str, Any], Any]) -> Callable[[str, str, Any], Any]:
    """A check that lets None pass."""
    return lambda owner, name, value: None if value is None else check(owner, name, value)


def _is_one(value: Any) -> bool:
    return not isinstance(value, (list, tuple)) and not getattr(value, "ndim", 0)


def _each(check: Callable[[str, str, Any], float], owner: str, name: str, value: Any) -> tuple[float, ...]:
    array = real_array(value, f"{owner}: {name}")
    if array.ndim != 1 or not array.size:
        raise ValueError(f"{owner}: {name} must be a number or a list of them, got shape {array.shape}")
    return tuple(check(owner, f"{name}[{i}]", number) for i, number in enumerate(array.tolist()))


def for_each(owner: str, name: str, value: float | Sequence[float], n: int, of: str = "outputs") -> Sequence[float]:
    """n numbers: one value n times, or as many as were given. Raises ValueError where these are not n."""
    if not isinstance(value, tuple):
        return np.broadcast_to(float(value), n) if n > MANY else (float(value),) * n  # type: ignore
    if len(value) != n:
        raise ValueError(f"{owner}: {name} has {len(value)} numbers, but the predictions have {n} {of}")
    return value
