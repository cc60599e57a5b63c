"""What stands in a block of addresses, as arrays."""

import weakref
from types import SimpleNamespace
from typing import NamedTuple

import numpy as np

from ..blocks import (
    ARENA_FLAGS,
    BATCH,
    FLAGS,
    GRADIENTS,
    NUMBERS,
    NUMBERS_SIZE,
    PARAMS,
    PART,
    PLAN,
    PLAN_SIZE,
    REDUCED,
    SETTINGS,
    SETTINGS_SIZE,
    SIZE,
    WHOLE,
    WIDTH,
    WORK,
    WORK_SIZE,
)


class Pass(NamedTuple):
    """What a pass through a program works on."""

    table: np.ndarray
    work: np.ndarray
    params: np.ndarray
    gradients: np.ndarray
    flags: np.ndarray
    whole: bool


class Loss(NamedTuple):
    """What a loss is computed by."""

    part: int
    reduction: int
    numbers: np.ndarray
    shape: tuple[int, int]


class Update(NamedTuple):
    """What an update works on."""

    plan: np.ndarray
    params: np.ndarray
    gradients: np.ndarray
    flags: np.ndarray
    settings: np.ndarray


def _array(address, size, dtype):
    """The numbers at an address: whoever made the block holds them."""
    if not size:
        return np.zeros(0, dtype)
    interface = {"version": 3, "data": (address, False), "shape": (size,), "typestr": np.dtype(dtype).str}
    return np.asarray(SimpleNamespace(__array_interface__=interface))


_decoded = {}  # by the ids of blocks, which do not change: a loop brings the same few again and again


def _found(block, make, dtype):
    found = _decoded.get(id(block))
    if found is None or found[0]() is not block:
        for key, (ref, _) in _decoded.copy().items():  # of which a thread may make others meanwhile
            if ref() is None:
                _decoded.pop(key, None)
        found = _decoded[id(block)] = weakref.ref(block), make(block, dtype)
    return found[1]


def _pass(block, dtype):
    head = block[0].tolist()
    params, gradients = (_array(head[column], head[SIZE], dtype) for column in (PARAMS, GRADIENTS))
    work, flags = _array(head[WORK], head[WORK_SIZE], dtype), _array(head[FLAGS], ARENA_FLAGS, np.int64)
    table = block[1:].copy()  # a view would hold the block
    return Pass(table, work, params, gradients, flags, bool(head[WHOLE]))


def _loss(block, dtype):
    head = block[0].tolist()
    numbers = _array(head[NUMBERS], head[NUMBERS_SIZE], dtype)
    return Loss(head[PART], head[REDUCED], numbers, (head[BATCH], head[WIDTH]))


def _update(block, dtype):
    head = block[0].tolist()
    params, gradients = (_array(head[column], head[SIZE], dtype) for column in (PARAMS, GRADIENTS))
    settings = _array(head[SETTINGS], 2 * head[SETTINGS_SIZE], np.float64).reshape(2, -1)
    plan, flags = _array(head[PLAN], head[PLAN_SIZE], np.int64), _array(head[FLAGS], ARENA_FLAGS, np.int64)
    return Update(plan, params, gradients, flags, settings)


def pass_block(block, dtype):
    """What a pass works on, whose arrays are of this dtype."""
    return _found(block, _pass, dtype)


def loss_block(block, dtype):
    """What a loss is computed by, in this dtype."""
    return _found(block, _loss, dtype)


def update_block(block, dtype):
    """What an update works on, whose arrays are of this dtype."""
    return _found(block, _update, dtype)
