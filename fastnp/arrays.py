"""What users give, turned into arrays of real numbers, or refused by name."""

from typing import Any

import numpy as np

from .kernels.blocks import address

FLOATS = (np.dtype(np.float32), np.dtype(np.float64))


def real_array(value: Any, name: str) -> np.ndarray:
    """`value` as an array of real numbers of any layout, not copied where it is one already.

    Raises TypeError for masked and sparse arrays, for tensors that NumPy cannot read, and for complex,
    object, string and date dtypes; ValueError for ragged lists. `name` says in the message what was given.
    """
    if type(value) is np.ndarray and value.dtype.kind in "fiub":
        return value
    if isinstance(value, np.ma.MaskedArray):
        raise TypeError(f"{name} is a masked array; fill it first, for example with .filled(0)")
    if hasattr(value, "toarray") and hasattr(value, "nnz"):  # SciPy's sparse arrays and matrices
        raise TypeError(f"{name} is sparse, a {type(value).__name__}; make it dense first, with .toarray()")
    try:
        array = np.asarray(value)
    except ValueError as error:
        raise ValueError(f"{name} is ragged: its rows differ in length; every row needs as many numbers") from error
    except Exception as error:  # whatever another library says of its own arrays
        raise TypeError(f"{name}, a {type(value).__name__}, cannot be read as an array: {error}") from error
    if array.dtype.kind not in "fiub":
        expected = "expected real numbers (floats, integers or booleans)"
        raise TypeError(f"{name} has dtype {array.dtype}; {expected}{_cure(value)}")
    return array


def _cure(value: Any) -> str:
    """What to write instead, for tables whose columns arrive as objects."""
    if not hasattr(value, "to_numpy"):
        return "; call .collect() of it first" if hasattr(value, "collect_schema") else ""
    cast = ".cast(polars.Float64)" if type(value).__module__.startswith("polars") else ".to_numpy(float)"
    columns = "" if getattr(value, "ndim", 2) == 1 else ", without the columns that are no numbers"
    return f"; give {cast} of it{columns}"


def working_dtype(array: np.ndarray) -> np.dtype:
    """The dtype to compute in: float64 for double arrays, else float32."""
    dtype = array.dtype  # whose type is the same in either byte order
    return FLOATS[1] if dtype == FLOATS[1] or dtype.type is np.float64 else FLOATS[0]


def check_dtype(dtype: Any) -> np.dtype:
    """`dtype` as float32 or float64. Raises TypeError for any other."""
    try:
        checked = np.dtype(dtype)
    except TypeError:
        checked = None
    if checked is None or dtype is None or checked not in FLOATS:  # to NumPy, None means float64
        raise TypeError(f"dtype must be numpy.float32 or numpy.float64, got {dtype!r}")
    return FLOATS[FLOATS.index(checked)]  # these very objects, in native byte order, for those that compare quickly


LINE, PAGE = 64, 4096


def aligned_zeros(size: int, dtype: np.dtype, above: np.ndarray | None = None, distance: int = 0) -> np.ndarray:
    """A flat array of zeros that starts on a cache line; where asked for, so many bytes above another, modulo a page.

    A load waits for a store before it whose address has the same last twelve bits. An array that is not as large as the
    distance hardly meets the other, and stays where it is.
    """
    wanted, modulus = 0, LINE
    if above is not None and size * dtype.itemsize >= distance:
        wanted, modulus = address(above) + distance, PAGE
    raw = np.zeros(size * dtype.itemsize + modulus, np.uint8)
    return np.ndarray(size, dtype, raw, (wanted - address(raw)) % modulus)


def positions(indices: Any, owner: str) -> np.ndarray:
    """Indices that a sampler gives, as an array of integers. Raises TypeError for anything else."""
    array = np.asarray(indices if hasattr(indices, "__len__") else list(indices))
    if not array.size:
        return array.astype(np.intp)
    if array.ndim != 1 or array.dtype.kind not in "iu":
        raise TypeError(
            f"{owner} must give lists of positions in the data set; got dtype {array.dtype}, shape {array.shape}"
        )
    return array.astype(np.intp, copy=False)


def take_rows(array: np.ndarray, indices: np.ndarray) -> np.ndarray:
    """The rows of an array at some positions, in a new array."""
    if array.flags.c_contiguous and array.flags.aligned:
        return array.take(indices, axis=0)  # three times as fast, but it copies the whole of any other array first
    return array[np.asarray(indices)]
