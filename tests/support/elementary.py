"""Elementary functions in as many digits as it takes, by mpmath: nothing here goes through NumPy or the kernels."""

import mpmath
import numpy as np

DIGITS = 50


def _sigmoid(x):
    return 1 / (1 + mpmath.exp(-x))


def _tail(a):
    """Φ(−a)"""
    return mpmath.erfc(a / mpmath.sqrt(2)) / 2


def _bent(x):
    return 2 * mpmath.sqrt(2 / mpmath.pi) * (x + mpmath.mpf("0.044715") * x**3)


def _bent_slope(x):
    return 2 * mpmath.sqrt(2 / mpmath.pi) * (1 + 3 * mpmath.mpf("0.044715") * x**2)


def _density(x):
    return mpmath.exp(-x * x / 2) / mpmath.sqrt(2 * mpmath.pi)


def _gated_slope(x, z, dz):
    return _sigmoid(z) * (1 + x * dz * _sigmoid(-z))


FUNCTIONS = {
    "exp": mpmath.exp,
    "expm1": mpmath.expm1,
    "log1p": mpmath.log1p,
    "tanh": mpmath.tanh,
    "sigmoid": _sigmoid,
    "silu": lambda x: x * _sigmoid(x),
    "gelu": lambda x: x * _tail(-x),
    "gelu_tanh": lambda x: x * _sigmoid(_bent(x)),
    "softplus": lambda x: mpmath.log1p(mpmath.exp(x)),
    "elu": lambda x: x if x > 0 else mpmath.expm1(x),
}
SLOPES = {
    "tanh": lambda x: mpmath.sech(x) ** 2,
    "sigmoid": lambda x: _sigmoid(x) * _sigmoid(-x),
    "silu": lambda x: _gated_slope(x, x, 1),
    "gelu": lambda x: _tail(-x) + x * _density(x),
    "gelu_tanh": lambda x: _gated_slope(x, _bent(x), _bent_slope(x)),
    "softplus": _sigmoid,
    "elu": lambda x: mpmath.mpf(1) if x > 0 else mpmath.exp(x),
}


def exact(function, x):
    """A function of each number of an array, as mpmath's numbers."""
    with mpmath.workdps(DIGITS):
        return [function(mpmath.mpf(float(number))) for number in x]


def errors(result, exact_values):
    """|result − exact|, and that in ulp of the exact value as the result's dtype has it; both as floats."""
    with mpmath.workdps(DIGITS), np.errstate(all="ignore"):
        differences = [abs(mpmath.mpf(float(y)) - value) for y, value in zip(result, exact_values, strict=True)]
        rounded = np.array([float(value) for value in exact_values]).astype(result.dtype)
        ulp = np.spacing(np.abs(rounded)).astype(np.float64)
        in_ulp = [float(d / mpmath.mpf(u)) for d, u in zip(differences, ulp.tolist(), strict=True)]
        return np.array([float(d) for d in differences]), np.array(in_ulp)
