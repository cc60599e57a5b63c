"""What users give, turned into arrays of real numbers, or refused by name."""

from typing import Any

import numpy as np

FLOATS = (np.dtype(np.float32), np.dtype(np.float64))


def real_array(value: Any, name: str) -> np.ndarray:
    """`value` as an array of real numbers of any layout, not copied where it is one already.

    Raises TypeError for masked arrays and for complex, object, string and date dtypes, ValueError for
    ragged lists; `name` says in the message what was given.
    """
    if type(value) is np.ndarray and value.dtype.kind in "fiub":
        return value
    if isinstance(value, np.ma.MaskedArray):
        raise TypeError(f"{name} is a masked array; fill it first, for example with .filled(0)")
    try:
        array = np.asarray(value)
    except ValueError as error:
        raise ValueError(f"{name} is ragged: its rows differ in length; every row needs as many numbers") from error
    if array.dtype.kind not in "fiub":
        raise TypeError(f"{name} has dtype {array.dtype}; expected real numbers (floats, integers or booleans)")
    return array


def working_dtype(array: np.ndarray) -> np.dtype:
    """The dtype to compute in: float64 for double arrays, else float32."""
    return FLOATS[1] if array.dtype.newbyteorder("=") == FLOATS[1] else FLOATS[0]


def check_dtype(dtype: Any) -> np.dtype:
    """`dtype` as float32 or float64. Raises TypeError for any other."""
    try:
        checked = np.dtype(dtype)
    except TypeError:
        checked = None
    if checked is None or dtype is None or checked not in FLOATS:  # to NumPy, None means float64
        raise TypeError(f"dtype must be numpy.float32 or numpy.float64, got {dtype!r}")
    return checked.newbyteorder("=")


def aligned_zeros(size: int, dtype: np.dtype, alignment: int = 64) -> np.ndarray:
    """A flat array of zeros that starts on a cache line."""
    raw = np.zeros(size * dtype.itemsize + alignment, np.uint8)
    start = -raw.ctypes.data % alignment
    return raw[start : start + size * dtype.itemsize].view(dtype)


def take_rows(array: np.ndarray, indices: Any) -> np.ndarray:
    """The rows of an array at some indices, in a new array."""
    if array.flags.c_contiguous and array.flags.aligned:
        return array.take(indices, axis=0)  # three times as fast, but it copies the whole of any other array first
    return array[indices]
