"""Numbers and generators that users give, checked, with errors in their words."""

import math
from typing import Any

import numpy as np


def check_rate(owner: str, name: str, value: Any) -> float:
    """`value` as a float. Raises TypeError for no number, ValueError where it is negative or not finite."""
    try:
        if isinstance(value, (str, bytes)):
            raise TypeError
        number = float(value)
    except (TypeError, ValueError):
        raise TypeError(f"{owner}: {name} must be a number, got {value!r}") from None
    if not (math.isfinite(number) and number >= 0):
        raise ValueError(f"{owner}: {name} must be finite and not negative, got {value!r}")
    return number


def check_integer(owner: str, name: str, value: Any, least: int) -> int:
    """`value` as an int. Raises TypeError for no integer, ValueError below `least`."""
    if not isinstance(value, (int, np.integer)) or isinstance(value, bool):
        raise TypeError(f"{owner}: {name} must be an integer, got {value!r}")
    if value < least:
        raise ValueError(f"{owner}: {name} must be at least {least}, got {value}")
    return int(value)


def check_generator(owner: str, rng: Any) -> Any:
    """A generator to draw from: `rng`, or NumPy's global one for None. Raises TypeError for anything else."""
    if rng is None:
        return np.random
    if not isinstance(rng, np.random.Generator):
        raise TypeError(f"{owner}: rng must be a numpy.random.Generator, got {rng!r}")
    return rng
