"""Faults in the NumPy kernels, for checks that must find them."""

from fastnp.backend import kernels_of
from fastnp.kernels.reference import link


class Changed:
    """Operands of a part, some of them others."""

    def __init__(self, op, **changes):
        self._op = op
        vars(self).update(changes)

    def __getattr__(self, name):
        return getattr(self._op, name)


def sound(part):
    """A part of the NumPy kernels."""
    return link.function_of(kernels_of("numpy").parts[part, "f"])


def plant(monkeypatch, part, function):
    """Let a function stand for a part."""
    numbers = [kernels_of("numpy").parts[part, char] for char in "fd"]
    functions = [function if number in numbers else found for number, found in enumerate(link._functions)]
    monkeypatch.setattr(link, "_functions", functions)
