"""Calls of parts and kernels, on arrays cut out of larger buffers full of NaN.

A kernel that reads outside of its arrays returns NaN, and `Call.run` finds one that writes there.
"""

from functools import partial
from typing import Any

import numpy as np

from fastnp.kernels import padded

NAN = float("nan")


def _nans(size: int, dtype: np.dtype, seed: int) -> np.ndarray:
    """NaNs that differ in their payloads, so that one written over another shows."""
    bits = np.random.default_rng(seed).integers(1, 2**22, size, dtype=f"u{dtype.itemsize}")
    quiet = np.array(NAN, dtype).view(bits.dtype)
    return (bits | quiet).view(dtype).copy()  # an owner: views of it have it as their base


class Call:
    """One call: `arguments` by name, the arrays among them in guarded memory; `run` makes it.

    Memory starts `offset` numbers past a cache line.
    """

    def __init__(self, name: str, dtype: Any, offset: int):
        self.name = name
        self.dtype = np.dtype(dtype)
        self.arguments: dict[str, Any] = {}
        self.make: Any = None  # what makes the call, given the kernels of a backend
        self._offset = offset
        self._buffers: list[tuple[np.ndarray, np.ndarray]] = []  # each with a mask of what may be written

    def __getitem__(self, name: str) -> Any:
        return self.arguments[name]

    def flat(self, size: int) -> np.ndarray:
        """So many numbers: NaN, as are those around them."""
        guard = padded(256, self.dtype.itemsize)
        raw = _nans(guard + size + guard + 64, self.dtype, seed=len(self._buffers))
        start = guard + -raw.ctypes.data // self.dtype.itemsize % (64 // self.dtype.itemsize) + self._offset
        self._buffers.append((raw, np.zeros(raw.size, bool)))
        return raw[start : start + size]

    def array(self, values: Any, ld: int | None = None, *, pad: float = 0.0, spare: int = 0, written: int = 0):
        """A 2-D array with `values` in its top left corner, `pad` to their right and `spare` rows of NaN below.

        The first `written` rows may be written.
        """
        values = np.asarray(values, self.dtype)
        ld = values.shape[1] if ld is None else ld
        array = self.flat((len(values) + spare) * ld).reshape(len(values) + spare, ld)
        fill(array[: len(values)], values, pad)
        self.allow(array[:written])
        return array

    def allow(self, array: np.ndarray) -> None:
        """These numbers of an array of this call may be written."""
        raw, may_write = next(pair for pair in self._buffers if np.shares_memory(pair[0], array) or not array.size)
        start = (array.ctypes.data - raw.ctypes.data) // self.dtype.itemsize
        may_write[start : start + array.size] = True

    def run(self, kernels: Any) -> Any:
        """Make the call; AssertionError where it wrote what it may not. Returns what it returns."""
        before = [raw.copy() for raw, _ in self._buffers]
        result = self.make(kernels)
        for (raw, may_write), old in zip(self._buffers, before, strict=True):
            changed = (raw.view(np.uint8) != old.view(np.uint8)).reshape(raw.size, -1).any(axis=1)
            where = np.flatnonzero(changed & ~may_write)
            assert not where.size, f"{self.name} wrote outside its outputs, at {where[:9]} of {raw.size} numbers"
        return result

    def prepared(self, kernels: Any) -> Any:
        """The call as a function without arguments, for timing."""
        return partial(self.make, kernels)


def fill(view: np.ndarray, values: Any, pad: float = NAN) -> None:
    """Write values that are not NaN into the first columns of a view, and `pad` into the others where it is not NaN."""
    values = np.asarray(values, view.dtype)
    np.copyto(view[:, : values.shape[1]], values, where=~np.isnan(values))
    if not np.isnan(pad):
        view[:, values.shape[1] :] = pad
