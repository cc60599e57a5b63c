"""What a training run remembers of its epochs."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from ..checks import check_list
from ..overrides import Checks, Watched


@dataclass(repr=False)
class History(Watched):
    """The losses of a training run.

    `loss` has one number for each epoch, the mean over its batches; `validation_loss` one for each epoch
    that was validated.
    """

    _checks: ClassVar[Checks] = {"loss": check_list, "validation_loss": check_list}

    loss: list[float] = field(default_factory=list)
    validation_loss: list[float] = field(default_factory=list)

    def plot(self, path: str | Path) -> None:
        """Save a picture of the losses over the epochs; the suffix of `path` names the format.

        Raises ImportError without matplotlib (extra `plot`), ValueError for an unknown suffix or a folder
        that does not exist.
        """
        from .plot import check_path, draw_history  # matplotlib is an extra

        check_path(Path(path))
        draw_history(self.loss, self.validation_loss).savefig(path)

    def __repr__(self) -> str:
        parts = [f"{len(self.loss)} epoch{'' if len(self.loss) == 1 else 's'}"]
        for name in "loss", "validation_loss":
            ends = getattr(self, name)[:1] + getattr(self, name)[1:][-1:]
            if ends:
                parts.append(f"{name} {' → '.join(f'{loss:.4g}' for loss in ends)}")
        return f"{type(self).__name__}({', '.join(parts)})"
