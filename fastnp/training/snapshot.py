"""What a model and its optimizer were, to go back to."""

import contextlib
import copy
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from ..layers.layer import Layer
from ..optimizers.arenas import ArenaOptimizer
from ..optimizers.kept import Held
from ..optimizers.optimizer import Optimizer
from ..program.op import Rule, own_of
from ..tensor import Tensor


class Snapshot(NamedTuple):
    """Copies of parameters, and of what an optimizer keeps and counts."""

    tensors: dict[int, Tensor]  # by id; held, so that their ids stay their own
    data: dict[int, np.ndarray]
    kept: dict[int, list[np.ndarray]]
    updates: int | None
    attributes: dict[str, Any]  # of an optimizer of the user's own

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
        if self.attributes:
            attributes = vars(optimizer)
            attributes |= {name: value for name, value in self.attributes.items() if name in attributes}


def snapshot(model: Any, optimizer: Any) -> Snapshot:
    """Of all parameters of a model and an optimizer, as they are now."""
    tensors = _tensors(model, optimizer)
    data = {key: tensor.data.copy() for key, tensor in tensors.items()}
    kept = {key: [array.copy() for array in arrays] for key, arrays in _kept(optimizer)}
    attributes = _copied_attributes(model, optimizer, tensors)
    return Snapshot(tensors, data, kept, getattr(optimizer, "updates", None), attributes)


def snapshot_of(held: Held, data: np.ndarray, kept: np.ndarray, updates: int) -> Snapshot:
    """What a kernel copied of what an optimizer holds in one arena, laid out as there; these arrays are not copied."""
    tensors = {id(tensor): tensor for tensor in held.tensors}
    starts = range(0, kept.size, held.data.size)
    of_data, of_kept = {}, {}
    for key, tensor in tensors.items():
        view, offset = tensor._layout.view, tensor._place.offset
        of_data[key] = view(data, offset)
        of_kept[key] = [view(kept, start + offset) for start in starts]
    return Snapshot(tensors, of_data, of_kept, updates, {})


def _tensors(model: Any, optimizer: Any) -> dict[int, Tensor]:
    """By id; those that the optimizer alone holds change, too."""
    return {id(tensor): tensor for tensor in (*model.parameters(), *optimizer.parameters)}


def _kept(optimizer: Any) -> Iterator[tuple[int, list[np.ndarray]]]:
    """The arrays that one of the library's optimizers keeps of each tensor, by the tensor's id."""
    if isinstance(optimizer, ArenaOptimizer):
        kinds = [optimizer._arrays_kept(name) for name in optimizer._kernel_rule.kept]
        for i, tensor in enumerate(optimizer.parameters):
            yield id(tensor), [arrays[i] for arrays in kinds]


def _copied_attributes(model: Any, optimizer: Any, tensors: dict[int, Tensor]) -> dict[str, Any]:
    """What an optimizer of the user's own remembers, as far as it can be copied: its attributes but settings.

    In the copies, tensors, their arrays, the model and its layers are themselves.
    """
    if own_of(optimizer, "_kernel_rule", Rule) is not None:
        return {}
    settings = {"schedule", *getattr(optimizer, "_rules", Optimizer._rules)}
    themselves = [model, optimizer, *_layers(model).values(), *tensors.values()]
    themselves += [array for tensor in tensors.values() for array in (tensor.data, tensor.grad)]
    memo: dict[int, Any] = {id(value): value for value in themselves}
    copies: dict[str, Any] = {}
    for name, value in getattr(optimizer, "__dict__", {}).items():
        if name in settings or hasattr(ArenaOptimizer, name):
            continue
        tried = dict(memo)  # a copy that fails leaves halves of itself there
        try:
            copies[name] = copy.deepcopy(value, tried)
        except Exception:  # a file or a lock, say: it stays what it is
            continue
        memo = tried
    return copies


def _layers(layer: Any, found: dict[int, Any] | None = None) -> dict[int, Any]:
    """A model that is a layer, and all layers in it, by id."""
    found = {} if found is None else found
    if isinstance(layer, Layer) and id(layer) not in found:
        found[id(layer)] = layer
        for inside in layer._layers_held():
            _layers(inside, found)
    return found
