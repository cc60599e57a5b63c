"""What is done with a tile of gradients: it is kept, or the parameters change at once.

A rule is called with the gradients, where their parameters are, where what is kept of them is, how far apart
there one kind of it is from the next, the distance of rows, and its numbers. These it makes once for each update, in
double, from the settings of an optimizer, the learning rate, and how many updates were made before: of numbers that
are not of a parameter, nothing is kept. `memory`, numbers of the last update in one call, only saves time.

Whatever is kept becomes 0 where it is below the smallest normal number.
"""

import math
from typing import Any, NamedTuple

from ._jit import inlined, inner
from .powers import power_of
from .simd import (
    add,
    at,
    divide,
    flush,
    fma,
    load,
    multiply,
    number_like,
    prefetch,
    read,
    root,
    sign,
    splat,
    store,
    subtract,
    write,
)


class Rule(NamedTuple):
    """`update` is the rule; `ahead` asks for the cache lines that it will write; `begin` makes its numbers."""

    update: Any
    ahead: Any
    begin: Any = None


@inlined
def _write(numbers, values):
    for i in range(len(values)):
        write(at(numbers, i), number_like(numbers, values[i]))


@inlined
def _decayed(gradient, parameter, weight_decay, l1):
    """gradient + weight_decay·parameter, or weight_decay·sign(parameter) where l1 is not 0."""
    if weight_decay != 0:
        decay = splat(gradient, weight_decay)
        gradient = fma(decay, sign(parameter) if l1 != 0 else parameter, gradient)
    return gradient


@inlined
def _ahead(tile, p, kept, far, ld):
    prefetch(tile, p, ld)
    prefetch(tile, kept, ld)


@inlined
def _ahead_of_two(tile, p, kept, far, ld):
    prefetch(tile, p, ld)
    prefetch(tile, kept, ld)
    prefetch(tile, at(kept, far), ld)


# --- gradients, kept for later: stored, or added to those that are there where numbers[0] is not 0 ---


@inner
def _accumulate(gradient, p, kept, far, ld, numbers):
    if read(numbers) != 0:
        gradient = add(load(gradient, kept, ld), gradient)
    store(gradient, kept, ld)


@inlined
def _nothing_ahead(tile, p, kept, far, ld):
    pass


gradients = Rule(_accumulate, _nothing_ahead)


# --- momentum (B. T. Polyak, 1964; Y. Nesterov, 1983, as I. Sutskever et al., 2013, write it) ---


@inlined
def _begin_momentum(numbers, settings, rate, before, memory, first):
    """settings: momentum, weight decay, whether it is l1; numbers: the learning rate before these."""
    _write(numbers, (rate, read(settings), read(at(settings, 1)), read(at(settings, 2))))


@inlined
def _velocity(gradient, velocity, ld, numbers):
    new = flush(fma(splat(gradient, read(at(numbers, 1))), load(gradient, velocity, ld), gradient))
    store(new, velocity, ld)
    return new


@inner
def _momentum(gradient, p, velocity, far, ld, numbers):
    """g = gradient + decay; v = momentum·v + g; p = p − learning_rate·v."""
    parameter = load(gradient, p, ld)
    gradient = _decayed(gradient, parameter, read(at(numbers, 2)), read(at(numbers, 3)))
    new = _velocity(gradient, velocity, ld, numbers)
    store(fma(splat(gradient, -read(numbers)), new, parameter), p, ld)


momentum = Rule(_momentum, _ahead, _begin_momentum)


@inner
def _nesterov(gradient, p, velocity, far, ld, numbers):
    """g = gradient + decay; v = momentum·v + g; p = p − learning_rate·(g + momentum·v)."""
    parameter = load(gradient, p, ld)
    gradient = _decayed(gradient, parameter, read(at(numbers, 2)), read(at(numbers, 3)))
    step = fma(splat(gradient, read(at(numbers, 1))), _velocity(gradient, velocity, ld, numbers), gradient)
    store(fma(splat(gradient, -read(numbers)), step, parameter), p, ld)


nesterov = Rule(_nesterov, _ahead, _begin_momentum)


# --- momentum of steps, each by the learning rate that it had ---


@inner
def _rated_momentum(gradient, p, velocity, far, ld, numbers):
    """g = gradient + decay; v = momentum·v + learning_rate·g; p = p − v."""
    parameter = load(gradient, p, ld)
    gradient = _decayed(gradient, parameter, read(at(numbers, 2)), read(at(numbers, 3)))
    step = multiply(splat(gradient, read(numbers)), gradient)
    store(subtract(parameter, _velocity(step, velocity, ld, numbers)), p, ld)


rated_momentum = Rule(_rated_momentum, _ahead, _begin_momentum)


@inner
def _rated_nesterov(gradient, p, velocity, far, ld, numbers):
    """g = gradient + decay; v = momentum·v + learning_rate·g; p = p − (learning_rate·g + momentum·v)."""
    parameter = load(gradient, p, ld)
    gradient = _decayed(gradient, parameter, read(at(numbers, 2)), read(at(numbers, 3)))
    step = multiply(splat(gradient, read(numbers)), gradient)
    step = fma(splat(gradient, read(at(numbers, 1))), _velocity(step, velocity, ld, numbers), step)
    store(subtract(parameter, step), p, ld)


rated_nesterov = Rule(_rated_nesterov, _ahead, _begin_momentum)


# --- Adam (D. P. Kingma, J. Ba, 2015), also with the decay apart (I. Loshchilov, F. Hutter, 2019) ---


@inlined
def _begin_adam(numbers, settings, rate, before, memory, first):
    """settings: beta1, beta2, epsilon, weight decay, whether it is l1, whether it is apart from the gradients, whether
    epsilon is added to a √v that is not corrected.

    numbers: −rate / (1 − beta1ᵗ), beta1, 1 − beta1, beta2, 1 − beta2, 1 / √(1 − beta2ᵗ), epsilon as it is added to the
    corrected √v, the decay of the gradients, that of the parameters, whether it is l1; t counts from 1.
    In memory are the two powers.
    """
    beta1, beta2, decay = read(settings), read(at(settings, 1)), read(at(settings, 3))
    l1, apart = read(at(settings, 4)), read(at(settings, 5)) != 0
    count = before + 1
    power1, power2 = power_of(beta1, count, memory, first), power_of(beta2, count, at(memory, 2), first)
    step, scale = -rate / (1 - power1), 1 / math.sqrt(1 - power2)
    of_gradients, of_parameters = 0.0 if apart else decay, -rate * decay if apart else 0.0
    epsilon = read(at(settings, 2)) * (scale if read(at(settings, 6)) != 0 else 1.0)
    _write(numbers, (step, beta1, 1 - beta1, beta2, 1 - beta2, scale, epsilon, of_gradients, of_parameters, l1))


@inlined
def _mean_of_squares(gradient, kept, ld, keep, share):
    """v = keep·v + share·gradient²"""
    square = multiply(gradient, multiply(splat(gradient, share), gradient))
    new = flush(fma(splat(gradient, keep), load(gradient, kept, ld), square))
    store(new, kept, ld)
    return new


@inner
def _adam(gradient, p, kept, far, ld, numbers):
    """g = gradient + decay; m = beta1·m + (1 − beta1)·g; v = beta2·v + (1 − beta2)·g²; p = p + decay; and then
    p = p − rate·m̂ / (√v̂ + epsilon), where m̂ = m / (1 − beta1ᵗ) and v̂ = v / (1 − beta2ᵗ).
    """
    parameter, l1 = load(gradient, p, ld), read(at(numbers, 9))
    gradient = _decayed(gradient, parameter, read(at(numbers, 7)), l1)
    parameter = _decayed(parameter, parameter, read(at(numbers, 8)), l1)
    share = multiply(splat(gradient, read(at(numbers, 2))), gradient)
    first = flush(fma(splat(gradient, read(at(numbers, 1))), load(gradient, kept, ld), share))
    store(first, kept, ld)
    second = _mean_of_squares(gradient, at(kept, far), ld, read(at(numbers, 3)), read(at(numbers, 4)))
    below = fma(root(second), splat(gradient, read(at(numbers, 5))), splat(gradient, read(at(numbers, 6))))
    store(add(parameter, divide(multiply(splat(gradient, read(numbers)), first), below)), p, ld)


adam = Rule(_adam, _ahead_of_two, _begin_adam)


# --- RMSprop (G. Hinton, 2012) ---


@inlined
def _begin_rmsprop(numbers, settings, rate, before, memory, first):
    """settings: alpha, epsilon, momentum, weight decay, whether it is l1; numbers: these, rate and 1 − alpha before."""
    _write(numbers, (
        rate, 1 - read(settings), read(settings), read(at(settings, 1)), read(at(settings, 2)), read(at(settings, 3)),
        read(at(settings, 4)),
    ))  # fmt: skip


@inlined
def _scaled(gradient, parameter, kept, ld, numbers):
    """g / (√v + epsilon), where g = gradient + decay and v = alpha·v + (1 − alpha)·g²."""
    gradient = _decayed(gradient, parameter, read(at(numbers, 5)), read(at(numbers, 6)))
    mean = _mean_of_squares(gradient, kept, ld, read(at(numbers, 2)), read(at(numbers, 1)))
    return divide(gradient, add(root(mean), splat(gradient, read(at(numbers, 3)))))


@inner
def _rmsprop(gradient, p, kept, far, ld, numbers):
    """p = p − rate·g / (√v + epsilon)"""
    parameter = load(gradient, p, ld)
    step = _scaled(gradient, parameter, kept, ld, numbers)
    store(fma(splat(gradient, -read(numbers)), step, parameter), p, ld)


rmsprop = Rule(_rmsprop, _ahead, _begin_rmsprop)


@inner
def _rmsprop_momentum(gradient, p, kept, far, ld, numbers):
    """b = momentum·b + g / (√v + epsilon); p = p − rate·b."""
    parameter, velocity = load(gradient, p, ld), at(kept, far)
    step = _scaled(gradient, parameter, kept, ld, numbers)
    new = flush(fma(splat(gradient, read(at(numbers, 4))), load(gradient, velocity, ld), step))
    store(new, velocity, ld)
    store(fma(splat(gradient, -read(numbers)), new, parameter), p, ld)


rmsprop_momentum = Rule(_rmsprop_momentum, _ahead_of_two, _begin_rmsprop)
