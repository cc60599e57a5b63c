"""Numbers in higher precision, which know how far from them the arithmetic may lead."""

from typing import Any

import numpy as np

from .exact import unit


class Rounded:
    """What numbers of a dtype should be, and how far those that are computed may be off.

    Each operation hands on what its operands may be off, and what it gives is rounded, whatever the order and fused or
    not: by u of it, where u is the unit roundoff, or by the smallest number there is (N. J. Higham, "Accuracy and
    Stability of Numerical Algorithms", 2002, section 3.3); what may overflow may be off by anything. Settings, which
    are doubles, are rounded to float32 before they meet such numbers.
    """

    def __init__(self, value: Any, dtype: Any, error: Any = 0.0):
        self.dtype = np.dtype(dtype)
        high = np.float64 if self.dtype == np.float32 else np.longdouble
        self.value: np.ndarray[Any, Any] = np.asarray(value, high)
        self.error: np.ndarray[Any, Any] = np.asarray(error, high)

    @staticmethod
    def setting(value: Any, error: Any = 0.0) -> "Rounded":
        return Rounded(value, np.float64, error)

    @staticmethod
    def _rounded(value: Any, error: Any, dtype: np.dtype) -> "Rounded":
        """A value that is computed from what may be off so much; here, too, it was rounded."""
        units = unit(dtype) + unit(np.float64 if dtype == np.float32 else np.longdouble)
        error = error + units * (abs(value) + error) + float(np.finfo(dtype).smallest_subnormal)
        return Rounded(value, dtype, np.where(abs(value) + error <= float(np.finfo(dtype).max), error, np.inf))

    def _to(self, dtype: np.dtype) -> "Rounded":
        return self if dtype == self.dtype else self._rounded(self.value, self.error, dtype)

    def _pair(self, other: Any) -> tuple["Rounded", "Rounded"]:
        """Both in the narrower dtype."""
        other = other if isinstance(other, Rounded) else Rounded.setting(other)
        dtype = min(self.dtype, other.dtype, key=lambda dtype: dtype.itemsize)
        return self._to(dtype), other._to(dtype)

    def sign(self) -> "Rounded":
        """Of numbers that are exact."""
        return Rounded(np.sign(self.value), self.dtype)

    def __neg__(self) -> "Rounded":
        return Rounded(-self.value, self.dtype, self.error)

    def __add__(self, other: Any) -> "Rounded":
        a, b = self._pair(other)
        return self._rounded(a.value + b.value, a.error + b.error, a.dtype)

    __radd__ = __add__

    def __sub__(self, other: Any) -> "Rounded":
        return self + -other

    def __rsub__(self, other: Any) -> "Rounded":
        return -self + other

    def __mul__(self, other: Any) -> "Rounded":
        a, b = self._pair(other)
        error = abs(a.value) * b.error + abs(b.value) * a.error + a.error * b.error
        return self._rounded(a.value * b.value, error, a.dtype)

    __rmul__ = __mul__

    def __truediv__(self, other: Any) -> "Rounded":
        a, b = self._pair(other)
        quotient = a.value / b.value
        error = (a.error + abs(quotient) * b.error) / np.maximum(abs(b.value) - b.error, 0)
        return self._rounded(quotient, error, a.dtype)

    def __rtruediv__(self, other: Any) -> "Rounded":
        return Rounded.setting(other) / self

    def __pow__(self, exponent: float) -> "Rounded":
        """The root: of no other exponent is it known."""
        assert exponent == 0.5
        root = np.sqrt(self.value)
        return self._rounded(root, root - np.sqrt(np.maximum(self.value - self.error, 0)), self.dtype)

    def __rpow__(self, base: float) -> "Rounded":
        """A setting to the power of a count, of which a kernel may make as many products.

        It makes 64 at most, from one on that the C library gives within 1 ulp, and what is below 1e-30 may be 0.
        """
        power = np.asarray(base, self.value.dtype) ** self.value
        return Rounded(power, self.dtype, (np.minimum(self.value, 64) + 2) * unit(self.dtype) * power + 1e-30)
