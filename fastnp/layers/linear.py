"""The fully connected layer."""

from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np

from .. import prediction
from ..checks import check_integer, check_name, shown
from ..initializers import Constant, Normal
from ..overrides import Checks, stands_apart
from ..prediction import is_predicting
from ..program.op import Kind, Op
from ..program.program import Program
from ..state import State
from ..tensor import Tensor
from .weighted import Weighted


def _check_linear_name(owner: str, name: str, value: Any) -> str:
    if callable(value):
        raise TypeError(
            f"{owner}: {name} must be a string, got {shown(value)}; give an initializer as weight_attr= or bias_attr="
        )
    return check_name(owner, name, value)


class Linear(Weighted):
    """y = x·W + b.

    Args:
        in_features, out_features: the widths of x (batch, in_features) and y (batch, out_features).
        weight_attr, bias_attr: called with a shape, each returns the first values of W (in_features,
            out_features) and b (1, out_features); weights are drawn before the bias.
        dtype: numpy.float32 (default) or numpy.float64, of parameters and computation.

    Inputs of any real dtype and layout are converted. `backward(gradient)` adds xᵀ·gradient to
    `weights.grad` and the sum of gradient over the batch to `bias.grad`, and returns gradient·Wᵀ.
    `input` is a copy of the last input.

    Raises ValueError for widths below 1, an input of another width or number of dimensions, backward
    before forward or with another shape than the last output's; TypeError for another dtype.
    """

    _checks: ClassVar[Checks] = {"name": _check_linear_name}
    _kernel_kind = Kind("linear.linear", variants=("linear.column",), weights=True, needs_input=True, rectifies=True)
    _arguments = "in_features, out_features"

    def __init__(
        self,
        in_features: int,
        out_features: int,
        name: str = "linear",
        weight_attr: Callable[[Any], Any] = Normal(),
        bias_attr: Callable[[Any], Any] = Constant(),
        dtype: Any = np.float32,
    ):
        super().__init__(name)
        n_in = check_integer("Linear", "in_features", in_features, 1)
        n_out = check_integer("Linear", "out_features", out_features, 1)
        for argument, attr in ("weight_attr", weight_attr), ("bias_attr", bias_attr):
            if not callable(attr):
                raise TypeError(
                    f"Linear: {argument} must be an Initializer or a callable of a shape, got {shown(attr)}"
                )
        weights, bias = Tensor((n_in, n_out), dtype), Tensor((1, n_out), dtype)
        bias._without_decay()
        self._weights, self._bias = weights, bias
        weights._begin(weight_attr(weights.shape))
        bias._begin(bias_attr(bias.shape))

    @State
    def input(self) -> np.ndarray:
        return self._last_input()

    def _op(self, n_in: int) -> Op:
        self._check_dtypes()
        n_in, n_out = self._widths()
        of, words = (self._kernel_kind, self._part(), str(self.name)), f"Linear(in_features={n_in})"
        return Op(*of, n_in, n_out, self._state_ref(), self._tensors(), words=words)

    def _widths(self) -> tuple[int, int]:
        n_in, n_out = self._weights.shape
        return n_in, n_out

    def _part(self) -> str:
        return self._kernel_kind.variants[0] if self._weights.shape[1] == 1 else self._kernel_kind.name

    def _what(self) -> tuple[Any, ...]:
        return self.weights.dtype, self._part()

    def _program(self) -> Program:
        """The program of this layer alone."""
        if self._alone is None or self._alone.dtype != self.weights.dtype:
            self._alone = Program([self._op(self.weights.shape[0])], self.weights.dtype)
        return self._alone

    def forward(self, x: Any) -> np.ndarray:
        if prediction.running and is_predicting(self, x):
            return self._program().predict(x)
        return self._program().forward(x)

    def predict(self, x: Any) -> np.ndarray:
        if stands_apart(self, Linear, "predict", "forward", "__call__"):
            return self._predict_by_call(x)
        return self._program().predict(x)

    def backward(self, gradient: Any) -> np.ndarray:
        if prediction.running:
            self._make_state(Linear.forward)
        program, row = self._last_run()
        return program.backward_row(gradient, row)

    def __str__(self) -> str:
        return f"linear layer, weight shape: {self.weights.shape}, bias shape: {self.bias.shape}"

    def __repr__(self) -> str:
        if not hasattr(self, "_weights"):  # half made
            return super().__repr__()
        name = "" if self.name == "linear" else f", name={self.name!r}"
        dtype = "" if self.weights.dtype == np.float32 else f", dtype={self.weights.dtype}"
        n_in, n_out = self.weights.shape
        return f"{type(self).__name__}({n_in}, {n_out}{name}{dtype})"
