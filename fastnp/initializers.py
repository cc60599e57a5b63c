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


class Uniform(Initializer):
    """Parameters drawn from the uniform distribution on [low, high).

    Args:
        low, high: finite, low ≤ high; where they are equal, every parameter is that number.
        rng: a numpy.random.Generator; by default NumPy's global one.
    """

    _checks: ClassVar[Checks] = {"low": check_real, "high": check_real, "rng": check_generator}

    def __init__(
        self,
        low: float = -0.01,
        high: float = 0.01,
        name: str = "uniform initializer",
        *,
        rng: np.random.Generator | None = None,
    ):
        super().__init__(name=name)
        self.low = low
        self.high = high
        self.rng = rng
        self._check_order()

    def _check_order(self) -> None:
        if not 0 <= self.high - self.low < np.inf:
            raise ValueError(
                f"{type(self).__name__}: low must not be above high, nor infinitely far below it, "
                f"got low={self.low!r}, high={self.high!r}"
            )

    def __call__(self, shape: Any) -> np.ndarray:
        self._check_order()  # each may have been changed since
        return generator(self.rng).uniform(self.low, self.high, size=shape)


class XavierUniform(Initializer):
    """Parameters drawn from the uniform distribution on [−a, a), a = √(6 / (in_features + out_features)).

    Their variance, 2 / (in_features + out_features), keeps that of activations on the way forward and of gradients on
    the way back, through layers whose activation is about the identity around 0, as tanh is.
    Source: X. Glorot, Y. Bengio, "Understanding the difficulty of training deep feedforward neural networks" (2010).

    Args:
        rng: a numpy.random.Generator; by default NumPy's global one.
    """

    _checks: ClassVar[Checks] = {"rng": check_generator}

    def __init__(self, name: str = "Xavier uniform initializer", *, rng: np.random.Generator | None = None):
        super().__init__(name=name)
        self.rng = rng

    def __call__(self, shape: Any) -> np.ndarray:
        limit = np.sqrt(6.0 / (shape[0] + shape[1]))
        return generator(self.rng).uniform(-limit, limit, size=shape)


class XavierNormal(Initializer):
    """Parameters drawn from N(0, 2 / (in_features + out_features)), a variance that `XavierUniform` explains.

    Source: X. Glorot, Y. Bengio, "Understanding the difficulty of training deep feedforward neural networks" (2010).

    Args:
        rng: a numpy.random.Generator; by default NumPy's global one.
    """

    _checks: ClassVar[Checks] = {"rng": check_generator}

    def __init__(self, name: str = "Xavier normal initializer", *, rng: np.random.Generator | None = None):
        super().__init__(name=name)
        self.rng = rng

    def __call__(self, shape: Any) -> np.ndarray:
        return generator(self.rng).normal(0.0, np.sqrt(2.0 / (shape[0] + shape[1])), size=shape)


class HeUniform(Initializer):
    """Parameters drawn from the uniform distribution on [−a, a), a = √(6 / in_features): of the variance of `HeNormal`.

    Source: K. He, X. Zhang, S. Ren, J. Sun, "Delving deep into rectifiers" (2015).

    Args:
        rng: a numpy.random.Generator; by default NumPy's global one.
    """

    _checks: ClassVar[Checks] = {"rng": check_generator}

    def __init__(self, name: str = "He uniform initializer", *, rng: np.random.Generator | None = None):
        super().__init__(name=name)
        self.rng = rng

    def __call__(self, shape: Any) -> np.ndarray:
        limit = np.sqrt(6.0 / shape[0])
        return generator(self.rng).uniform(-limit, limit, size=shape)


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
