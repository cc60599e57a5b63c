"""The momentum update (B. T. Polyak, 1964)."""

from ._jit import inlined, kernel
from .simd import at, flush, fma, load, pointer, sign, splat, store, width, zeros


@inlined
def update(gradient, p, v, ld, learning_rate, momentum, weight_decay, l1):
    """Update the tile of parameters at p and of velocities at v, rows ld apart, by a tile of gradients."""
    parameter = load(gradient, p, ld)
    if weight_decay != 0:
        decay = splat(gradient, weight_decay)
        gradient = fma(decay, sign(parameter) if l1 else parameter, gradient)
    velocity = flush(fma(splat(gradient, momentum), load(gradient, v, ld), gradient))
    store(velocity, v, ld)
    store(fma(splat(gradient, -learning_rate), velocity, parameter), p, ld)


@kernel
def momentum_update(p, v, g, learning_rate, momentum, weight_decay, l1):
    """v = momentum·v + g + decay; p = p − learning_rate·v.

    decay = weight_decay·sign(p) where `l1`, else weight_decay·p. p, v, g (size,), size a multiple of the
    padding. Velocities below the smallest normal number become 0: arithmetic on them is slow on many CPUs.
    """
    real = p.dtype.type
    rate, keep, decay = real(learning_rate), real(momentum), real(weight_decay)
    p_, v_, g_ = pointer(p, 0), pointer(v, 0), pointer(g, 0)
    vector = zeros(p_, 1, 1)
    for i in range(0, p.size, width(vector)):
        update(load(vector, at(g_, i), 0), at(p_, i), at(v_, i), 0, rate, keep, decay, l1)
