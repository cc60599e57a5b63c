"""A layer that runs others in a row: which these are, and what they are lowered to."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, ClassVar

import numpy as np

from .. import overrides
from ..arena import gather
from ..optimizers.newcomers import now, warn_of_newcomers
from ..overrides import Checks, put, seen
from ..tensor import Tensor
from .built_in import BuiltIn
from .layer import Layer
from .nesting import check_layers, nested, pieces
from .runs import Run, check_widths, cut, what


class InARow(Layer):
    """Its layers, `graphs`, are cut into programs, as long as possible, and others, when they are first run.

    What they were cut into stands for as long as `overrides.changes` stays what it was.
    """

    _checks: ClassVar[Checks] = {"graphs": check_layers}

    graphs: Sequence[Layer] = ()  # where a subclass has an `__init__` that does not call this one's

    # What a pickle does not hold: what the layers were lowered to, and when.
    _segments: Sequence[Run | Layer] = ()
    _steps: Sequence[Callable[[Any], Any]] = ()
    _lowered: list[Layer] | None = None
    _whats: Sequence[Any] = ()
    _as_of = -1
    _straight: Any = None  # the program that does all that calling the model does, …
    _straight_as_of = -1  # … and when that was so
    _within = False  # a model around this one runs its layers
    _newcomers = False
    _born = 0
    _joined: Mapping[int, int] = MappingProxyType({})  # when each layer came, by its id

    @staticmethod
    def _gather(layers: Iterable[Layer], growing: bool = False) -> None:
        """One arena for all parameters of a dtype that kernels know: an optimizer's step is then one kernel call."""
        by_dtype: dict[np.dtype, list[Tensor]] = {}
        for piece in pieces(layers):
            for tensor in tensors_of(piece):
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
        segments = cut(lowered)  # which may give some of them other seeds
        whats = list(map(what, lowered))
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
        )
        self._see(as_of)

    def _is_lowered(self) -> bool:
        """Whether the segments are still those of the layers that are here, each what it was then."""
        as_of = overrides.changes
        lowered = self._has_these_layers() and list(map(what, self._lowered or ())) == self._whats
        if lowered:
            self._see(as_of)
        return lowered

    def _has_these_layers(self) -> bool:
        # Not by ==: layers that are data classes, say, may be equal and not the same.
        lowered = self._lowered
        return lowered is not None and list(map(id, pieces(self.graphs))) == list(map(id, lowered))

    def _see(self, as_of: int) -> None:
        """Note what `changes` were; never equal where nobody counts the changes of one of the lists of layers."""
        as_of = min([seen(model.graphs, as_of) for model in self._nests()])
        (first, *more) = self._segments
        put(self, _straight_as_of=-1)  # for Ctrl-C
        put(self, _as_of=as_of)
        if isinstance(first, Run) and not more and self._is_called_plainly():
            put(self, _straight=first.program)
            put(self, _straight_as_of=as_of)

    def _nests(self) -> list["InARow"]:
        """This model and those inside of it."""
        return [self, *(layer for layer in nested(self.graphs) if isinstance(layer, InARow))]

    def _layers_inside(self) -> Sequence[Layer]:
        return self.graphs

    def _welcome(self, layer: Layer) -> None:
        put(self, _joined={**self._joined, id(layer): now()}, _newcomers=True)

    def warn_of_newcomers(self) -> None:
        """Warn, once, of layers that joined after the optimizer was made and that no optimizer holds."""
        if self._newcomers:
            put(self, _newcomers=False)
            warn_of_newcomers(self.graphs, self._joined, self._born)
        for model in self._nests()[1:]:
            if model._newcomers:
                model.warn_of_newcomers()

    def _is_called_plainly(self) -> bool:
        """Whether calling this model is no more than to run its layers."""
        raise NotImplementedError

    def __getstate__(self) -> dict[str, Any]:
        return {key: value for key, value in vars(self).items() if key not in _OF_THIS_PROCESS}

    def __setstate__(self, state: dict[str, Any]) -> None:
        put(self, **state, _joined={id(layer): 0 for layer in state.get("graphs", ())})
        self._gather(self.graphs)


_OF_LOWERING = ("_segments", "_steps", "_lowered", "_whats", "_as_of", "_straight", "_straight_as_of")
_OF_THIS_PROCESS = ("_within", "_joined", "_born", "_newcomers", *_OF_LOWERING)


def tensors_of(layer: Layer) -> Iterable[Tensor]:
    return layer._tensors() if isinstance(layer, BuiltIn) else ()
