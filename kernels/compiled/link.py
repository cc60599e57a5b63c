"""From the names of parts to their addresses: each is compiled when a program first needs it."""

import importlib
from functools import partial

from numba import types

from .._shelter import sheltered
from ..table import Parts, Steps
from ._jit import entry, part
from .calling import ROW_TYPE
from .given import Given


def _address(name, char):
    """Compile a part; in this wing, its number is its address."""
    number = types.float32 if char == "f" else types.float64
    p, i = types.CPointer(number), types.intp
    room, of, role, *rule = name.split(".")
    found = getattr(importlib.import_module(f".{room}", __package__), of)
    if role == "sum":
        return part(found, types.float64(p, p, i, p, i, p, i, i, i), name)
    integers, doubles, double = types.CPointer(types.int64), types.CPointer(types.float64), types.float64
    if role == "squares":
        return part(found, double(integers, p), name)
    plans, updates = (importlib.import_module(f".{module}", __package__) for module in ("plans", "updates"))
    if role == "begin":
        return part(plans.begin(found.begin), types.void(integers, p, doubles, i, double, i, doubles, i), name)
    if role == "flat":
        return part(plans.flat(found.update), types.void(integers, p, p, p, double, double, p), name)
    if role == "parameters":
        done = getattr(updates, *rule)
        return part(found.parameters(done.update, done.ahead), types.void(ROW_TYPE, p, p, p, p, i, p, i), name)
    return part(getattr(found, role), types.void(ROW_TYPE, p, p, p, i), name)


def _address_once(name, char):
    """The address of a part, which another thread may have compiled while this one waited."""
    return parts.get((name, char)) or _address(name, char)


parts = Parts(partial(sheltered, _address_once))


def _step(name, chars, holds):
    """Compile a function of `step` for arrays of these dtypes."""
    of = [Given(types.float32 if char == "f" else types.float64) for char in chars]
    arguments = {"update": (types.float64, types.intp)}.get(name, ())
    signature = (types.float64 if name == "loss" else types.intp)(*of, Given(types.int64), *arguments)
    function = getattr(importlib.import_module(".step", __package__), name)
    return entry(function, signature, f"step.{name}.{chars}.{holds}", holds)


def _step_once(*key):
    """A step that another thread may have compiled while this one waited."""
    return steps.get(key) or _step(*key)


steps = Steps(partial(sheltered, _step_once))
