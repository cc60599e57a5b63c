"""Layer normalization in higher precision, and how far from that the arithmetic may lead."""

import numpy as np

from .exact import sum_bound, unit, wide

DOUBLE = 2.0**-53
SECOND_ORDER = 1.01  # products of two roundings


class Normalized:
    """Rows x (batch, n), normalized: x̂ = c·s, c = x − mean, s = 1 / √(var + ε); `value` is x̂, `scale` s.

    Sums of n doubles, in any order, and their division by n are within γ = (n + 2)·2⁻⁵³ / (1 − …) of the exact ones,
    relative to the mean of the absolute values. The mean is that of x and then that of what the first left, kept as two
    numbers: it is off by γ·mean|c| + (γ² + 2u²)·mean|x|, u the unit roundoff of the dtype. Taking it away in two steps
    rounds twice, 2u·|c|; the second number, at most (u + γ)·mean|x|, is rounded once. Call e what c may be off in
    double; then var is off by (4·2⁻⁵³ + γ)·var + 2e·mean|c| + e², and s by half of that relative to var + ε, three
    roundings in double and one in the dtype. `error` is what x̂ may be off, `scale_error` s, relative to it.
    """

    def __init__(self, x: np.ndarray, epsilon: float):
        self.dtype, n = x.dtype, x.shape[1]
        self.u, self.tiny = unit(x.dtype), float(np.finfo(x.dtype).tiny)
        u, self.gamma = self.u, (n + 2) * DOUBLE / (1 - (n + 2) * DOUBLE)
        centred = wide(x)
        size = self._mean(abs(centred))
        centred = centred - self._mean(centred)
        centred = centred - self._mean(centred)
        spread, variance = self._mean(abs(centred)), self._mean(centred * centred)
        self.scale = 1 / np.sqrt(variance + epsilon)
        self.value = centred * self.scale
        shift = self.gamma * spread + (self.gamma**2 + 2 * u * u) * size
        double = shift + 2 * DOUBLE * self.gamma * size
        off = ((4 * DOUBLE + self.gamma) * variance + 2 * double * spread + double**2) / (variance + epsilon)
        self.scale_error = np.where(off < 0.1, off * (0.5 + off), np.inf) + 3 * DOUBLE + u
        centred_error = 2 * u * abs(centred) + u * (u + self.gamma) * size + shift
        self.error = SECOND_ORDER * (self.scale * centred_error + abs(self.value) * (self.scale_error + u)) + self.tiny

    @staticmethod
    def _mean(numbers: np.ndarray) -> np.ndarray:
        mean: np.ndarray = np.mean(numbers, axis=1, keepdims=True)
        return mean

    def output(self, weights: np.ndarray, bias: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """y = x̂·weights + bias, and its bound: product and sum are rounded."""
        product = self.value * weights
        exact = product + bias
        return exact, SECOND_ORDER * (abs(weights) * self.error + self.u * (abs(product) + abs(exact))) + self.tiny

    def input_gradient(self, dy: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """dx = s·(g − mean(g) − x̂·mean(g·x̂)), g = dy·weights, and its bound.

        g is rounded; both means are summed in double and rounded; then two subtractions and a product are.
        """
        u, x = self.u, self.value
        g = dy * weights
        mean, slope = self._mean(g), self._mean(g * x)
        mean_error = (u + self.gamma) * self._mean(abs(g)) + u * abs(mean)
        slope_error = self._mean(abs(g) * (self.error + (2 * u + self.gamma) * abs(x))) + u * abs(slope)
        inner = g - mean - x * slope
        roundings = u * (abs(g) + abs(g - mean) + abs(x * slope) + abs(inner))
        error = roundings + mean_error + abs(x) * slope_error + abs(slope) * self.error
        exact = self.scale * inner
        return exact, SECOND_ORDER * (self.scale * error + abs(exact) * (self.scale_error + u)) + self.tiny

    def weights_gradient(self, dy: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Σ dy·x̂ over the rows, and its bound."""
        terms, of_value = dy * self.value, np.sum(abs(dy) * self.error, axis=0, keepdims=True)
        bound = sum_bound(len(dy) + 1, self.dtype, np.sum(abs(terms), axis=0, keepdims=True))
        return np.sum(terms, axis=0, keepdims=True), bound + SECOND_ORDER * of_value
