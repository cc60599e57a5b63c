"""Layers: y = f(x), and how a gradient passes back through them."""

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import numpy as np

from ..checks import check_flag, check_name
from ..overrides import Checks, Watched
from ..prediction import interrupted, predicting
from ..tensor import Tensor


class Layer(Watched):
    """Base class. A layer of your own defines `forward`, `backward` and, where it has any, `parameters`.

    `training` is what `train` and `eval` set last, True at first. A layer that does otherwise in training, as dropout
    does, defines `predict`, too: what it does after `eval`.
    """

    _checks: ClassVar[Checks] = {"name": check_name, "training": check_flag}
    name = "layer"
    training = True

    def __init__(self, name: str = "layer"):
        self.name = name

    def forward(self, x: Any) -> np.ndarray:
        """The output for the input x."""
        raise NotImplementedError(f"{type(self).__name__} must define forward(self, x)")

    def backward(self, gradient: Any) -> np.ndarray:
        """Add to the parameters' gradients; return the gradient with respect to the input."""
        raise NotImplementedError(f"{type(self).__name__} must define backward(self, gradient)")

    def predict(self, x: Any) -> np.ndarray:
        """The output for x, where nobody will ask for `backward`; dropout in it leaves out nothing."""
        return self._predict_by_call(x)

    def train(self, mode: bool = True) -> "Layer":
        """Let this layer, and those in it, compute as in training from now on, or as in prediction; returns it.

        Those in it are what a `Sequential` runs, and the layers, or lists of layers, among a layer's attributes.
        """
        self.training = mode
        for layer in self._layers_held():
            layer.train(mode)
        return self

    def _layers_held(self) -> list["Layer"]:
        inside = list(self._layers_inside() or ())
        if type(self).__module__ == Layer.__module__:  # the library's own have no others; see `put` on vars()
            return inside
        values = [value if isinstance(value, (list, tuple)) else (value,) for value in vars(self).values()]
        return inside + [layer for value in values for layer in value if isinstance(layer, Layer)]

    def eval(self) -> "Layer":
        """`train(False)`"""
        return self.train(False)

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

    def _layers_inside(self) -> Sequence["Layer"] | None:
        """The layers in it, or None where it has none."""
        return None

    def _layers_run(self) -> list["Layer"]:
        """What runs where this layer stands: itself, or the layers in it."""
        return [self]

    def __getstate__(self) -> dict[str, Any]:
        return {key: value for key, value in vars(self).items() if key not in _OF_THIS_PROCESS}


_OF_THIS_PROCESS = ("_forward_state", "_alone", "_alone_for")
