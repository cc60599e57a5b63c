"""Activations: the same function of every number."""

from typing import Any

import numpy as np

from ..arrays import real_array, working_dtype
from ..kernels import RELU
from ..overrides import put, stands_apart
from ..program.lowering import Op
from ..program.program import Program
from ..state import State
from . import prediction
from .layer import Layer
from .prediction import is_predicting


class ReLU(Layer):
    """y = max(x, 0), for x of any shape: +0 for −0, NaN for NaN.

    The gradient passes where `activated` (a copy of the last output) is positive. Computes in float64
    where x is float64 or the layers around it in a `Sequential` are, else in float32. Raises ValueError
    for backward before forward or with another shape than the last output's.
    """

    _alone: Program | None = None
    _shape: tuple[int, ...] = ()

    def __init__(self, name: str = "relu"):
        super().__init__(name)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({'' if self.name == 'relu' else repr(self.name)})"

    @State
    def activated(self) -> np.ndarray:
        program, row = self._last_run()
        activated = program.output_of(row)
        return activated.reshape(self._shape) if program is self._alone else activated

    def _program(self, rows: np.ndarray) -> Program:
        """A program of this layer alone, for rows of this width and dtype."""
        n, dtype = rows.shape[1], working_dtype(rows)
        if self._alone is not None and self._alone.n_in == n and self._alone.dtype == dtype:
            return self._alone
        return Program([self], [Op(RELU, n, n)], dtype)

    def forward(self, x: Any) -> np.ndarray:
        x = real_array(x, f"the input of {self.name}")
        rows = _as_rows(x)
        program = self._program(rows)
        if prediction.running and is_predicting(self, x):
            return program.predict(rows).reshape(x.shape)
        put(self, _alone=program, _shape=x.shape)
        return program.forward(rows).reshape(x.shape)

    def predict(self, x: Any) -> np.ndarray:
        if stands_apart(self, ReLU, "predict", "forward", "__call__"):
            return self._predict_by_call(x)
        x = real_array(x, f"the input of {self.name}")
        rows = _as_rows(x)
        return self._program(rows).predict(rows).reshape(x.shape)

    def backward(self, gradient: Any) -> np.ndarray:
        if prediction.running:
            self._make_state(ReLU.forward)
        program, row = self._last_run()
        if program is not self._alone:
            return program.backward_layer(gradient, row)
        gradient = real_array(gradient, f"the gradient given to {self.name}")
        if gradient.shape != self._shape:
            raise ValueError(f"{self.name} got a gradient of shape {gradient.shape}; its last output had {self._shape}")
        return program.backward_layer(_as_rows(gradient), row).reshape(self._shape)


def _as_rows(x: np.ndarray) -> np.ndarray:
    """An array of any shape as one of rows along its last axis."""
    n = x.shape[-1] if x.ndim else 1
    return x.reshape(-1, n) if n else x.reshape(0, 0)
