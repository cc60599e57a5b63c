"""Layers in a row."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, ClassVar

import numpy as np

from .. import overrides
from ..arrays import real_array
from ..checks import check_integer, shown
from ..kernels import RELU
from ..optimizers.newcomers import now, warn_of_newcomers
from ..overrides import Checks, TrackedList, is_plain, put, seen, stands_apart
from ..program.lowering import Op
from ..program.program import Program
from ..tensor import Tensor, gather
from . import prediction
from .activations import ReLU
from .layer import Layer
from .linear import Linear
from .prediction import is_predicting

SHOWN_LAYERS = 12  # in a repr
ANY = "any dtype"


def _check_graphs(owner: str, name: str, value: Any) -> TrackedList:
    if not isinstance(value, (list, tuple)):
        raise TypeError(f"{owner}: {name} must be a list of layers, got {shown(value)}")
    for layer in value:
        _check_layer(owner, layer)
    _check_once(value)
    return TrackedList(value)


class Sequential(Layer):
    """Layers applied one after the other: each gets what the one before it returned.

    Args:
        layers: `Layer` objects, your own and other `Sequential`s included; each only once.

    `graphs` is the list of layers, a copy of what is assigned to it. The longest runs of built-in layers are
    compiled into programs: one kernel call runs all of them.

    Raises TypeError for what is no Layer, ValueError for a layer that is there already, for widths that
    do not fit and for a model without layers when it is run.
    """

    _checks: ClassVar[Checks] = {"graphs": _check_graphs}

    graphs: Sequence[Layer] = ()  # where a subclass has an `__init__` that does not call this one's

    # What a pickle does not hold: what the layers were lowered to, and when.
    _segments: Sequence[Program | Layer] = ()
    _steps: Sequence[Callable[[Any], Any]] = ()
    _lowered: list[Layer] | None = None
    _kinds: Sequence[Any] = ()
    _as_of = -1
    _newcomers = False
    _born = 0
    _joined: Mapping[int, int] = MappingProxyType({})  # when each layer came, by its id

    def __init__(self, *layers: Layer):
        super().__init__("sequential")
        self.graphs = []
        self._born = now()
        for layer in layers:
            self._append(layer)
        self._gather(self.graphs)

    def add(self, layer: Layer) -> None:
        """Append a layer, also after training has started."""
        self._append(layer)
        if isinstance(layer, Linear):
            dtype = layer.weights.dtype
            same = (other for other in self.graphs if isinstance(other, Linear) and other.weights.dtype == dtype)
            self._gather([next(same), layer], growing=True)

    def _append(self, layer: Layer) -> None:
        _check_layer(type(self).__name__, layer)
        if any(inner is self for inner in _nested([layer])):
            raise ValueError("a Sequential cannot contain itself")
        _check_once([*self.graphs, layer])
        _check_widths([*_tail(self.graphs), layer])
        if not isinstance(self.graphs, list):
            self.graphs = TrackedList()
        self.graphs.append(layer)
        self._welcome(layer)

    def _welcome(self, layer: Layer) -> None:
        put(self, _joined={**self._joined, id(layer): now()}, _newcomers=True)

    @staticmethod
    def _gather(layers: Iterable[Layer], growing: bool = False) -> None:
        """One arena for all Linear layers of a dtype: an optimizer's step is then one kernel call."""
        by_dtype: dict[np.dtype, list[Tensor]] = {}
        for layer in layers:
            if isinstance(layer, Linear):
                by_dtype.setdefault(layer.weights.dtype, []).extend((layer.weights, layer.bias))
        for tensors in by_dtype.values():
            gather(tensors, growing)

    def _lower(self) -> None:
        """Cut the layers into programs, as long as possible, and layers that run by themselves."""
        if not self.graphs:
            raise ValueError("this Sequential has no layers; give it some, or add(layer)")
        as_of, graphs = overrides.changes, _check_graphs(type(self).__name__, "graphs", self.graphs)
        _check_widths(graphs)
        self._gather(graphs)
        for layer in graphs:
            if id(layer) not in self._joined:  # it was put into the list
                self._welcome(layer)
        kinds = list(map(_kind, graphs))
        segments: list[Program | Layer] = []
        run: list[Layer] = []
        dtype = ANY
        for layer, kind in zip(graphs, kinds, strict=True):
            if kind is None or ANY != kind != dtype != ANY:
                segments.extend(_program(run))
                run, dtype = [], ANY
            if kind is None:
                segments.append(layer)
                continue
            run.append(layer)
            dtype = dtype if kind == ANY else kind
        segments.extend(_program(run))
        put(self, _lowered=None)  # until all of it is there, for Ctrl-C may come in between
        put(
            self,
            _segments=segments,
            _steps=[segment.forward if isinstance(segment, Program) else segment for segment in segments],
            _kinds=kinds,
            _lowered=graphs,
            _as_of=seen(self.graphs, as_of),
        )

    def _is_lowered(self) -> bool:
        """Whether the segments are still those of the layers that are here, each what it was then."""
        as_of = overrides.changes
        lowered = self._has_these_layers() and self._has_these_kinds()
        if lowered:
            put(self, _as_of=seen(self.graphs, as_of))
        return lowered

    def _has_these_layers(self) -> bool:
        # Not by ==: layers that are data classes, say, may be equal and not the same.
        lowered = self._lowered
        return lowered is not None and list(map(id, self.graphs)) == list(map(id, lowered))

    def _has_these_kinds(self) -> bool:
        return list(map(_kind, self._lowered or ())) == self._kinds

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
        steps: Sequence[Program | Layer] = self._segments
        if self._as_of != overrides.changes and not self._is_lowered():
            if not self._has_these_layers():
                raise ValueError(f"{type(self).__name__}: backward before forward; call the model on an input first")
            steps = self.graphs  # a layer that got another `backward` since is asked by itself, and so are all
        if self._newcomers:
            self.warn_of_newcomers()
        for segment in reversed(steps):
            gradient = segment.backward(gradient)
        return gradient

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

    def whole_program(self) -> Program | None:
        """The program that runs all layers, or None where it takes more than one."""
        if self._as_of != overrides.changes and not self._is_lowered():
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


_OF_LOWERING = ("_segments", "_steps", "_lowered", "_kinds", "_as_of")
_OF_THIS_PROCESS = ("_run", "_joined", "_born", "_newcomers", *_OF_LOWERING)


def _check_layer(owner: str, layer: Any) -> None:
    if not isinstance(layer, Layer):
        raise TypeError(f"{owner} takes Layer objects, got {shown(layer)} of type {type(layer).__name__}")


def _check_once(layers: Iterable[Layer]) -> None:
    """Refuse a layer that stands twice."""
    seen: set[int] = set()
    for layer in _nested(layers):
        if id(layer) in seen:
            raise ValueError(
                f"the layer {shown(layer)} stands twice in this Sequential: a layer keeps the state of one place; "
                "make a second one"
            )
        seen.add(id(layer))


def _check_widths(layers: Iterable[Layer]) -> None:
    """Refuse neighbours whose widths do not fit."""
    before: Linear | None = None  # the last one whose width is known
    for layer in layers:
        if is_plain(layer, Linear):
            n_in = layer.weights.shape[0]
            if before is not None and n_in != before.weights.shape[1]:
                raise ValueError(
                    f"the layer '{layer}' takes {n_in} features, but '{before}' before it gives "
                    f"{before.weights.shape[1]}"
                )
            before = layer
        elif not is_plain(layer, ReLU):
            before = None


def _tail(layers: Sequence[Layer]) -> list[Layer]:
    """The layers from the last Linear on, which say how wide the next has to be."""
    start = next((i for i in range(len(layers) - 1, -1, -1) if isinstance(layers[i], Linear)), 0)
    return list(layers[start:])


def _kind(layer: Layer) -> str | None:
    """What a layer is to a program: one that computes in a dtype, one that does in any, or none of its own."""
    if is_plain(layer, Linear):
        return layer.weights.dtype.name
    return ANY if is_plain(layer, ReLU) else None


def _nested(layers: Iterable[Layer], inside: tuple[Layer, ...] = ()) -> Iterator[Layer]:
    """Layers, and those inside of Sequentials among them."""
    for layer in layers:
        yield layer
        if isinstance(layer, Sequential):
            if any(layer is outer for outer in inside):
                raise ValueError("a Sequential cannot contain itself")
            yield from _nested(layer.graphs, (*inside, layer))


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
