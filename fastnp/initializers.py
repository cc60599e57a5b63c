"""How parameters start."""

from typing import Any, ClassVar

import numpy as np

from .checks import check_generator, check_name, check_rate, check_real, generator
from .overrides import Checks, Watched


class Initializer(Watched):
    """Base class: called with a shape, an initializer returns an array of that shape.

    Any callable that takes a shape works in its place.
    """

    _checks: ClassVar[Checks] = {"name": check_name}
    name = "initializer"

    def __init__(self, shape: Any = None, name: str = "initializer"):
        self.shape = shape
        self.name = name

    def __call__(self, shape: Any) -> np.ndarray:
        raise NotImplementedError(f"{type(self).__name__} must define __call__(self, shape)")

    def __str__(self) -> str:
        return self.name

    def __repr__(self) -> str:
        settings = {name: getattr(self, name, None) for name in self._rules}
        numbers = [f"{name}={value:g}" for name, value in settings.items() if isinstance(value, float)]
        return f"{type(self).__name__}({', '.join(numbers)})"


class Constant(Initializer):
    """Every parameter is `value`, a finite number."""

    _checks: ClassVar[Checks] = {"value": check_real}

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

    _checks: ClassVar[Checks] = {"mean": check_real, "std": check_rate, "rng": check_generator}

    def __init__(
        self,
        mean: float = 0.0,
        std: float = 0.01,
        name: str = "normal initializer",
        *,
        rng: np.random.Generator | None = None,
    ):
        super().__init__(name=name)
        self.mean = mean
        self.std = std
        self.rng = rng

    def __call__(self, shape: Any) -> np.ndarray:
        return generator(self.rng).normal(self.mean, self.std, size=shape)


class HeNormal(Initializer):
    """Parameters drawn from N(0, 2 / in_features): keeps the variance through layers with ReLU.

    Source: K. He, X. Zhang, S. Ren, J. Sun, "Delving deep into rectifiers" (2015).

    Args:
        rng: a numpy.random.Generator; by default NumPy's global one.
    """

    _checks: ClassVar[Checks] = {"rng": check_generator}

    def __init__(self, name: str = "He normal initializer", *, rng: np.random.Generator | None = None):
        super().__init__(name=name)
        self.rng = rng

    def __call__(self, shape: Any) -> np.ndarray:
        return generator(self.rng).normal(0.0, np.sqrt(2.0 / shape[0]), size=shape)
