"""Attributes that show what an object remembers of its last call."""

from collections.abc import Callable
from typing import Any


class State:
    """An attribute that is read from where the object keeps it; a subclass that assigns it has its own."""

    def __init__(self, read: Callable[[Any], Any]):
        self.read = read

    def __get__(self, remembering: Any, owner: type) -> Any:
        return self if remembering is None else self.read(remembering)
