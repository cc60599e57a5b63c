"""Ctrl-C at the right moment."""

import contextlib
import signal
import threading
from collections.abc import Iterator
from typing import Any


class Holding:
    """What Ctrl-C (SIGINT) does during a training: nothing until the block `with` this object ends, then as always."""

    def __init__(self) -> None:
        self._depth = 0
        self.came = False

    def __call__(self, number: int, frame: Any) -> None:
        if self._depth:
            self.came = True
        else:
            signal.default_int_handler(number, frame)

    def __enter__(self) -> None:
        self._depth += 1

    def __exit__(self, *exception: Any) -> None:
        self._depth -= 1
        if self.came and not self._depth:
            self.came = False
            raise KeyboardInterrupt


@contextlib.contextmanager
def held_back() -> Iterator[contextlib.AbstractContextManager[None]]:
    """For the time of a training, an object inside of whose `with` blocks Ctrl-C waits.

    These are for what must be done whole or not at all. Python handles signals in the main thread; in
    others, and where Ctrl-C does something of the user's own, nothing is changed.
    """
    main = threading.current_thread() is threading.main_thread()
    current = signal.getsignal(signal.SIGINT) if main else None
    if isinstance(current, Holding):  # a training inside of a training
        yield current
    elif current is not signal.default_int_handler:
        yield contextlib.nullcontext()
    else:
        holding = Holding()
        try:  # from here on: the handler of another signal may raise as soon as this one is replaced
            signal.signal(signal.SIGINT, holding)
            yield holding
        finally:
            try:
                holding.__enter__()  # for a second Ctrl-C shall not keep the first handler from coming back
            finally:
                if signal.getsignal(signal.SIGINT) is holding:
                    signal.signal(signal.SIGINT, current)
            if holding.came:
                raise KeyboardInterrupt
