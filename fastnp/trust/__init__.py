"""Checks that anybody can run: kernels against higher precision, gradients against difference quotients."""

from .cross_check import cross_check
from .gradient_check import gradient_check

__all__ = ["cross_check", "gradient_check"]
