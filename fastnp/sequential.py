"""Layers in a row."""

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from .arrays import real_array
from .checks import check_integer
from .kernels import RELU
from .layers import Layer, Linear, ReLU
from .lowering import Op
from .program import Program
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
        if any(inner is self for inner in _nested([layer])):
            raise ValueError("a Sequential cannot contain itself")
        self._check_layers([*self.graphs, layer])
        self.graphs.append(layer)

    @staticmethod
    def _check_layers(layers: list[Layer]) -> None:
        """Refuse a layer that stands twice, and neighbours whose widths do not fit."""
        width, before = None, ""
        seen: set[int] = set()
        for layer in _nested(layers):
            if id(layer) in seen:
                raise ValueError(
                    f"the layer '{layer}' stands twice in this Sequential: a layer keeps the state of one place; "
                    "make a second one"
                )
            seen.add(id(layer))
        for layer in layers:
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
        segments: list[Program | Layer] = []
        run: list[Layer] = []
        for layer in [*self.graphs, None]:
            dtype = _dtype(run)  # never compared with None: to NumPy, None means float64
            if type(layer) is ReLU or (type(layer) is Linear and (dtype is None or dtype == layer.weights.dtype)):
                run.append(layer)
                continue
            segments.extend(_program(run))
            run = []
            if type(layer) is Linear:
                run = [layer]
            elif layer is not None:
                segments.append(layer)
        self._segments = segments
        self._lowered = list(self.graphs)

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

    def predict(self, X: Any, batch_size: int = 256) -> np.ndarray:
        """The output for any number of rows, computed batch_size rows at a time.

        Keeps no activations: a `backward` to come is not disturbed, and several threads may predict with
        one model. Layers of your own run their `predict`, by default `forward`. A row's result does not
        depend on the other rows (backend "numba").

        Raises ValueError for a batch_size below 1 and, as `forward`, for what is no (rows, in_features).
        """
        check_integer("predict", "batch_size", batch_size, 1)
        X = real_array(X, "X")
        if self.graphs != self._lowered:
            self._lower()
        outputs = []
        for start in range(0, max(len(X), 1) if X.ndim else 1, batch_size):
            x = X[start : start + batch_size] if X.ndim else X
            for segment in self._segments:
                x = segment.predict(x)
            outputs.append(x)
        return outputs[0] if len(outputs) == 1 else np.concatenate(outputs)

    def whole_program(self) -> Program | None:
        """The program that runs all layers, or None where it takes more than one."""
        if self.graphs != self._lowered:
            self._lower()
        (first, *more) = self._segments
        if more or not isinstance(first, Program):
            return None
        first.follow_tensors()
        return first

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


def _nested(layers: Iterable[Layer]) -> Iterator[Layer]:
    """Layers, and those inside of Sequentials among them."""
    for layer in layers:
        yield layer
        if isinstance(layer, Sequential):
            yield from _nested(layer.graphs)


def _program(run: list[Layer]) -> list[Program | Layer]:
    """A run of built-in layers as one program; without a Linear it has no width, and stays as it is."""
    dtype = _dtype(run)
    if dtype is None:
        return list(run)
    width = next(layer.weights.shape[0] for layer in run if isinstance(layer, Linear))
    ops: list[Op] = []
    for layer in run:
        if isinstance(layer, Linear):
            ops.append(layer.op())
            width = layer.weights.shape[1]
        else:
            ops.append(Op(RELU, width, width))
    return [Program(run, ops, dtype)]


def _dtype(run: list[Layer]) -> np.dtype | None:
    """The dtype of the first Linear in a run of layers."""
    return next((layer.weights.dtype for layer in run if isinstance(layer, Linear)), None)
