"""What the layers share that take arrays of any shape, in rows along the last axis."""

from typing import Any

import numpy as np

from .. import prediction
from ..arrays import real_array, working_dtype
from ..overrides import put, stands_apart
from ..prediction import is_predicting
from ..program.program import Program
from .built_in import BuiltIn


class RowWise(BuiltIn):
    """A layer whose output has the shape of its input, whatever that is: each row along the last axis by itself."""

    _alone_for: tuple[Any, ...] = ()  # what its own program was made for
    _shape: tuple[int, ...] = ()  # of the last output, where the layer ran by itself

    def _program(self, rows: np.ndarray) -> Program:
        """A program of this layer alone, for rows of this width and dtype."""
        what = rows.shape[1], self._what()[0] or working_dtype(rows), *self._what()
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
        if stands_apart(self, RowWise, "predict", "forward", "__call__"):
            return self._predict_by_call(x)
        x = real_array(x, f"the input of {self.name}")
        rows = _as_rows(x)
        return self._program(rows).predict(rows).reshape(x.shape)

    def backward(self, gradient: Any) -> np.ndarray:
        if prediction.running:
            self._make_state(RowWise.forward)
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
