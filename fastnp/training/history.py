"""What a training run remembers of its epochs."""

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from ..checks import check_integer, check_list
from ..overrides import Checks, Watched, put


def _check_epoch(owner: str, name: str, value: Any) -> int | None:
    return None if value is None else check_integer(owner, name, value, 0)


@dataclass(repr=False)
class History(Watched):
    """The losses of a training run.

    `loss` has one number for each epoch, the mean over its batches; `learning_rate` the rate of the first update of
    each epoch, NaN where the optimizer has none; `validation_loss` one for each epoch that was validated, and NaN for
    those before that were not. `best_epoch` is the place in `loss` of the best epoch of the last run with early
    stopping, else None.
    """

    _checks: ClassVar[Checks] = {
        "loss": check_list,
        "validation_loss": check_list,
        "learning_rate": check_list,
        "best_epoch": _check_epoch,
    }

    loss: list[float] = field(default_factory=list)
    validation_loss: list[float] = field(default_factory=list)
    learning_rate: list[float] = field(default_factory=list)
    best_epoch: int | None = None

    def _begin(self, validates: bool, goes_on: bool = False) -> None:
        """A run begins, or goes on: its epochs are added to those here, of whose numbers none may lack then but NaN."""
        if not goes_on:
            self.best_epoch = None
        for numbers in (self.learning_rate, self.validation_loss) if validates else (self.learning_rate,):
            del numbers[len(self.loss) :]
            numbers.extend([math.nan] * (len(self.loss) - len(numbers)))

    def _add(self, losses: Iterable[float], rates: Iterable[float]) -> None:
        """Add epochs: their losses and learning rates."""
        self.loss.extend(losses)
        self.learning_rate.extend(rates)

    def plot(self, path: str | Path) -> None:
        """Save a picture of the losses over the epochs, the best one marked; the suffix of `path` names the format.

        Raises ImportError without matplotlib (extra `plot`), ValueError for an unknown suffix or a folder
        that does not exist.
        """
        from .plot import check_path, draw_history  # matplotlib is an extra

        check_path(Path(path))
        draw_history(self.loss, self.validation_loss, self.best_epoch).savefig(path)

    def __repr__(self) -> str:
        parts = [f"{len(self.loss)} epoch{'' if len(self.loss) == 1 else 's'}"]
        for name in "loss", "validation_loss":
            ends = getattr(self, name)[:1] + getattr(self, name)[1:][-1:]
            if ends:
                parts.append(f"{name} {' → '.join(f'{loss:.4g}' for loss in ends)}")
        if self.best_epoch is not None:
            parts.append(f"best_epoch {self.best_epoch}")
        return f"{type(self).__name__}({', '.join(parts)})"

    def __setstate__(self, state: dict[str, Any]) -> None:
        put(self, **{"learning_rate": [], **state})  # which pickles from before there were any lack
