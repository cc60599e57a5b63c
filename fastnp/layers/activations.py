"""Activations: the same function of every number."""

from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np

from ..arrays import real_array, working_dtype
from ..checks import check_rate
from ..overrides import Checks, put, stands_apart
from ..program.op import Kind, Op
from ..program.program import Program
from ..state import State
from . import prediction
from .built_in import BuiltIn
from .prediction import is_predicting

__all__ = ["LeakyReLU", "ReLU", "Tanh"]


class Activation(BuiltIn):
    """Base class of the library's activations: each declares its kind, and what `cross_check` holds it to.

    `_exact_value(x)` and `_exact_slope(x, y)` are the function and its derivative in NumPy, in any precision; the slope
    goes by the function's value y or, where the kind says that it needs its input, by x, which is None elsewhere.
    Kernels come within `_ulps` of the one, and `_slope_ulps` · max(1, |slope|) of the other; no slope is steeper than
    `_steepest`.
    """

    _exact_value: ClassVar[Callable[..., Any]]
    _exact_slope: ClassVar[Callable[..., Any]]
    _ulps = 0.0
    _slope_ulps = 0.0
    _keeps_zeros = True  # −0 stays −0

    _alone_for: tuple[Any, ...] = ()
    _shape: tuple[int, ...] = ()  # of the last output, where the layer ran by itself

    def __init__(self, name: str):
        super().__init__(name)

    def _kernel_settings(self) -> dict[str, float]:
        """The numbers of this function, at most one, by the name of their attribute."""
        return {}

    def __repr__(self) -> str:
        given = [f"{name}={value:g}" for name, value in self._kernel_settings().items()]
        if self.name != self._kernel_kind.name.split(".")[1]:
            given.append(f"name={self.name!r}" if given else repr(self.name))
        return f"{type(self).__name__}({', '.join(given)})"

    @property
    def _steepest(self) -> float:
        return 1.0

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

    def _program(self, rows: np.ndarray) -> Program:
        """A program of this layer alone, for rows of this width and dtype."""
        what = rows.shape[1], working_dtype(rows), *self._what()
        if self._alone is not None and self._alone_for == what:
            return self._alone
        return Program([self._op(what[0])], what[1])

    def forward(self, x: Any) -> np.ndarray:
        x = real_array(x, f"the input of {self.name}")
        rows = _as_rows(x)
        program = self._program(rows)
        if prediction.running and is_predicting(self, x):
            return program.predict(rows).reshape(x.shape)
        if program is not self._alone:
            put(self, _alone_for=(program.n_in, program.dtype, *self._what()))
        put(self, _alone=program, _shape=x.shape)
        return program.forward(rows).reshape(x.shape)

    def predict(self, x: Any) -> np.ndarray:
        if stands_apart(self, Activation, "predict", "forward", "__call__"):
            return self._predict_by_call(x)
        x = real_array(x, f"the input of {self.name}")
        rows = _as_rows(x)
        return self._program(rows).predict(rows).reshape(x.shape)

    def backward(self, gradient: Any) -> np.ndarray:
        if prediction.running:
            self._make_state(Activation.forward)
        program, row = self._last_run()
        if program is not self._alone:
            return program.backward_row(gradient, row)
        gradient = real_array(gradient, f"the gradient given to {self.name}")
        if gradient.shape != self._shape:
            raise ValueError(f"{self.name} got a gradient of shape {gradient.shape}; its last output had {self._shape}")
        return program.backward_row(_as_rows(gradient), row).reshape(self._shape)


def _as_rows(x: np.ndarray) -> np.ndarray:
    """An array of any shape as one of rows along its last axis."""
    n = x.shape[-1] if x.ndim else 1
    return x.reshape(-1, n) if n else x.reshape(0, 0)


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


class Tanh(Activation):
    """y = tanh x, the hyperbolic tangent, for x of any shape: −0 for −0, NaN for NaN.

    The gradient is multiplied by 1 − y², where y is `activated`, a copy of the last output. Values are within 3 ulp of
    the exact ones. Computes in float64 where x is float64 or the layers around it in a `Sequential` are, else in
    float32. Raises ValueError for backward before forward or with another shape than the last output's.
    """

    _kernel_kind = Kind("activations.tanh", in_place=True, keeps_output=True)
    _ulps = 3.0
    _slope_ulps = 2.5

    def __init__(self, name: str = "tanh"):
        super().__init__(name)

    def _exact_value(self, x: Any) -> Any:
        return np.tanh(x)

    def _exact_slope(self, x: Any, y: Any) -> Any:
        return 1 - y * y


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
