"""Numbers and generators that users give, checked, with errors in their words."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np

SMALLEST = 2.0**-126  # the smallest normal number of float32


def check_rate(owner: str, name: str, value: Any) -> float:
    """`value` as a float. Raises TypeError for no number, ValueError where it is negative or not finite."""
    if type(value) is float and 0 <= value < math.inf:  # as nearly always
        return value
    number = _number(owner, name, value)
    if not (math.isfinite(number) and number >= 0):
        raise ValueError(f"{owner}: {name} must be finite and not negative, got {value!r}")
    return number


def _number(owner: str, name: str, value: Any) -> float:
    try:
        if isinstance(value, (str, bytes)) or getattr(value, "shape", ()) != ():
            raise TypeError
        return float(value)
    except OverflowError:
        raise ValueError(f"{owner}: {name} must fit a double, got {shown(value)}") from None
    except (TypeError, ValueError):
        raise TypeError(f"{owner}: {name} must be a number, got {shown(value)}") from None


def check_integer(owner: str, name: str, value: Any, least: int) -> int:
    """`value` as an int. Raises TypeError for no integer, ValueError below `least`."""
    if not isinstance(value, (int, np.integer)) or isinstance(value, bool):
        raise TypeError(f"{owner}: {name} must be an integer, got {shown(value)}")
    if value < least:
        raise ValueError(f"{owner}: {name} must be at least {least}, got {value}")
    return int(value)


def check_real(owner: str, name: str, value: Any) -> float:
    """`value` as a float. Raises TypeError for no number, ValueError where it is not finite."""
    number = _number(owner, name, value)
    if not math.isfinite(number):
        raise ValueError(f"{owner}: {name} must be finite, got {value!r}")
    return number


def check_positive(owner: str, name: str, value: Any) -> float:
    """`value` as a float. Raises TypeError for no number, ValueError where it is not positive or not finite."""
    number = _number(owner, name, value)
    if not (math.isfinite(number) and number > 0):
        raise ValueError(f"{owner}: {name} must be finite and positive, got {value!r}")
    return number


def check_epsilon(owner: str, name: str, value: Any) -> float:
    """`value` as a float. Raises ValueError where it is 0 in float32, for then 0 would be divided by 0."""
    number = check_positive(owner, name, value)
    if number < SMALLEST:
        raise ValueError(f"{owner}: {name} must be at least {SMALLEST:.3g}, got {value!r}")
    return number


def check_positive_integer(owner: str, name: str, value: Any) -> int:
    """`value` as an int. Raises TypeError for no integer, ValueError below 1."""
    return check_integer(owner, name, value, 1)


def check_share(owner: str, name: str, value: Any) -> float:
    """`value` as a float. Raises TypeError for no number, ValueError where it is negative, or not below 1."""
    number = _number(owner, name, value)
    if not 0 <= number < 1:
        raise ValueError(f"{owner}: {name} must be at least 0 and below 1, got {value!r}")
    return number


def check_flag(owner: str, name: str, value: Any) -> bool:
    """`value` as a bool. Raises TypeError for anything else than True and False (or 1 and 0)."""
    if isinstance(value, (bool, np.bool_)) or (isinstance(value, (int, np.integer)) and value in (0, 1)):
        return bool(value)
    raise TypeError(f"{owner}: {name} must be True or False, got {shown(value)}")


def check_name(owner: str, name: str, value: Any) -> str:
    """`value`, a string. Raises TypeError for anything else."""
    if not isinstance(value, str):
        raise TypeError(f"{owner}: {name} must be a string, got {shown(value)}")
    return value


def check_list(owner: str, name: str, value: Any) -> list[Any]:
    """`value`, a list. Raises TypeError for anything else."""
    if not isinstance(value, list):
        raise TypeError(f"{owner}: {name} must be a list, got {shown(value)}")
    return value


def one_of(*choices: str) -> Callable[[str, str, Any], str]:
    """A check that a value is one of some strings. It raises ValueError for anything else."""
    *first, last = map(repr, choices)
    expected = f"{', '.join(first)} or {last}"

    def check(owner: str, name: str, value: Any) -> str:
        if not (isinstance(value, str) and value in choices):
            raise ValueError(f"{owner}: {name} must be {expected}, got {shown(value)}")
        return value

    return check


def check_generator(owner: str, name: str, rng: Any) -> Any:
    """`rng`, a numpy.random.Generator, or None for NumPy's global one. Raises TypeError for anything else."""
    if rng is not None and not isinstance(rng, np.random.Generator):
        raise TypeError(f"{owner}: {name} must be a numpy.random.Generator, got {shown(rng)}")
    return rng


def generator(rng: np.random.Generator | None) -> Any:
    """What to draw from: `rng`, or NumPy's global generator for None."""
    return np.random if rng is None else rng


def shown(value: Any) -> str:
    """A value as a message shows it: its repr, or only what it is where that is long."""
    try:
        text = repr(value)
    except Exception:  # a repr of the user's own, or a number of too many digits
        text = "\n"
    return text if len(text) <= 80 and "\n" not in text else f"an object of type {type(value).__name__}"
