"""The update tensor by tensor, where a method of the optimizer or of a tensor is the user's own."""

from typing import Any

import numpy as np

from ..arena import Layout
from ..arrays import aligned_zeros
from ..kernels.table import clipping
from ..overrides import is_own
from .kept import Names, planned
from .optimizer import Optimizer

SQUARES_PART = "norm.gradients.squares"


def step_by_tensor(optimizer: Any, backend: Any, rate: float) -> None:
    """One update of an `ArenaOptimizer`; `get_decay` and the tensors are asked for what they give."""
    gradients = []
    for tensor in optimizer.parameters:
        gradient = aligned_zeros(tensor._layout.size, tensor.dtype)
        tensor._layout.view(gradient)[...] = tensor.grad
        gradients.append(gradient)
    clip_norm, squares = optimizer.clip_norm or 0.0, 0.0
    if clip_norm:
        for gradient in gradients:
            squares += _squares(backend, gradient)
    for tensor, gradient in zip(optimizer.parameters, gradients, strict=True):
        _update(optimizer, backend, tensor, gradient, rate, squares, clip_norm)


def _plan(backend: Any, names: Names, char: str, size: int) -> np.ndarray:
    return planned(backend, names, char, size, False, [(0, size, 0)], [(0, size)])


def _squares(backend: Any, gradient: np.ndarray) -> float:
    plan = _plan(backend, Names("", squares=SQUARES_PART), gradient.dtype.char, gradient.size)
    result: float = backend.squares(plan, gradient)
    return result


def _update(
    optimizer: Any, backend: Any, tensor: Any, gradient: np.ndarray, rate: float, squares: float, clip_norm: float
) -> None:
    layout: Layout = tensor._layout
    kinds = optimizer._kept_of(tensor)
    p, kept = aligned_zeros(layout.size, tensor.dtype), aligned_zeros(layout.size * len(kinds), tensor.dtype)
    data, arrays = layout.view(p), [layout.view(kept, kind * layout.size) for kind in range(len(kinds))]
    data[...] = tensor.data
    for array, value in zip(arrays, kinds, strict=True):
        array[...] = value
    decays = optimizer.decay_bias or tensor.decays
    weight_decay = optimizer.weight_decay if decays else 0.0
    if not is_own(optimizer, Optimizer, "get_decay"):
        weight_decay, decay = 0.0, optimizer.get_decay(tensor.data) if decays else 0.0
        if clip_norm:
            gradient *= gradient.dtype.type(clipping(squares, clip_norm))
            clip_norm = 0.0
        if optimizer._decays_apart:
            data -= rate * decay
        else:
            layout.view(gradient)[...] += decay
    name = f"updates.{optimizer._rule_name()}"
    plan = _plan(backend, Names(f"{name}.begin", f"{name}.flat"), tensor.dtype.char, layout.size)
    settings = np.array([optimizer._kernel_settings(weight_decay)])
    backend.update(plan, p, kept, gradient, settings, rate, optimizer.updates, squares, clip_norm)
    for array, value in zip(kinds, arrays, strict=True):
        array[...] = value
    tensor.data = data
