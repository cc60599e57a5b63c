"""Ctrl-C at the right moment."""

import contextlib
import signal
import threading
from collections.abc import Iterator


@contextlib.contextmanager
def held_back() -> Iterator[None]:
    """Hold back Ctrl-C (SIGINT) until the block ends, for what must be done whole or not at all.

    Python handles signals in the main thread; in others, and where Ctrl-C does something of the user's
    own, nothing is changed.
    """
    default = signal.default_int_handler
    if threading.current_thread() is not threading.main_thread() or signal.getsignal(signal.SIGINT) is not default:
        yield
        return
    came: list[int] = []
    try:  # from here on: the handler of another signal may raise as soon as this one is replaced
        signal.signal(signal.SIGINT, lambda number, frame: came.append(number))
        yield
    finally:
        signal.signal(signal.SIGINT, default)
    if came:
        raise KeyboardInterrupt
