"""Runs on both backends and in every layout, compared to the bit or by bounds that are carried from layer to layer."""

import itertools
from typing import NamedTuple

import bounds
import numpy as np
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from products import matrix_product
from strategies import SEEDS, integers, normal, of_all_sizes

import fastnp as nn
from fastnp.backend import BACKENDS

drawn = settings(
    max_examples=60, derandomize=True, deadline=None, database=None, suppress_health_check=list(HealthCheck)
)
ORDINARY = st.sampled_from([normal, of_all_sizes])
EXACT = st.just(integers)


def same(a, b):
    a, b = np.asarray(a), np.asarray(b)
    assert bounds.same_bits(np.atleast_1d(a), np.atleast_1d(b))


def bits_of(array):
    """The bytes of an array whatever its layout, and that layout."""
    return array.tobytes(), array.dtype, array.shape, array.strides, array.flags.writeable


def on_each_backend(run, pairs):
    """{backend: results} of `run(*arrays)`; the laid out arrays must give the plain ones' bits, and stay unchanged."""
    results = {}
    for backend in BACKENDS:
        with nn.use_backend(backend), np.errstate(all="ignore"):
            plain = run(*(plain for plain, _ in pairs))
            before = [bits_of(laid_out) for _, laid_out in pairs]
            other = run(*(laid_out for _, laid_out in pairs))
            assert [bits_of(laid_out) for _, laid_out in pairs] == before
            assert len(plain) == len(other) > 0
            for a, b in zip(plain, other, strict=True):
                same(a, b)
            results[backend] = plain
    return results


def assert_same_on_both(results):
    for fast, twin in zip(*(results[backend] for backend in BACKENDS), strict=True):
        same(fast, twin)


class Ball(NamedTuple):
    """Numbers in higher precision, and how far from them a computation may be."""

    value: np.ndarray
    radius: np.ndarray

    @classmethod
    def exactly(cls, array):
        high = array.astype(bounds.HIGHER[array.dtype])
        return cls(high, 0 * high)

    @property
    def T(self):
        return Ball(self.value.T, self.radius.T)

    def times(self, other, dtype, start=None):
        """The product (+ start), and how far from it one in `dtype` of numbers within both may be."""
        a, b = np.abs(self.value), np.abs(other.value)
        radius = (
            matrix_product(a, other.radius) + matrix_product(self.radius, b) + matrix_product(self.radius, other.radius)
        )
        value, size = matrix_product(self.value, other.value), matrix_product(a + self.radius, b + other.radius)
        if start is not None:
            value, size = value + start.value, size + np.abs(start.value)
        exact = bounds.Exact(value, size, self.value.shape[1] + (start is not None), np.dtype(dtype))
        return Ball(value, radius + bounds.hard_bound(exact))

    def holds(self, name, results):
        """AssertionError where a backend is outside, or the two are further apart than twice the radius."""
        high = [results[backend].astype(self.value.dtype) for backend in BACKENDS]
        for backend, result in zip(BACKENDS, high, strict=True):
            assert bounds.fraction(f"{name} {backend}", result - self.value, self.radius) <= 1
        assert bounds.fraction(f"{name} twins", high[0] - high[1], 2 * self.radius) <= 1


def linear_of(weights, bias, dtype):
    return nn.Linear(*weights.shape, weight_attr=lambda shape: weights, bias_attr=lambda shape: bias, dtype=dtype)


def dense(data, widths, dtype, values):
    """A function that makes Linear, ReLU, Linear, … anew, and the weights and biases."""
    rng = np.random.default_rng(data.draw(SEEDS))
    made = []
    for n_in, n_out in itertools.pairwise(widths):
        w, b = (values(rng, shape).astype(dtype) for shape in ((n_in, n_out), (1, n_out)))
        made.append((w if values is integers else (w / np.sqrt(n_in)).astype(dtype), b))

    def make():
        layers = []
        for w, b in made:
            layers += [nn.ReLU()] if layers else []
            layers.append(linear_of(w, b, dtype))
        return nn.Sequential(*layers)

    return make, made
