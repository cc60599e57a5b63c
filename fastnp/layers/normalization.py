"""Normalization: what a layer behind gets is of one size, whatever the layers before make."""

from typing import Any, ClassVar

import numpy as np

from ..checks import check_integer, check_positive
from ..overrides import Checks
from ..program.op import Kind, Op
from ..program.program import Program
from ..state import State
from ..tensor import Tensor
from .rowwise import RowWise
from .weighted import Weighted


class LayerNorm(Weighted, RowWise):
    """y = (x − mean) / √(var + epsilon) · weights + bias, mean and variance those of each row along the last axis.

    Args:
        features: the width of x (…, features).
        epsilon: positive; it may be changed at any time.
        dtype: numpy.float32 (default) or numpy.float64, of parameters and computation.

    `weights` and `bias` (1, features) are ones and zeros at first. var = Σ (x − mean)² / features. Inputs of any real
    dtype and layout are converted. `backward` adds to `weights.grad` and `bias.grad`. `input` is a copy of the last
    input. Sums are those of doubles, and nothing is lost where a row lies far from 0.

    Raises ValueError for features below 1, an input of another width, backward before forward or with another shape
    than the last output's; TypeError or ValueError for another epsilon; TypeError for another dtype.
    Source: J. L. Ba, J. R. Kiros, G. E. Hinton, "Layer normalization" (2016).
    """

    _checks: ClassVar[Checks] = {"epsilon": check_positive}
    _counted = frozenset({"epsilon"})
    _kernel_kind = Kind("normalization.layer_norm", weights=True, needs_input=True, memory=3)
    _arguments = "features"

    epsilon = 1e-5

    def __init__(self, features: int, epsilon: float = 1e-5, name: str = "layer_norm", dtype: Any = np.float32):
        super().__init__(name)
        n = check_integer("LayerNorm", "features", features, 1)
        self.epsilon = epsilon
        self._weights, self._bias = Tensor((1, n), dtype), Tensor((1, n), dtype)
        self._weights._begin(np.ones((1, n)))
        for tensor in self._tensors():
            tensor._without_decay()

    @State
    def input(self) -> np.ndarray:
        x = self._last_input()
        return x.reshape(self._shape) if self._last_run()[0] is self._alone else x

    def _op(self, n_in: int) -> Op:
        self._check_dtypes()
        n = self.weights.shape[1]
        of = self._kernel_kind, self._part(), str(self.name)
        return Op(*of, n, n, self._state_ref(), self._tensors(), self.epsilon, words=self._words())

    def _words(self) -> str:
        return f"LayerNorm(features={self.weights.shape[1]})"

    def _widths(self) -> tuple[int, int]:
        return self.weights.shape[1], self.weights.shape[1]

    def _what(self) -> tuple[Any, ...]:
        return self.weights.dtype, self._part(), self.epsilon

    def _program(self, rows: np.ndarray) -> Program:
        if rows.shape[1] != self.weights.shape[1]:
            raise ValueError(f"{self._words()} got an input with {rows.shape[1]} features")
        return super()._program(rows)

    def __str__(self) -> str:
        return f"layer normalization, weight shape: {self.weights.shape}, bias shape: {self.bias.shape}"

    def __repr__(self) -> str:
        if not hasattr(self, "_weights"):  # half made
            return super().__repr__()
        epsilon = "" if self.epsilon == 1e-5 else f", epsilon={self.epsilon:g}"
        name = "" if self.name == "layer_norm" else f", name={self.name!r}"
        dtype = "" if self.weights.dtype == np.float32 else f", dtype={self.weights.dtype}"
        return f"{type(self).__name__}({self.weights.shape[1]}{epsilon}{name}{dtype})"
