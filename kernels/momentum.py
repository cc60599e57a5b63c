"""The momentum update (B. T. Polyak, 1964)."""

from ._jit import inlined, kernel
from .simd import at, flush, fma, load, pointer, sign, splat, store, width, zeros


@inlined
def update(p, v, g, size, learning_rate, momentum, weight_decay, l1):
    """v = momentum·v + (g + decay), p −= learning_rate·v, over `size` numbers, a multiple of the padding."""
    vector = zeros(p, 1, 1)
    minus_rate = splat(vector, -learning_rate)
    keep = splat(vector, momentum)
    decay = splat(vector, weight_decay)
    for i in range(0, size, width(vector)):
        parameter = load(vector, at(p, i), 0)
        gradient = load(vector, at(g, i), 0)
        if weight_decay != 0:
            gradient = fma(decay, sign(parameter) if l1 else parameter, gradient)
        velocity = flush(fma(keep, load(vector, at(v, i), 0), gradient))
        store(velocity, at(v, i), 0)
        store(fma(minus_rate, velocity, parameter), at(p, i), 0)


@kernel
def momentum_update(p, v, g, learning_rate, momentum, weight_decay, l1):
    """v = momentum·v + g + decay; p = p − learning_rate·v.

    decay = weight_decay·sign(p) where `l1`, else weight_decay·p. p, v, g (size,), size a multiple of the
    padding. Velocities below the smallest normal number become 0: arithmetic on them is slow on many CPUs.
    """
    real = p.dtype.type
    update(
        pointer(p, 0), pointer(v, 0), pointer(g, 0), p.size,
        real(learning_rate), real(momentum), real(weight_decay), l1,
    )  # fmt: skip
