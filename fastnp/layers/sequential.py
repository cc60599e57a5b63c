"""Layers in a row."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, ClassVar

import numpy as np

from .. import overrides, prediction
from ..arena import gather
from ..arrays import real_array
from ..checks import check_integer
from ..optimizers.newcomers import now, warn_of_newcomers
from ..overrides import Checks, TrackedList, is_plain, put, seen, stands_apart
from ..prediction import is_predicting
from ..program.program import Program
from ..tensor import Tensor
from .built_in import BuiltIn
from .layer import Layer
from .nesting import check_layer, check_layers, check_once, nested, pieces
from .runs import Run, check_widths, cut, last_known, what

SHOWN_LAYERS = 12  # in a repr


class Sequential(Layer):
    """Layers applied one after the other: each gets what the one before it returned.

    Args:
        layers: `Layer` objects, your own and other `Sequential`s included; each only once.

    `graphs` is the list of layers, a copy of what is assigned to it. The longest runs of built-in layers are
    compiled into programs: one kernel call runs all of them.

    Raises TypeError for what is no Layer, ValueError for a layer that is there already, for widths that
    do not fit and for a model without layers when it is run.
    """

    _checks: ClassVar[Checks] = {"graphs": check_layers}

    graphs: Sequence[Layer] = ()  # where a subclass has an `__init__` that does not call this one's

    # What a pickle does not hold: what the layers were lowered to, and when.
    _segments: Sequence[Run | Layer] = ()
    _steps: Sequence[Callable[[Any], Any]] = ()
    _lowered: list[Layer] | None = None
    _whats: Sequence[Any] = ()
    _as_of = -1
    _within = False  # a model around this one runs its layers
    _newcomers = False
    _born = 0
    _joined: Mapping[int, int] = MappingProxyType({})  # when each layer came, by its id

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
        dtypes = [tensor.dtype for piece in pieces([layer]) for tensor in _tensors(piece)]
        if dtypes:
            there = (piece for graph in self.graphs for piece in pieces([graph]))
            first = next(piece for piece in there if any(tensor.dtype == dtypes[0] for tensor in _tensors(piece)))
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

    def _welcome(self, layer: Layer) -> None:
        put(self, _joined={**self._joined, id(layer): now()}, _newcomers=True)

    @staticmethod
    def _gather(layers: Iterable[Layer], growing: bool = False) -> None:
        """One arena for all parameters of a dtype that kernels know: an optimizer's step is then one kernel call."""
        by_dtype: dict[np.dtype, list[Tensor]] = {}
        for piece in pieces(layers):
            for tensor in _tensors(piece):
                by_dtype.setdefault(tensor.dtype, []).append(tensor)
        for together in by_dtype.values():
            gather(together, growing)

    def _lower(self) -> None:
        """Cut the layers into runs, as long as possible, and layers that run by themselves."""
        as_of, graphs = overrides.changes, check_layers(type(self).__name__, "graphs", self.graphs)
        if not all(model.graphs for model in self._nests()):
            raise ValueError("this Sequential has no layers; give it some, or add(layer)")
        lowered = pieces(graphs)
        check_widths(lowered)
        self._gather(self.graphs)
        for layer in graphs:
            if id(layer) not in self._joined:  # it was put into the list
                self._welcome(layer)
        whats, segments = list(map(what, lowered)), cut(lowered)
        for model in self._nests()[1:]:
            put(model, _within=True)
        put(self, _lowered=None)  # until all of it is there, for Ctrl-C may come in between
        put(
            self,
            _segments=segments,
            _steps=[segment.forward if isinstance(segment, Run) else segment for segment in segments],
            _whats=whats,
            _lowered=lowered,
            _newcomers=any(model._newcomers for model in self._nests()),
            _as_of=self._seen(as_of),
        )

    def _is_lowered(self) -> bool:
        """Whether the segments are still those of the layers that are here, each what it was then."""
        as_of = overrides.changes
        lowered = self._has_these_layers() and list(map(what, self._lowered or ())) == self._whats
        if lowered:
            put(self, _as_of=self._seen(as_of))
        return lowered

    def _has_these_layers(self) -> bool:
        # Not by ==: layers that are data classes, say, may be equal and not the same.
        lowered = self._lowered
        return lowered is not None and list(map(id, pieces(self.graphs))) == list(map(id, lowered))

    def _seen(self, as_of: int) -> int:
        """What to compare `changes` with; never equal where nobody counts the changes of one of the lists of layers."""
        return min([seen(model.graphs, as_of) for model in self._nests()])

    def _nests(self) -> list["Sequential"]:
        """This model and those inside of it."""
        return [self, *(layer for layer in nested(self.graphs) if isinstance(layer, Sequential))]

    def _layers_inside(self) -> Sequence[Layer]:
        return self.graphs

    def _layers_run(self) -> list[Layer]:
        return pieces(self.graphs) if is_plain(self, Sequential) else [self]

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

    def warn_of_newcomers(self) -> None:
        """Warn, once, of layers that joined after the optimizer was made and that no optimizer holds."""
        if self._newcomers:
            put(self, _newcomers=False)
            warn_of_newcomers(self.graphs, self._joined, self._born)
        for model in self._nests()[1:]:
            if model._newcomers:
                model.warn_of_newcomers()

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

    def __getstate__(self) -> dict[str, Any]:
        return {key: value for key, value in vars(self).items() if key not in _OF_THIS_PROCESS}

    def __setstate__(self, state: dict[str, Any]) -> None:
        put(self, **state, _joined={id(layer): 0 for layer in state.get("graphs", ())})
        self._gather(self.graphs)


_OF_LOWERING = ("_segments", "_steps", "_lowered", "_whats", "_as_of")
_OF_THIS_PROCESS = ("_within", "_joined", "_born", "_newcomers", *_OF_LOWERING)


def _tensors(layer: Layer) -> Iterable[Tensor]:
    return layer._tensors() if isinstance(layer, BuiltIn) else ()
