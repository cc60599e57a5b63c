"""The rules of optimizers in higher precision, each judged by the numbers that it has, as their dtype rounds them.

What is kept may be off by the rounding of its terms, and by a number smaller than the smallest normal one; parameters
are judged by what was kept.
"""

from functools import partial

import bounds
import numpy as np


class _Judge:
    """Terms in higher precision, with how far a kernel that rounds after each operation may be off."""

    def __init__(self, dtype):
        self.dtype, self.eps = dtype, np.finfo(dtype).eps
        self.tiny = np.finfo(dtype).tiny

    def ulp(self, *terms):
        largest = np.max([np.abs(np.broadcast_to(term, np.shape(terms[0]))) for term in terms], axis=0)
        return np.spacing(largest.astype(self.dtype)).astype(bounds.HIGHER[self.dtype])

    def decayed(self, g, p, weight_decay, l1):
        if not weight_decay:
            return g, 0 * g
        term = weight_decay * (np.sign(p) if l1 else p)
        return g + term, 2 * self.ulp(g, term)

    def kept(self, keep, old, share, term, off):
        """keep·old + share·term, where the term is off by so much."""
        bound = 2 * self.ulp(keep * old, share * term) + 2 * self.eps * abs(share * term) + share * off + self.tiny
        return keep * old + share * term, bound


def _momentum(of, numbers, p, g, v, new_v, nesterov=False, rated=False):
    rate, momentum, weight_decay, l1 = numbers[:4]
    g, off = of.decayed(g, p, weight_decay, l1)
    if rated:
        g, off, rate = rate * g, rate * off + of.ulp(rate * g), 1
    yield "velocity", *of.kept(momentum, v, 1, g, off)
    step, off = (g + momentum * new_v, off + 2 * of.ulp(g, momentum * new_v)) if nesterov else (new_v, 0)
    yield "parameter", p - rate * step, 2 * of.ulp(p, rate * step) + rate * off


def _adam(of, numbers, p, g, m, v, new_m, new_v):
    step, beta1, share1, beta2, share2, scale, epsilon, of_gradients, of_parameters, l1 = numbers[:10]
    g, off = of.decayed(g, p, of_gradients, l1)
    yield "first moment", *of.kept(beta1, m, share1, g, off)
    yield "second moment", *of.kept(beta2, v, share2, g * g, 2 * abs(g) * off + off * off + of.eps * g * g)
    p, off = of.decayed(p, p, of_parameters, l1)
    step = step * new_m / (np.sqrt(new_v) * scale + epsilon)
    yield "parameter", p + step, off + 2 * of.ulp(p, step) + 4 * of.eps * abs(step)


def _rmsprop(of, numbers, p, g, v, b, new_v, new_b, momentum=False):
    rate, share, alpha, epsilon, keep, weight_decay, l1 = numbers[:7]
    g, off = of.decayed(g, p, weight_decay, l1)
    yield "mean square", *of.kept(alpha, v, share, g * g, 2 * abs(g) * off + off * off + of.eps * g * g)
    below = np.sqrt(new_v) + epsilon
    step, off = g / below, off / below + 4 * of.eps * abs(g / below)
    if momentum:
        yield "velocity", *of.kept(keep, b, 1, step, off)
        step, off = new_b, 0
    else:
        yield "velocity", b, 0 * b
    yield "parameter", p - rate * step, 2 * of.ulp(p, rate * step) + rate * off


JUDGES = {
    "momentum": _momentum,
    "nesterov": partial(_momentum, nesterov=True),
    "rated_momentum": partial(_momentum, rated=True),
    "rated_nesterov": partial(_momentum, nesterov=True, rated=True),
    "adam": _adam,
    "rmsprop": _rmsprop,
    "rmsprop_momentum": partial(_rmsprop, momentum=True),
}


def check_rule(rule, numbers, new, old, g):
    """AssertionError where an update of (p, *kept), old → new, breaks a rule with these numbers."""
    dtype = g.dtype
    high = bounds.HIGHER[dtype]
    numbers, g, (p, *kept) = numbers.astype(high), g.astype(high), (array.astype(high) for array in old)
    new_p, *new_kept = (array.astype(high) for array in new)
    judged = list(JUDGES[rule](_Judge(dtype), numbers, p, g, *kept, *new_kept))
    for (what, exact, bound), got in zip(judged, (*new_kept, new_p), strict=True):
        bound = np.maximum(bound, np.finfo(high).tiny)
        assert bounds.fraction(f"{rule} {what}", got - exact, bound) <= 1, what
