"""Layers: y = f(x), and how a gradient passes back through them."""

from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np

from . import prediction
from .arrays import real_array, working_dtype
from .checks import check_integer, check_name, shown
from .initializers import Constant, Normal
from .kernels import LINEAR, RELU
from .lowering import Op
from .overrides import Checks, Watched, put, stands_apart
from .prediction import interrupted, is_predicting, predicting
from .program import Program
from .state import State
from .tensor import Tensor, gather


class Layer(Watched):
    """Base class. A layer of your own defines `forward`, `backward` and, where it has any, `parameters`."""

    _checks: ClassVar[Checks] = {"name": check_name}
    name = "layer"

    # The program that ran this layer last, and its row there: None before the first forward.
    _run: tuple[Program, int] | None = None

    def __init__(self, name: str = "layer"):
        self.name = name

    def forward(self, x: Any) -> np.ndarray:
        """The output for the input x."""
        raise NotImplementedError(f"{type(self).__name__} must define forward(self, x)")

    def backward(self, gradient: Any) -> np.ndarray:
        """Add to the parameters' gradients; return the gradient with respect to the input."""
        raise NotImplementedError(f"{type(self).__name__} must define backward(self, gradient)")

    def predict(self, x: Any) -> np.ndarray:
        """The output for x, where nobody will ask for `backward`."""
        return self(x)

    def _predict_by_call(self, x: Any) -> np.ndarray:
        with predicting(self):
            return self(x)

    def _make_state(self, forward: Callable[[Any, Any], Any]) -> None:
        """Where this object predicts by its own `forward`, which now goes backward, run the library's for good."""
        with interrupted(self) as last:
            if last is not None:
                forward(self, *last)

    def parameters(self) -> list[Tensor]:
        """The tensors that an optimizer should train."""
        return []

    def __call__(self, x: Any) -> np.ndarray:
        return self.forward(x)

    def __str__(self) -> str:
        return self.name

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r})"

    def _last_run(self) -> tuple[Program, int]:
        if self._run is None:
            raise ValueError(f"{self.name}: backward before forward; call the layer, or its model, on an input first")
        return self._run

    def __getstate__(self) -> dict[str, Any]:
        return {key: value for key, value in vars(self).items() if key not in ("_run", "_alone")}


def _check_linear_name(owner: str, name: str, value: Any) -> str:
    if callable(value):
        raise TypeError(
            f"{owner}: {name} must be a string, got {shown(value)}; give an initializer as weight_attr= or bias_attr="
        )
    return check_name(owner, name, value)


class Linear(Layer):
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
    _alone: Program | None = None

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
        self._weights = Tensor((n_in, n_out), dtype)
        self._bias = Tensor((1, n_out), dtype)
        gather(self.parameters())
        self.weights.data = weight_attr(self.weights.shape)
        self.bias.data = bias_attr(self.bias.shape)

    @property
    def weights(self) -> Tensor:
        try:
            return self._weights
        except AttributeError:
            raise self._without_parameters() from None

    @weights.setter
    def weights(self, value: Any) -> None:
        raise AttributeError(f"{type(self).__name__}.weights cannot be assigned; assign to weights.data")

    @property
    def bias(self) -> Tensor:
        try:
            return self._bias
        except AttributeError:
            raise self._without_parameters() from None

    @bias.setter
    def bias(self, value: Any) -> None:
        raise AttributeError(f"{type(self).__name__}.bias cannot be assigned; assign to bias.data")

    def _without_parameters(self) -> AttributeError:
        return AttributeError(
            f"{type(self).__name__} has no parameters: its __init__ must call super().__init__(in_features, "
            "out_features)"
        )

    @State
    def input(self) -> np.ndarray:
        program, row = self._last_run()
        return program.input_of(row)

    def op(self) -> Op:
        """The layer as an operation of a program."""
        n_in, n_out = self.weights.shape
        if self.weights.dtype != self.bias.dtype:
            raise ValueError(
                f"{self.name}: weights are {self.weights.dtype}, bias {self.bias.dtype}; convert both to one dtype"
            )
        return Op(LINEAR, n_in, n_out, self.weights, self.bias)

    def _program(self) -> Program:
        """The program of this layer alone."""
        if self._alone is None or self._alone.dtype != self.weights.dtype:
            self._alone = Program([self], [self.op()], self.weights.dtype)
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
        return program.backward_layer(gradient, row)

    def parameters(self) -> list[Tensor]:
        return [self.weights, self.bias]

    def __str__(self) -> str:
        return f"linear layer, weight shape: {self.weights.shape}, bias shape: {self.bias.shape}"

    def __repr__(self) -> str:
        if not hasattr(self, "_weights"):  # half made
            return super().__repr__()
        name = "" if self.name == "linear" else f", name={self.name!r}"
        dtype = "" if self.weights.dtype == np.float32 else f", dtype={self.weights.dtype}"
        n_in, n_out = self.weights.shape
        return f"{type(self).__name__}({n_in}, {n_out}{name}{dtype})"


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
