"""From the names of parts to the numbers that stand for them in a table."""

import importlib

from ..table import Parts, Steps

_functions = [None]  # by number; 0 is nothing


def function_of(number):
    """What a number stands for."""
    return _functions[number]


def _place(name, char):
    """Put a part in the list of functions; in this wing, its number is its place there, whatever the dtype."""
    room, of, role, *rule = name.split(".")
    found = getattr(importlib.import_module(f".{room}", __package__), of)
    plans, updates = (importlib.import_module(f".{module}", __package__) for module in ("plans", "updates"))
    if role == "parameters":
        found = found.parameters(getattr(updates, *rule).update)
    elif role == "flat":
        found = plans.flat(found.update)
    elif role not in ("sum", "squares"):
        found = getattr(found, role)
    _functions.append(found)
    return len(_functions) - 1


parts = Parts(_place)


def _step(name, chars, holds):
    """A function of `step`, which takes any dtypes."""
    return getattr(importlib.import_module(".step", __package__), name)


steps = Steps(_step)
