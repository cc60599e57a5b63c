"""What the library's activations share."""

from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np

from ..program.op import Op
from ..state import State
from .rowwise import RowWise


class Activation(RowWise):
    """Base class of the library's activations: each declares its kind, and what `cross_check` holds it to.

    `_exact_value(x)` and `_exact_slope(x, y)` are the function and its derivative in NumPy, in any precision; the slope
    goes by the function's value y or, where the kind says that it needs its input, by x, which is None elsewhere.
    Kernels come within `_ulps` · eps · max(`_floor`, |value|) of the one, and `_slope_ulps` · eps · max(1, |slope|) of
    the other; no slope is steeper than `_steepest`.
    """

    _exact_value: ClassVar[Callable[..., Any]]
    _exact_slope: ClassVar[Callable[..., Any]]
    _ulps: float = 0.0
    _floor = 0.0
    _slope_ulps: float = 0.0
    _keeps_zeros = True  # −0 stays −0

    def __init__(self, name: str):
        super().__init__(name)

    def _kernel_settings(self) -> dict[str, float]:
        """The numbers of this function, at most one, by the name of their attribute."""
        return {}

    def _shown_settings(self) -> list[str]:
        return [f"{name}={value:g}" for name, value in self._kernel_settings().items()]

    def __repr__(self) -> str:
        given = self._shown_settings()
        if self.name != self._kernel_kind.name.split(".")[1]:
            given.append(f"name={self.name!r}" if given else repr(self.name))
        return f"{type(self).__name__}({', '.join(given)})"

    @property
    def _steepest(self) -> float:
        return 1.0

    def _exact_gradient(self, dy: Any, x: Any, y: Any) -> Any:
        """The gradient with respect to the input; 0 where the slope is, even where dy is not finite."""
        slope = 1.0 * self._exact_slope(x, y)
        return np.where(slope == 0, 0, dy * slope)

    def _gradient_size(self, dy: Any, x: Any, y: Any) -> Any:
        """What a gradient's error is so many `_slope_ulps` of."""
        return np.maximum(1, abs(1.0 * self._exact_slope(x, y))) * abs(dy)

    def _passed_on(self, bound: Any) -> Any:
        """How far the value may move where each number of the input moves by that much."""
        return self._steepest * bound

    def _what(self) -> tuple[Any, ...]:
        return None, self._part(), sum(self._kernel_settings().values())

    def _op(self, n_in: int) -> Op:
        _, part, setting = self._what()
        return Op(self._kernel_kind, part, str(self.name), n_in, n_in, self._state_ref(), (), setting)

    @State
    def activated(self) -> np.ndarray:
        program, row = self._last_run()
        activated = program.output_of(row)
        return activated.reshape(self._shape) if program is self._alone else activated
