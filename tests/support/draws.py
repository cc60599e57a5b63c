"""How the numbers of a call are drawn: functions of a generator and a shape."""

from typing import Any

import numpy as np


def normal(rng: np.random.Generator, shape: Any) -> np.ndarray:
    return rng.standard_normal(shape)


def exact(rng: np.random.Generator, shape: Any) -> np.ndarray:
    """Integers within ±7: sums of their products have the same bits in any order."""
    return rng.integers(-7, 8, shape).astype(np.float64)
