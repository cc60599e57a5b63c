"""What is done with gradients: they are kept, or the parameters change at once.

A rule is called with the gradients, their parameters, what is kept of them (kinds, and then their shape), and its
numbers. These it makes once for each update, from the settings of an optimizer, the learning rate, and how many
updates were made before. Whatever is kept becomes 0 where it is below the smallest normal number.
"""

import math
from typing import Any, NamedTuple

import numpy as np

TINY = {char: np.finfo(char).tiny for char in "fd"}


class Rule(NamedTuple):
    """`update` is the rule; `begin` makes its numbers."""

    update: Any
    begin: Any = None


def _flush(kept):
    kept[np.abs(kept) < TINY[kept.dtype.char]] = 0


def _decayed(gradient, p, weight_decay, l1):
    """gradient + weight_decay·p, or weight_decay·sign(p) where l1 is not 0."""
    return gradient + weight_decay * (np.sign(p) if l1 != 0 else p) if weight_decay != 0 else gradient


def _accumulate(gradient, p, kept, numbers):
    if numbers[0] != 0:
        kept[0] += gradient
    else:
        kept[0] = gradient


gradients = Rule(_accumulate)


# --- momentum (B. T. Polyak, 1964; Y. Nesterov, 1983, as I. Sutskever et al., 2013, write it) ---


def _begin_momentum(numbers, settings, rate, before):
    """settings: momentum, weight decay, whether it is l1; numbers: the learning rate before these."""
    numbers[:4] = rate, *settings


def _velocity(gradient, velocity, momentum):
    velocity *= momentum
    velocity += gradient
    _flush(velocity)


def _momentum(gradient, p, kept, numbers):
    """g = gradient + decay; v = momentum·v + g; p = p − learning_rate·v."""
    learning_rate, momentum, weight_decay, l1 = numbers[:4]
    _velocity(_decayed(gradient, p, weight_decay, l1), kept[0], momentum)
    p -= learning_rate * kept[0]


momentum = Rule(_momentum, _begin_momentum)


def _nesterov(gradient, p, kept, numbers):
    """g = gradient + decay; v = momentum·v + g; p = p − learning_rate·(g + momentum·v)."""
    learning_rate, momentum, weight_decay, l1 = numbers[:4]
    gradient = _decayed(gradient, p, weight_decay, l1)
    _velocity(gradient, kept[0], momentum)
    p -= learning_rate * (gradient + momentum * kept[0])


nesterov = Rule(_nesterov, _begin_momentum)


# --- momentum of steps, each by the learning rate that it had ---


def _rated_momentum(gradient, p, kept, numbers):
    """g = gradient + decay; v = momentum·v + learning_rate·g; p = p − v."""
    learning_rate, momentum, weight_decay, l1 = numbers[:4]
    _velocity(learning_rate * _decayed(gradient, p, weight_decay, l1), kept[0], momentum)
    p -= kept[0]


rated_momentum = Rule(_rated_momentum, _begin_momentum)


def _rated_nesterov(gradient, p, kept, numbers):
    """g = gradient + decay; v = momentum·v + learning_rate·g; p = p − (learning_rate·g + momentum·v)."""
    learning_rate, momentum, weight_decay, l1 = numbers[:4]
    step = learning_rate * _decayed(gradient, p, weight_decay, l1)
    _velocity(step, kept[0], momentum)
    p -= step + momentum * kept[0]


rated_nesterov = Rule(_rated_nesterov, _begin_momentum)


# --- Adam (D. P. Kingma, J. Ba, 2015), also with the decay apart (I. Loshchilov, F. Hutter, 2019) ---


def _begin_adam(numbers, settings, rate, before):
    """settings: beta1, beta2, epsilon, weight decay, whether it is l1, whether it is apart from the gradients, whether
    epsilon is added to a √v that is not corrected.

    numbers: −rate / (1 − beta1ᵗ), beta1, 1 − beta1, beta2, 1 − beta2, 1 / √(1 − beta2ᵗ), epsilon as it is added to the
    corrected √v, the decay of the gradients, that of the parameters, whether it is l1; t counts from 1.
    """
    beta1, beta2, epsilon, decay, l1, apart, hat = settings.tolist()
    count = float(before + 1)
    step, scale = -rate / (1 - beta1**count), 1 / math.sqrt(1 - beta2**count)
    of_gradients, of_parameters = (0.0, -rate * decay) if apart else (decay, 0.0)
    epsilon *= scale if hat else 1
    numbers[:10] = step, beta1, 1 - beta1, beta2, 1 - beta2, scale, epsilon, of_gradients, of_parameters, l1


def _mean_of_squares(gradient, mean, keep, share):
    """v = keep·v + share·gradient²"""
    mean *= keep
    mean += share * gradient * gradient
    _flush(mean)


def _adam(gradient, p, kept, numbers):
    """g = gradient + decay; m = beta1·m + (1 − beta1)·g; v = beta2·v + (1 − beta2)·g²; p = p + decay; and then
    p = p − rate·m̂ / (√v̂ + epsilon), where m̂ = m / (1 − beta1ᵗ) and v̂ = v / (1 − beta2ᵗ).
    """
    step, beta1, share1, beta2, share2, scale, epsilon, of_gradients, of_parameters, l1 = numbers[:10]
    first, second = kept
    gradient = _decayed(gradient, p, of_gradients, l1)
    p[...] = _decayed(p, p, of_parameters, l1)
    first *= beta1
    first += share1 * gradient
    _flush(first)
    _mean_of_squares(gradient, second, beta2, share2)
    p += step * first / (np.sqrt(second) * scale + epsilon)


adam = Rule(_adam, _begin_adam)


# --- RMSprop (G. Hinton, 2012) ---


def _begin_rmsprop(numbers, settings, rate, before):
    """settings: alpha, epsilon, momentum, weight decay, whether it is l1; numbers: these, rate and 1 − alpha before."""
    numbers[:7] = rate, 1 - settings[0], *settings


def _scaled(gradient, p, mean, numbers):
    """g / (√v + epsilon), where g = gradient + decay and v = alpha·v + (1 − alpha)·g²."""
    share, alpha, epsilon, _, weight_decay, l1 = numbers[1:7]
    gradient = _decayed(gradient, p, weight_decay, l1)
    _mean_of_squares(gradient, mean, alpha, share)
    return gradient / (np.sqrt(mean) + epsilon)


def _rmsprop(gradient, p, kept, numbers):
    """p = p − rate·g / (√v + epsilon)"""
    p -= numbers[0] * _scaled(gradient, p, kept[0], numbers)


rmsprop = Rule(_rmsprop, _begin_rmsprop)


def _rmsprop_momentum(gradient, p, kept, numbers):
    """b = momentum·b + g / (√v + epsilon); p = p − rate·b."""
    _velocity(_scaled(gradient, p, kept[0], numbers), kept[1], numbers[4])
    p -= numbers[0] * kept[1]


rmsprop_momentum = Rule(_rmsprop_momentum, _begin_rmsprop)
