"""Activations that pass what is positive: ReLU and what is made of it."""

from typing import Any, ClassVar

import numpy as np

from ..checks import check_positive, check_rate
from ..overrides import Checks
from ..program.op import Kind
from .activation import Activation

__all__ = ["ELU", "LeakyReLU", "ReLU"]


class ReLU(Activation):
    """y = max(x, 0), for x of any shape: +0 for −0, NaN for NaN.

    The gradient passes where `activated` (a copy of the last output) is positive. Computes in float64
    where x is float64 or the layers around it in a `Sequential` are, else in float32. Raises ValueError
    for backward before forward or with another shape than the last output's.
    """

    _kernel_kind = Kind("activations.relu", in_place=True, keeps_output=True, rectifier=True)
    _keeps_zeros = False

    def __init__(self, name: str = "relu"):
        super().__init__(name)

    def _exact_value(self, x: Any) -> Any:
        return np.maximum(x, 0)

    def _exact_slope(self, x: Any, y: Any) -> Any:
        return y > 0


class LeakyReLU(Activation):
    """y = x where x > 0, else negative_slope·x, for x of any shape: −0 for −0, NaN for NaN.

    Args:
        negative_slope: a number, not negative; it may be changed at any time.

    The gradient passes where `activated`, a copy of the last output, is positive, and is multiplied by negative_slope
    elsewhere. Computes in float64 where x is float64 or the layers around it in a `Sequential` are, else in float32.
    Raises TypeError or ValueError for another slope; ValueError for backward before forward or with another shape
    than the last output's. Source: A. L. Maas, A. Y. Hannun, A. Y. Ng, "Rectifier nonlinearities improve neural
    network acoustic models" (2013).
    """

    _kernel_kind = Kind("activations.leaky_relu", in_place=True, keeps_output=True)
    _checks: ClassVar[Checks] = {"negative_slope": check_rate}
    _counted = frozenset({"negative_slope"})
    _ulps = 1.5  # of which one is that of the slope
    _slope_ulps = 1.0

    negative_slope = 0.01

    def __init__(self, negative_slope: float = 0.01, name: str = "leaky_relu"):
        super().__init__(name)
        self.negative_slope = negative_slope

    def _kernel_settings(self) -> dict[str, float]:
        return {"negative_slope": self.negative_slope}

    @property
    def _steepest(self) -> float:
        return max(1.0, self.negative_slope)

    def _exact_value(self, x: Any) -> Any:
        return np.where(x > 0, x, self.negative_slope * x)

    def _exact_slope(self, x: Any, y: Any) -> Any:
        return np.where(y > 0, 1, self.negative_slope)


class ELU(Activation):
    """y = x where x > 0, else alpha·(eˣ − 1), for x of any shape: −0 for −0, −alpha for −∞, NaN for NaN.

    Args:
        alpha: a positive number; it may be changed at any time.

    The gradient passes where `activated`, a copy of the last output y, is positive, and is multiplied by y + alpha
    elsewhere. Values are within 2 ulp of the exact ones, for alpha as the dtype has it. Computes in float64 where x is
    float64 or the layers around it in a `Sequential` are, else in float32. Raises TypeError or ValueError for another
    alpha; ValueError for backward before forward or with another shape than the last output's. Source: D.-A. Clevert,
    T. Unterthiner, S. Hochreiter, "Fast and accurate deep network learning by exponential linear units (ELUs)" (2016).
    """

    _kernel_kind = Kind("activations.elu", in_place=True, keeps_output=True)
    _checks: ClassVar[Checks] = {"alpha": check_positive}
    _counted = frozenset({"alpha"})
    _ulps = 3.0  # of which one is that of alpha

    alpha = 1.0

    def __init__(self, alpha: float = 1.0, name: str = "elu"):
        super().__init__(name)
        self.alpha = alpha

    def _kernel_settings(self) -> dict[str, float]:
        return {"alpha": self.alpha}

    @property
    def _slope_ulps(self) -> float:  # type: ignore[override]
        return 1.0 + self.alpha / 2  # where the slope is near 0, the rounding of alpha is that of what it comes from

    @property
    def _steepest(self) -> float:
        return max(1.0, self.alpha)

    def _exact_value(self, x: Any) -> Any:
        return np.where(x > 0, x, self.alpha * np.expm1(np.where(x > 0, 0, x)))

    def _exact_slope(self, x: Any, y: Any) -> Any:
        return np.where(y > 0, 1, y + self.alpha)
