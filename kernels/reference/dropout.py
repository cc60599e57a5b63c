"""Dropout: numbers are left out at random, and what is kept is multiplied to make up for it."""

import numpy as np

from ..table import COUNT_BASE, Operation

_BITS = 2**64 - 1


def _mix(number):
    """A hash of 64 bits: the next of splitmix64 (G. L. Steele, D. Lea, C. H. Flood, 2014)."""
    number = number + 0x9E3779B97F4A7C15 & _BITS
    number = (number ^ number >> 30) * 0xBF58476D1CE4E5B9 & _BITS
    number = (number ^ number >> 27) * 0x94D049BB133111EB & _BITS
    return number ^ number >> 31


def _random_bits(key, places):
    """32 bits for each place: C. Wellons' triple32, the other half of the key behind its first round."""
    low, high = np.array([key & 0xFFFFFFFF, key >> 32], np.uint32)
    x = places + low
    x = (x ^ x >> 17) * np.uint32(0xED5AD4BB) + high
    x = (x ^ x >> 11) * np.uint32(0xAC4C1B51)
    x = (x ^ x >> 15) * np.uint32(0x31848BAB)
    return x ^ x >> 14


def _apply(out, z, op):
    """out = z / (1 − p), or 0 with probability p; z itself where p is 0."""
    p, low, high = op.memory(3).tolist()
    if p > 0:
        key = _mix(_mix(op.seed) + int(low) + COUNT_BASE * int(high))
        places = np.add.outer(np.arange(op.batch) * op.n_out, np.arange(out.shape[1])).astype(np.uint32)
        kept = _random_bits(key, places) >= int(p * 2**32)
        np.copyto(out, np.where(kept, z * out.dtype.type(1 / (1 - p)), 0))
    else:
        np.copyto(out, z)


def forward(op):
    """y = x / (1 − p), or 0 with probability p; counts on. y = x where p is 0."""
    memory = op.memory(3)
    if memory[0] > 0:
        memory[1] += 1
        if memory[1] == COUNT_BASE:
            memory[1:] = 0, memory[2] + 1
    _apply(op.y, op.x, op)


def input_gradient(op):
    """dx = dy / (1 − p), or 0 where forward left the number out."""
    _apply(op.dx, op.dy, op)


dropout = Operation(forward, input_gradient)
