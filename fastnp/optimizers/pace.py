"""The learning rate of each update: a number, or what a schedule gives."""

import contextlib
import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from ..checks import check_rate
from ..schedules import Schedule


def rate_at(owner: str, schedule: Callable[[int], Any], update: int) -> float:
    """What a schedule gives for the update that comes after so many. Raises TypeError or ValueError for no rate."""
    try:
        rate = schedule(update)
    except StopIteration as error:  # of which a generator, `fit` is one, would say nothing
        words = (
            f"{owner}: its schedule ended; asked for the rate of update {update}, counted from 0, it stopped iterating"
        )
        raise RuntimeError(words) from error
    except Exception as error:
        error.add_note(f"{owner}: its schedule was asked for the rate of update {update}, counted from 0")
        raise
    return check_rate(owner, f"what its schedule gives for update {update}, counted from 0,", rate)


def rates_ahead(
    owner: str, schedule: Callable[[int], Any], first: int, count: int
) -> tuple[np.ndarray, Exception | None]:
    """The rates of `count` updates, or those before the one for which a schedule gives none, and the error of that."""
    if isinstance(schedule, Schedule) and _asks_the_same(type(schedule)):
        with contextlib.suppress(Exception):  # which is for one update, and below it is asked for which
            known = schedule.rates(first, count)
            if (np.isfinite(known) & (known >= 0)).all():
                return known, None
    rates: list[float] = []
    try:
        for update in range(first, first + count):
            rates.append(rate_at(owner, schedule, update))
    except Exception as error:
        return np.array(rates), error
    return np.array(rates), None


def _asks_the_same(cls: type[Schedule]) -> bool:
    """Whether a class of schedules gives one rate and many by the same formula."""
    return cls.__call__ is Schedule.__call__ and cls.rates is Schedule.rates


def counted(step: Any) -> Callable[..., Any]:
    """A user's `step`, as it stands in a class, that counts the updates, unless it calls one that does."""
    bound = getattr(type(step), "__get__", None)  # which a function has, and also what binds otherwise, or not at all

    @functools.wraps(step)
    def counting(optimizer: Any, *arguments: Any, **options: Any) -> Any:
        before = optimizer.updates
        method = step if bound is None else bound(step, optimizer, type(optimizer))
        result = method(*arguments, **options)
        if optimizer.updates == before:
            optimizer.updates = before + 1
        return result

    counting.counts_updates = True  # type: ignore[attr-defined]
    return counting
