"""How parameters start."""

from typing import Any

import numpy as np

from .checks import check_generator


class Initializer:
    """Base class: called with a shape, an initializer returns an array of that shape.

    Any callable that takes a shape works in its place.
    """

    def __init__(self, shape: Any = None, name: str = "initializer"):
        self.shape = shape
        self.name = name

    def __call__(self, shape: Any) -> np.ndarray:
        raise NotImplementedError(f"{type(self).__name__} must define __call__(self, shape)")

    def __str__(self) -> str:
        return self.name


class Constant(Initializer):
    """Every parameter is `value`."""

    def __init__(self, value: float = 0.0, name: str = "constant initializer"):
        super().__init__(name=name)
        self.value = value

    def __call__(self, shape: Any) -> np.ndarray:
        return np.full(shape, self.value, dtype=np.float64)


class Normal(Initializer):
    """Parameters drawn from the normal distribution N(mean, std²).

    Args:
        mean, std: of the distribution; std is not negative.
        rng: a numpy.random.Generator; by default NumPy's global one, which `np.random.seed(n)` fixes.
    """

    def __init__(
        self,
        mean: float = 0.0,
        std: float = 0.01,
        name: str = "normal initializer",
        *,
        rng: np.random.Generator | None = None,
    ):
        super().__init__(name=name)
        if not std >= 0:
            raise ValueError(f"Normal: std must not be negative, got {std}")
        self.mean = mean
        self.std = std
        check_generator(type(self).__name__, rng)
        self.rng = rng

    def __call__(self, shape: Any) -> np.ndarray:
        return check_generator("Normal", self.rng).normal(self.mean, self.std, size=shape)


class HeNormal(Initializer):
    """Parameters drawn from N(0, 2 / in_features): keeps the variance through layers with ReLU.

    Source: K. He, X. Zhang, S. Ren, J. Sun, "Delving deep into rectifiers" (2015).

    Args:
        rng: a numpy.random.Generator; by default NumPy's global one.
    """

    def __init__(self, name: str = "He normal initializer", *, rng: np.random.Generator | None = None):
        super().__init__(name=name)
        check_generator(type(self).__name__, rng)
        self.rng = rng

    def __call__(self, shape: Any) -> np.ndarray:
        return check_generator("HeNormal", self.rng).normal(0.0, np.sqrt(2.0 / shape[0]), size=shape)
