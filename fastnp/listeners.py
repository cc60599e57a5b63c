"""Who is told of changes, for he cannot ask: code of the user's own that has the address of a network in it."""

import threading
import weakref
from typing import Protocol


class Listener(Protocol):
    """Whoever wants to know."""

    def changed(self) -> None:
        """Something may have changed, or is about to."""


_listeners: tuple["weakref.ref[Listener]", ...] = ()
_lock = threading.Lock()


def listen(listener: Listener) -> None:
    """Tell an object of changes from now on, for as long as somebody holds it."""
    global _listeners
    with _lock:
        _listeners = *(ref for ref in _listeners if ref() is not None), weakref.ref(listener)


def tell() -> None:
    """Tell all who listen."""
    for ref in _listeners:
        listener = ref()
        if listener is not None:
            listener.changed()
