"""From the names of parts to their addresses: each is compiled when a program first needs it."""

import importlib
from functools import partial

from numba import types

from .._shelter import sheltered
from ..table import Parts
from ._jit import part
from .calling import ROW_TYPE


def _address(name, char):
    """Compile a part; in this wing, its number is its address."""
    number = types.float32 if char == "f" else types.float64
    p, i = types.CPointer(number), types.intp
    room, of, role, *rule = name.split(".")
    found = getattr(importlib.import_module(f".{room}", __package__), of)
    if role == "sum":
        return part(found, types.float64(p, p, i, p, i, p, i, i, i), name)
    if role == "squares":
        return part(found, types.float64(p, i), name)
    if role == "begin":
        double = types.CPointer(types.float64)
        return part(found.begin, types.void(p, double, types.float64, i, double), name)
    updates = importlib.import_module(".updates", __package__)
    if role == "flat":
        return part(updates.flat(found.update), types.void(p, p, i, p, i, number, p), name)
    if role == "parameters":
        done = getattr(updates, *rule)
        return part(found.parameters(done.update, done.ahead), types.void(ROW_TYPE, p, p, p, p, i, p, i), name)
    return part(getattr(found, role), types.void(ROW_TYPE, p, p, p, i), name)


def _address_once(name, char):
    """The address of a part, which another thread may have compiled while this one waited."""
    return parts.get((name, char)) or _address(name, char)


parts = Parts(partial(sheltered, _address_once))
