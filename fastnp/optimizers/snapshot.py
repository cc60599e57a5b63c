"""What a model and its optimizer were, to go back to."""

import contextlib
import copy
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from ..program.op import Rule, own_of
from ..tensor import Tensor
from .arenas import ArenaOptimizer
from .kept import Held
from .optimizer import Optimizer


class Snapshot(NamedTuple):
    """Copies of parameters, and of what an optimizer keeps and counts."""

    tensors: dict[int, Tensor]  # by id; held, so that their ids stay their own
    data: dict[int, np.ndarray]
    kept: dict[int, list[np.ndarray]]
    updates: int | None
    attributes: dict[str, Any]  # of an optimizer of the user's own
    inside: list[tuple[Any, "Snapshot"]]  # of the library's optimizers that it has

    def restore(self, model: Any, optimizer: Any) -> None:
        """Give back what was copied to what is still there; settings stay as they are."""
        for key, tensor in _tensors(model, optimizer).items():
            if key in self.data:
                tensor.data = self.data[key]
        for key, arrays in _kept(optimizer):
            for array, value in zip(arrays, self.kept.get(key, ()), strict=False):
                array[...] = value
        if self.updates is not None and hasattr(optimizer, "updates"):
            with contextlib.suppress(AttributeError):  # which an optimizer of the user's own may count by itself
                optimizer.updates = self.updates
        attributes = vars(optimizer) if self.attributes else {}
        for name, value in self.attributes.items():
            if name in attributes and not _put_back(attributes[name], value):
                attributes[name] = value
        for other, left in self.inside:
            left.restore(model, other)


def snapshot(model: Any, optimizer: Any, around: tuple[Any, ...] = (), copies: bool = True) -> Snapshot:
    """Of all parameters of a model and an optimizer, which others may be `around`, as they are now.

    Without `copies` it is one for the moment: of parameters, and of what is kept of them, it has the arrays themselves.
    """
    around = *around, optimizer
    tensors = _tensors(model, optimizer)
    data = {key: tensor.data.copy() if copies else tensor.data for key, tensor in tensors.items()}
    kept = {key: [array.copy() if copies else array for array in arrays] for key, arrays in _kept(optimizer)}
    own = {} if own_of(optimizer, "_kernel_rule", Rule) is not None else _attributes(optimizer)
    attributes = {name: copy.deepcopy(value) for name, value in own.items() if _is_plain_data(value)}
    inside = [(other, snapshot(model, other, around, copies)) for other in own_optimizers(optimizer, around)]
    return Snapshot(tensors, data, kept, getattr(optimizer, "updates", None), attributes, inside)


def own_optimizers(optimizer: Any, around: tuple[Any, ...]) -> list[Any]:
    """The library's optimizers that one of the user's own has, but those that are `around` it."""
    own = {} if own_of(optimizer, "_kernel_rule", Rule) is not None else _attributes(optimizer)
    others = [value for value in own.values() if isinstance(value, ArenaOptimizer)]
    return [other for other in others if all(other is not by for by in around)]


def snapshot_of(held: Held, data: np.ndarray, kept: np.ndarray, updates: int) -> Snapshot:
    """What a kernel copied of what an optimizer holds in one arena, laid out as there; these arrays are not copied."""
    tensors = {id(tensor): tensor for tensor in held.tensors}
    starts = range(0, kept.size, held.data.size)
    of_data, of_kept = {}, {}
    for key, tensor in tensors.items():
        view, offset = tensor._layout.view, tensor._place.offset
        of_data[key] = view(data, offset)
        of_kept[key] = [view(kept, start + offset) for start in starts]
    return Snapshot(tensors, of_data, of_kept, updates, {}, [])


def _tensors(model: Any, optimizer: Any) -> dict[int, Tensor]:
    """By id; those that the optimizer alone holds change, too."""
    return {id(tensor): tensor for tensor in (*model.parameters(), *optimizer.parameters)}


def _kept(optimizer: Any) -> Iterator[tuple[int, list[np.ndarray]]]:
    """The arrays that one of the library's optimizers keeps of each tensor, by the tensor's id."""
    if isinstance(optimizer, ArenaOptimizer):
        kinds = [optimizer._arrays_kept(name) for name in optimizer._kernel_rule.kept]
        for i, tensor in enumerate(optimizer.parameters):
            yield id(tensor), [arrays[i] for arrays in kinds]


def _attributes(optimizer: Any) -> dict[str, Any]:
    """What an optimizer of the user's own remembers: its attributes but settings."""
    settings = {"schedule", *getattr(optimizer, "_rules", Optimizer._rules)}
    attributes = getattr(optimizer, "__dict__", {})
    return {name: value for name, value in attributes.items() if name not in settings | set(dir(ArenaOptimizer))}


def _is_plain_data(value: Any) -> bool:
    """Whether this is numbers, text or arrays of numbers, or lists, tuples or dictionaries of such: what can be copied.

    Anything else is an object of its own: a generator, a log, a data set, a tensor of the model.
    """
    if isinstance(value, (list, tuple)):
        return all(map(_is_plain_data, value))
    if isinstance(value, dict):
        return all(map(_is_plain_data, value.values()))
    if isinstance(value, np.ndarray):
        return value.dtype.kind in "biufc"
    return value is None or isinstance(value, (bool, int, float, complex, str, bytes, np.generic))


def _put_back(current: Any, value: Any) -> bool:
    """Write a copy into what it was made of, where that is still of its kind: others may hold it."""
    if type(current) is not type(value):
        return False
    if isinstance(current, np.ndarray):
        same = current.shape == value.shape and current.dtype == value.dtype and current.flags.writeable
        if same:
            current[...] = value
        return same
    if isinstance(current, list):
        pairs = zip(current, value, strict=False)
        current[:] = [old if _put_back(old, new) else new for old, new in pairs] + value[len(current) :]
        return True
    if isinstance(current, dict):
        new = {key: current[key] if key in current and _put_back(current[key], v) else v for key, v in value.items()}
        current.clear()
        current.update(new)
        return True
    return False
