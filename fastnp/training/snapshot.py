"""What a model and its optimizer were, to go back to."""

import copy
from collections.abc import Iterator
from typing import Any

import numpy as np

from ..layers.layer import Layer
from ..optimizers.arenas import ArenaOptimizer
from ..optimizers.optimizer import Optimizer
from ..program.op import Rule, own_of
from ..tensor import Tensor


class Snapshot:
    """Copies of all parameters of a model and an optimizer, and of what the optimizer keeps and counts."""

    def __init__(self, model: Any, optimizer: Any):
        self._tensors = _tensors(model, optimizer)  # held, so that their ids stay their own
        self._data = {key: tensor.data.copy() for key, tensor in self._tensors.items()}
        self._kept = {key: [array.copy() for array in arrays] for key, arrays in _kept(optimizer)}
        self._updates = getattr(optimizer, "updates", None)
        self._attributes = _copied_attributes(model, optimizer, self._tensors)

    def restore(self, model: Any, optimizer: Any) -> None:
        """Give back what was copied to what is still there; settings stay as they are."""
        for key, tensor in _tensors(model, optimizer).items():
            if key in self._data:
                tensor.data = self._data[key]
        for key, arrays in _kept(optimizer):
            for array, value in zip(arrays, self._kept.get(key, ()), strict=False):
                array[...] = value
        if self._updates is not None and hasattr(optimizer, "updates"):
            optimizer.updates = self._updates
        if self._attributes:
            attributes = vars(optimizer)
            attributes |= {name: value for name, value in self._attributes.items() if name in attributes}


def _tensors(model: Any, optimizer: Any) -> dict[int, Tensor]:
    """By id; those that the optimizer alone holds change, too."""
    return {id(tensor): tensor for tensor in (*model.parameters(), *optimizer.parameters)}


def _kept(optimizer: Any) -> Iterator[tuple[int, list[np.ndarray]]]:
    """The arrays that one of the library's optimizers keeps of each tensor, by the tensor's id."""
    if isinstance(optimizer, ArenaOptimizer):
        kinds = [optimizer._arrays(name) for name in optimizer._kernel_rule.kept]
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
