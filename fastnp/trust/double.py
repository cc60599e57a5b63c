"""A copy of a model that computes in double precision."""

import copy
from typing import Any

import numpy as np

from ..layers.layer import Layer
from ..tensor import Tensor
from .masks import Still


def in_double(model: Any) -> tuple[Any, Still]:
    """A deep copy of `model` whose tensors are float64, and its noises; gradients and values are taken along."""
    copies: dict[int, Any] = {}
    double = copy.deepcopy(model, copies)
    for copied in list(copies.values()):
        if isinstance(copied, Tensor):  # also one that `parameters` leaves out, to keep it from being trained
            copied.convert(np.float64)
    return double, Still(copies)


def layers_of(model: Any) -> list[Any]:
    """The layers of a model in their order, those of nested `Sequential`s in place; a single layer is its own list.

    A `Sequential` that does otherwise than its layers in a row is a layer itself.
    """
    return model._layers_run() if isinstance(model, Layer) else [model]
