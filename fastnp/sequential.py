"""Layers in a row."""

from typing import Any

import numpy as np

from .kernels import RELU
from .layers import Layer, Linear, ReLU
from .program import Op, Program
from .tensor import Tensor, gather


class Sequential(Layer):
    """Layers applied one after the other: each gets what the one before it returned.

    Args:
        layers: `Layer` objects, your own and other `Sequential`s included; each only once.

    `graphs` is the list of layers. The longest runs of built-in layers are compiled into programs: one
    kernel call runs all of them.

    Raises TypeError for what is no Layer, ValueError for a layer that is there already, for widths that
    do not fit and for a model without layers when it is run.
    """

    def __init__(self, *layers: Layer):
        super().__init__("sequential")
        self.graphs: list[Layer] = []
        self._lowered: list[Layer] | None = None
        for layer in layers:
            self._append(layer)
        self._gather()

    def add(self, layer: Layer) -> None:
        """Append a layer, also after training has started."""
        self._append(layer)
        self._gather()

    def _append(self, layer: Layer) -> None:
        if not isinstance(layer, Layer):
            raise TypeError(f"Sequential takes Layer objects, got {layer!r} of type {type(layer).__name__}")
        self._check_layers([*self.graphs, layer])
        self.graphs.append(layer)

    @staticmethod
    def _check_layers(layers: list[Layer]) -> None:
        """Refuse a layer that stands twice, and neighbours whose widths do not fit."""
        width, before = None, ""
        for i, layer in enumerate(layers):
            if any(layer is other for other in layers[:i]):
                raise ValueError(
                    f"the layer '{layer}' stands twice in this Sequential: a layer keeps the state of one place; "
                    "make a second one"
                )
            if isinstance(layer, Linear):
                if width is not None and type(layer) is Linear and layer.weights.shape[0] != width:
                    raise ValueError(
                        f"the layer '{layer}' takes {layer.weights.shape[0]} features, but '{before}' "
                        f"before it gives {width}"
                    )
                width, before = layer.weights.shape[1] if type(layer) is Linear else None, str(layer)
            elif type(layer) is not ReLU:
                width = None

    def _gather(self) -> None:
        """One arena for all Linear layers of a dtype: an optimizer's step is then one kernel call."""
        by_dtype: dict[np.dtype, list[Tensor]] = {}
        for layer in self.graphs:
            if isinstance(layer, Linear):
                by_dtype.setdefault(layer.weights.dtype, []).extend((layer.weights, layer.bias))
        for tensors in by_dtype.values():
            gather(tensors)

    def _lower(self) -> None:
        """Cut the layers into programs, as long as possible, and layers that run by themselves."""
        if not self.graphs:
            raise ValueError("this Sequential has no layers; give it some, or add(layer)")
        self._check_layers(self.graphs)
        self._gather()
        self._segments: list[Program | Layer] = []
        run: list[Layer] = []
        for layer in [*self.graphs, None]:
            if type(layer) is ReLU or (type(layer) is Linear and _dtype(run) in (None, layer.weights.dtype)):
                run.append(layer)
                continue
            self._close(run)
            run = []
            if type(layer) is Linear:
                run = [layer]
            elif layer is not None:
                self._segments.append(layer)
        self._lowered = list(self.graphs)

    def _close(self, run: list[Layer]) -> None:
        """Make a run of built-in layers a program; without a Linear it has no width, and stays as it is."""
        dtype = _dtype(run)
        if dtype is None:
            self._segments.extend(run)
            return
        width = next(layer.weights.shape[0] for layer in run if isinstance(layer, Linear))
        ops: list[Op] = []
        for layer in run:
            if isinstance(layer, Linear):
                ops.append(layer._op())
                width = layer.weights.shape[1]
            else:
                ops.append(Op(RELU, width, width))
        self._segments.append(Program(run, ops, dtype))

    def forward(self, x: Any) -> np.ndarray:
        if self.graphs != self._lowered:
            self._lower()
        for segment in self._segments:
            x = segment.forward(x)
        return x

    def backward(self, gradient: Any) -> np.ndarray:
        """Pass dloss/doutput back through all layers; returns dloss/dinput. Parameter gradients are added."""
        if self.graphs != self._lowered:
            raise ValueError("Sequential: backward before forward; call the model on an input first")
        for segment in reversed(self._segments):
            gradient = segment.backward(gradient)
        return gradient

    def parameters(self) -> list[Tensor]:
        return [tensor for layer in self.graphs for tensor in layer.parameters()]

    def __str__(self) -> str:
        return "\n".join(["Sequential:", *map(str, self.graphs)])

    def __getstate__(self) -> dict[str, Any]:
        return {key: value for key, value in vars(self).items() if key not in ("_run", "_segments")} | {
            "_lowered": None
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._gather()


def _dtype(run: list[Layer]) -> np.dtype | None:
    """The dtype of the first Linear in a run of layers."""
    return next((layer.weights.dtype for layer in run if isinstance(layer, Linear)), None)
