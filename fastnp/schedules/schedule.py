"""What all schedules are: functions of the number of updates, which give many rates at once, and do not change."""

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import numpy as np

from ..checks import check_integer, check_positive_integer, shown

Checks = Mapping[str, Callable[[str, str, Any], Any]]

BLOCK = 4096  # updates whose rates are computed at once
_FROM_0 = np.arange(float(BLOCK))
MOST = 2**53  # up to here all integers are doubles


class Schedule:
    """Base class of the schedules of fastnp; one of your own is any callable.

    `schedule(update)` is the rate, a float, of the update before which `update` were made. `schedule.rates(first,
    count)` are those of `count` updates from `first` on, a new float64 array (count,), with the same bits.

    Settings are attributes. They are checked when a schedule is made (TypeError or ValueError that names the setting),
    and cannot be assigned afterwards (AttributeError): make a new one. Schedules of one class with equal settings are
    equal. They can be pickled and copied, and asked from several threads.
    """

    _checks: ClassVar[Checks] = {}  # of the settings, in order
    _block: tuple[int, np.ndarray] = -1, np.empty(0)  # the rates that were computed last, and which block they are

    def _keep(self, **settings: Any) -> None:
        for name, value in settings.items():
            object.__setattr__(self, name, self._checks[name](type(self).__name__, name, value))

    # --- rates ---

    def __call__(self, update: int) -> float:
        if type(update) is not int or update < 0:
            update = check_integer(type(self).__name__, "update", update, 0)
        return self._block_with(update).item(update % BLOCK)

    def rates(self, first: int, count: int) -> np.ndarray:
        """The rates of `count` updates from `first` on, float64 (count,).

        Raises TypeError for what are no integers, ValueError for negative ones.
        """
        first = check_integer(type(self).__name__, "first", first, 0)
        rates = np.empty(check_integer(type(self).__name__, "count", count, 0))
        done = 0
        while done < rates.size:
            some = self._block_with(first + done)[(first + done) % BLOCK :][: rates.size - done]
            rates[done : done + some.size] = some
            done += some.size
        return rates

    def _block_with(self, update: int) -> np.ndarray:
        """The rates of the block of updates that has this one in it.

        An update's rate is always computed with the same others, for NumPy may compute some numbers of an array by
        other instructions than the rest. Where the rate stays the same, the first block with nothing else in it stands
        for all that follow.
        """
        number, settled = update // BLOCK, self._settled()
        if settled is not None:
            number = min(number, -(-settled // BLOCK))
        known, rates = self._block
        if known != number:
            with np.errstate(all="ignore"):  # what grows beyond all doubles is inf, and what vanishes is 0
                rates = self._formula(float(number * BLOCK) + _FROM_0)
            rates.flags.writeable = False
            object.__setattr__(self, "_block", (number, rates))
        return rates

    def _formula(self, updates: np.ndarray) -> np.ndarray:
        """The rates of a block of updates, which are float64 (BLOCK,)."""
        raise NotImplementedError(f"{type(self).__name__} has no formula; a schedule of your own is any callable")

    def _settled(self) -> int | None:
        """An update from which on the rate stays the same, or None."""
        return None

    # --- a value ---

    def _settings(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self._checks}

    def __setattr__(self, name: str, value: Any) -> None:
        owner = type(self).__name__
        raise AttributeError(f"{owner}: {name} cannot be assigned, for a schedule does not change: make a new one")

    def __delattr__(self, name: str) -> None:
        owner = type(self).__name__
        raise AttributeError(f"{owner}: {name} cannot be deleted, for a schedule does not change: make a new one")

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Schedule):
            return NotImplemented
        return type(self) is type(other) and self._settings() == other._settings()

    def __hash__(self) -> int:
        return hash((type(self), *self._settings().values()))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in self._settings().items())})"

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "_block"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        for name, value in state.items():
            object.__setattr__(self, name, value)


def check_updates(owner: str, name: str, value: Any) -> int:
    """`value`, a number of updates, as an int. Raises TypeError for no integer, ValueError below 1 or above 2⁵³."""
    number = check_positive_integer(owner, name, value)
    if number > MOST:
        raise ValueError(f"{owner}: {name} must be at most 2**53, got {shown(value)}")
    return number
