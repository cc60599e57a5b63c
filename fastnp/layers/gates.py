"""Activations that let through a share of their input: SiLU and GELU."""

from typing import Any, ClassVar

import numpy as np

from ..checks import check_flag
from ..overrides import Checks
from ..program.op import Kind
from .activation import Activation
from .formulas import gated, gated_slope, normal_tail, tanh_form

__all__ = ["GELU", "SiLU"]


class SiLU(Activation):
    """y = x / (1 + e⁻ˣ), for x of any shape: −0 for −0 and for −∞, NaN for NaN.

    The gradient is multiplied by s·(1 + x·(1 − s)), where s = 1 / (1 + e⁻ˣ); `activated` is a copy of the last output.
    Values are within 3.5 ulp of the exact ones. Computes in float64 where x is float64 or the layers around it in a
    `Sequential` are, else in float32. Raises ValueError for backward before forward or with another shape than the last
    output's. Source: S. Elfwing, E. Uchibe, K. Doya, "Sigmoid-weighted linear units for neural network function
    approximation in reinforcement learning" (2018).
    """

    _kernel_kind = Kind("activations.silu", in_place=True, needs_input=True, keeps_output=True)
    _ulps = 3.5
    _slope_ulps = 1.4
    _steepest = 1.1  # type: ignore[assignment]

    def __init__(self, name: str = "silu"):
        super().__init__(name)

    def _exact_value(self, x: Any) -> Any:
        return gated(x, x)

    def _exact_slope(self, x: Any, y: Any) -> Any:
        return gated_slope(x, x, 1)


class GELU(Activation):
    """y = x·Φ(x), Φ the normal distribution function, for x of any shape: −0 for −0 and for −∞, NaN for NaN.

    Args:
        approximate: whether to take ½·x·(1 + tanh(√(2/π)·(x + 0.044715·x³))) instead; it may be changed at any time.

    The gradient is multiplied by Φ(x) + x·φ(x), φ the normal density, or by the slope of the other form; `activated` is
    a copy of the last output. Values are within 1.5·eps·max(1, |y|) of the exact ones; x·Φ(x) for |x| < 4 is within
    4 ulp, float64 on a CPU without fused multiply-adds within 8. Computes in float64 where x is float64 or the layers
    around it in a `Sequential` are, else in float32. Raises TypeError where approximate is not True or False;
    ValueError for backward before forward or with another shape than the last output's. Source: D. Hendrycks,
    K. Gimpel, "Gaussian error linear units (GELUs)" (2016).
    """

    _kernel_kind = Kind(
        "activations.gelu", variants=("activations.gelu_tanh",), in_place=True, needs_input=True, keeps_output=True
    )
    _checks: ClassVar[Checks] = {"approximate": check_flag}
    _counted = frozenset({"approximate"})
    _ulps = 1.5
    _floor = 1.0
    _slope_ulps = 1.5
    _steepest = 1.13  # type: ignore[assignment]

    approximate = False

    def __init__(self, approximate: bool = False, name: str = "gelu"):
        super().__init__(name)
        self.approximate = approximate

    def _part(self) -> str:
        return self._kernel_kind.variants[0] if self.approximate else self._kernel_kind.name

    def _shown_settings(self) -> list[str]:
        return ["approximate=True"] if self.approximate else []

    def _exact_value(self, x: Any) -> Any:
        if self.approximate:
            return gated(x, tanh_form(x)[0])
        size, tail, _ = normal_tail(x)
        return np.where(x < 0, -0.0, x) - size * tail

    def _exact_slope(self, x: Any, y: Any) -> Any:
        if self.approximate:
            return gated_slope(x, *tanh_form(x))
        size, tail, density = normal_tail(x)
        left = tail - size * density
        return np.where(x < 0, left, 1 - left)
