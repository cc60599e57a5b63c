"""Plain data in notes: numbers, text, arrays, and lists, tuples and dictionaries of such. Arrays become tensors."""

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from ..checks import shown
from ..errors import BadFileError
from .container import CODES, Container

Tensors = dict[str, np.ndarray]
ODD_FLOATS = {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}  # which JSON has not


def noted(value: Any, tensors: Tensors, name: str) -> Any:
    """A value as JSON has it; arrays go into `tensors`, under names that begin with this one.

    Raises TypeError for what is no plain data.
    """
    if value is None or type(value) in (bool, int, str):
        return value
    if isinstance(value, np.str_):
        return str(value)
    if type(value) is float:
        return value if math.isfinite(value) else {"float": str(value)}
    if isinstance(value, np.generic) and value.dtype in CODES:
        return {"number": value.dtype.name, "value": noted(value.item(), tensors, name)}
    if type(value) is np.ndarray and value.dtype.newbyteorder("=") in CODES:
        tensors[name] = value
        return {"tensor": name}
    if type(value) is np.ndarray and value.dtype.kind in "OU" and value.ndim == 1:
        kind = "object" if value.dtype.kind == "O" else "text"
        return {kind: [noted(each, tensors, f"{name}.{i}") for i, each in enumerate(value.tolist())]}
    if type(value) is list:
        return [noted(each, tensors, f"{name}.{i}") for i, each in enumerate(value)]
    if type(value) is tuple:
        return {"tuple": [noted(each, tensors, f"{name}.{i}") for i, each in enumerate(value)]}
    if type(value) is dict:
        pairs = enumerate(value.items())
        return {
            "dict": [
                [noted(key, tensors, f"{name}.{i}.key"), noted(v, tensors, f"{name}.{i}")] for i, (key, v) in pairs
            ]
        }
    raise TypeError(
        f"save: {name} is {shown(value)}; a file holds numbers, text, arrays, lists and dictionaries of such"
    )


def is_plain(value: Any) -> bool:
    """Whether `noted` takes it."""
    try:
        noted(value, {}, "")
    except (TypeError, RecursionError):
        return False
    return True


def read(container: Container, note: Any) -> Any:
    """What `noted` made JSON of. Raises BadFileError."""
    if not isinstance(note, dict):
        return [read(container, each) for each in note] if isinstance(note, list) else note
    kind: str
    value: Any
    kind, value = next(iter(note.items()), ("nothing", None))
    more = len(note) > 1
    try:
        if kind == "float" and not more:
            return ODD_FLOATS[value]
        if kind == "number" and set(note) == {"number", "value"}:
            return _number(container, note)
        if kind == "tensor" and not more:
            return container.read(value)
        if kind in ("tuple", "object", "text") and not more and isinstance(value, list):
            return _sequence(kind, [read(container, each) for each in value])
        if kind == "dict" and not more:
            return {read(container, key): read(container, each) for key, each in value}
    except BadFileError:
        raise
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise container.fault(f"a part of its notes cannot be read: {shown(note)} ({error})") from error
    raise container.fault(f"a part of its notes cannot be read: {shown(note)}")


def _number(container: Container, note: dict[str, Any]) -> Any:
    dtype = np.dtype(note["number"])
    if dtype not in CODES:
        raise TypeError(f"{dtype} is no dtype of numbers")
    return dtype.type(read(container, note["value"]))


def _sequence(kind: str, values: list[Any]) -> Any:
    if kind == "tuple":
        return tuple(values)
    if kind == "text":
        if not all(isinstance(value, str) for value in values):
            raise TypeError("text has something else in it")
        return np.array(values, dtype=np.str_)
    array = np.empty(len(values), dtype=object)
    array[:] = values
    return array


def tensors_named(note: Any) -> Iterator[str]:
    """The tensors that notes name."""
    if isinstance(note, list):
        for each in note:
            yield from tensors_named(each)
    elif isinstance(note, dict):
        for key, value in note.items():
            if key == "tensor" and isinstance(value, str):
                yield value
            else:
                yield from tensors_named(value)
