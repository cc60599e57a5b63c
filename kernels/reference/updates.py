"""What is done with gradients: they are kept, or the parameters change at once.

A rule is called with the gradients, their parameters, what is kept of them (kinds, and then their shape), and
the numbers of the rule.
"""

import numpy as np

TINY = {char: np.finfo(char).tiny for char in "fd"}


def gradients(gradient, p, kept, numbers):
    """Kept for later: stored, or added to those that are there where numbers[0] is not 0."""
    if numbers[0] != 0:
        kept[0] += gradient
    else:
        kept[0] = gradient


def momentum(gradient, p, kept, numbers):
    """v = momentum·v + g + decay; p = p − learning_rate·v. Velocities below the smallest normal number become 0.

    numbers: learning rate, momentum, weight decay, whether it is l1. (B. T. Polyak, 1964)
    """
    v = kept[0]
    learning_rate, keep, weight_decay, l1 = numbers
    v *= keep
    if weight_decay != 0:
        v += gradient + weight_decay * (np.sign(p) if l1 else p)
    else:
        v += gradient
    v[np.abs(v) < TINY[p.dtype.char]] = 0
    p -= learning_rate * v
