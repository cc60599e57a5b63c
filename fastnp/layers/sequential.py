"""Layers in a row."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import overrides, prediction
from ..arrays import real_array
from ..checks import check_integer
from ..optimizers.newcomers import now
from ..overrides import TrackedList, is_own, is_plain, put, stands_apart
from ..prediction import is_predicting
from ..program.program import Program
from ..tensor import Tensor
from .in_a_row import InARow, tensors_of
from .layer import Layer
from .nesting import check_layer, check_once, nested, pieces
from .runs import Run, check_widths, last_known

_array = np.ndarray
SHOWN_LAYERS = 12  # in a repr


class Sequential(InARow):
    """Layers applied one after the other: each gets what the one before it returned.

    Args:
        layers: `Layer` objects, your own and other `Sequential`s included; each only once.

    `graphs` is the list of layers, a copy of what is assigned to it. The longest runs of built-in layers are
    compiled into programs: one kernel call runs all of them.

    Raises TypeError for what is no Layer, ValueError for a layer that is there already, for widths that
    do not fit and for a model without layers when it is run.
    """

    def __init__(self, *layers: Layer):
        super().__init__("sequential")
        for layer in layers:
            check_layer(type(self).__name__, layer)
        self.graphs = list(layers)
        check_widths(pieces(layers))
        born = now()
        put(self, _born=born, _joined={id(layer): now() for layer in layers}, _newcomers=bool(layers))
        self._gather(self.graphs)

    def add(self, layer: Layer) -> None:
        """Append a layer, also after training has started."""
        self._append(layer)
        dtypes = [tensor.dtype for piece in pieces([layer]) for tensor in tensors_of(piece)]
        if dtypes:
            there = (piece for graph in self.graphs for piece in pieces([graph]))
            first = next(piece for piece in there if any(tensor.dtype == dtypes[0] for tensor in tensors_of(piece)))
            self._gather([first, layer], growing=True)

    def _append(self, layer: Layer) -> None:
        check_layer(type(self).__name__, layer)
        if any(inner is self for inner in nested([layer])):
            raise ValueError("a Sequential cannot contain itself")
        check_once([*self.graphs, layer])
        check_widths(pieces([*last_known(self.graphs), layer]))
        if not isinstance(self.graphs, list):
            self.graphs = TrackedList()
        self.graphs.append(layer)
        self._welcome(layer)

    def _is_called_plainly(self) -> bool:
        return is_own(self, Sequential, "forward", "__call__")

    def _layers_run(self) -> list[Layer]:
        return pieces(self.graphs) if is_plain(self, Sequential) else [self]

    def __call__(self, x: Any) -> np.ndarray:
        if self._straight_as_of == overrides.changes and not prediction.running:
            output: np.ndarray = self._straight.forward(x)
            return output
        return self.forward(x)

    def forward(self, x: Any) -> np.ndarray:
        if prediction.running and is_predicting(self, x):
            return self._predict_rows(x)
        if self._as_of != overrides.changes and not self._is_lowered():
            self._lower()
        for step in self._steps:
            x = step(x)
        return x

    def backward(self, gradient: Any) -> np.ndarray:
        """Pass dloss/doutput back through all layers; returns dloss/dinput. Parameter gradients are added."""
        straight = self._straight_as_of == overrides.changes and not prediction.running and not self._newcomers
        if straight and self._straight.holds_state:
            dx: np.ndarray = self._straight.backward(gradient)
            return dx
        if prediction.running:
            self._make_state(Sequential.forward)
        steps: Sequence[Run | Layer] = self._segments
        if self._as_of != overrides.changes and not self._is_lowered():
            if not self._may_go_by_layer():
                raise ValueError(f"{type(self).__name__}: backward before forward; call the model on an input first")
            steps = self.graphs  # a layer that got another `backward` since is asked by itself, and so are all
        if self._newcomers:
            self.warn_of_newcomers()
        for segment in reversed(steps):
            gradient = segment.backward(gradient)
        return gradient

    def _may_go_by_layer(self) -> bool:
        """Whether the layers are those of the last forward, which may have been that of a model around this one."""
        return self._within if self._lowered is None else self._has_these_layers()

    def predict(self, X: Any, batch_size: int = 256) -> np.ndarray:
        """The output for any number of rows, computed batch_size rows at a time.

        Keeps no activations: a `backward` to come is not disturbed, and several threads may predict with
        one model; so also where a subclass has a `forward` of its own, unless that keeps something itself or
        goes backward. Layers of your own run their `predict`, by default `forward`. A row's result does not
        depend on the other rows (backend "numba").

        Raises ValueError for a batch_size below 1 and, as `forward`, for what is no (rows, in_features).
        """
        if (
            self._straight_as_of == overrides.changes
            and type(X) is _array
            and X.ndim == 2
            and type(batch_size) is int
            and len(X) <= batch_size > 0
        ):
            outputs: np.ndarray = self._straight.predict_rows(X)
            return outputs
        check_integer("predict", "batch_size", batch_size, 1)
        X = real_array(X, "X")
        plain = type(self) is Sequential and not self._replaced
        by_call = not plain and stands_apart(self, Sequential, "predict", "forward", "__call__")
        predict = self._predict_by_call if by_call else self._predict_rows
        if not X.ndim or len(X) <= batch_size:
            return predict(X)
        return np.concatenate([predict(X[start : start + batch_size]) for start in range(0, len(X), batch_size)])

    def _predict_rows(self, x: Any) -> np.ndarray:
        if self._as_of != overrides.changes and not self._is_lowered():
            self._lower()
        for segment in self._segments:
            x = segment.predict(x)
        return x

    def whole_program(self) -> Program | None:
        """The program that runs all layers, or None where it takes more than one."""
        if self._as_of != overrides.changes and not self._is_lowered():
            self._lower()
        (first, *more) = self._segments
        if more or not isinstance(first, Run):
            return None
        first.program.follow_tensors()
        return first.program

    def parameters(self) -> list[Tensor]:
        return [tensor for layer in self.graphs for tensor in layer.parameters()]

    def __str__(self) -> str:
        return "\n".join(["Sequential:", *map(str, self.graphs)])

    def __repr__(self) -> str:
        left = max(len(self.graphs) - SHOWN_LAYERS, 0)
        lines = [repr(layer) for layer in self.graphs[: SHOWN_LAYERS // 2 if left else None]]
        if left:
            lines += [f"… {left} more", *map(repr, self.graphs[-SHOWN_LAYERS // 2 :])]
        inside = "\n".join(lines).replace("\n", "\n  ")
        return f"{type(self).__name__}(\n  {inside}\n)" if lines else f"{type(self).__name__}()"
