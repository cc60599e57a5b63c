"""What dropout leaves out, evaluated here by itself, and how checks hold it still."""

import copy
from typing import Any

import numpy as np

from ..program.op import Noise

_ALL = 2**64 - 1
_LOW = np.uint64(2**32 - 1)


def _next(state: int) -> int:
    """What splitmix64 makes of a state of 64 bits."""
    state = (state + 0x9E3779B97F4A7C15) & _ALL
    state = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & _ALL
    state = ((state ^ (state >> 27)) * 0x94D049BB133111EB) & _ALL
    return state ^ (state >> 31)


def bits_of(seed: int, count: int, places: int) -> np.ndarray:
    """The 32 random bits, as integers, of each of so many places, where a seed has drawn so often."""
    key = _next((_next(seed) + count) & _ALL)
    bits = (np.arange(places, dtype=np.uint64) + np.uint64(key % 2**32)) & _LOW
    bits = ((bits ^ (bits >> np.uint64(17))) * np.uint64(0xED5AD4BB) + np.uint64(key >> 32)) & _LOW
    for shift, factor in (11, 0xAC4C1B51), (15, 0x31848BAB):
        bits = ((bits ^ (bits >> np.uint64(shift))) * np.uint64(factor)) & _LOW
    return bits ^ (bits >> np.uint64(14))


def factors(noise: Noise, shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    """What the last forward of a dropout multiplied each number with, for an output of this shape and dtype."""
    number = np.dtype(dtype).type
    p = float(min(number(noise.share), np.nextafter(number(1), number(0))))
    if not noise.training or p == 0:
        return np.ones(shape, dtype)
    kept = bits_of(noise.seed, noise.count, int(np.prod(shape))) >= np.uint64(p * 2**32)
    return np.where(kept, number(1 / (1 - p)), number(0)).reshape(shape)


class Still:
    """The noises in a copy of a model, which can be set back, so that the same mask is drawn again."""

    def __init__(self, copied: dict[int, Any]):
        """`copied` is the memory of the `deepcopy`, which has all that is in the copy."""
        self._noises = [value for value in copied.values() if isinstance(value, Noise)]
        self._counts = [noise.count for noise in self._noises]

    def again(self) -> None:
        """Let what is drawn next be what was drawn first."""
        for noise, count in zip(self._noises, self._counts, strict=True):
            noise.count = count


def still_copy(model: Any, optimizer: Any) -> tuple[Any, Any, Still]:
    """Deep copies of a model and of its optimizer, which holds the tensors of that copy; and the noises of these."""
    copied: dict[int, Any] = {}
    return *copy.deepcopy((model, optimizer), copied), Still(copied)
