"""What a training run remembers of its epochs."""

from dataclasses import dataclass, field
from pathlib import Path


@dataclass
class History:
    """The losses of a training run.

    `loss` has one number for each epoch, the mean over its batches; `validation_loss` one for each epoch
    that was validated.
    """

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
