"""When to stop a training: settings."""

from dataclasses import dataclass
from typing import ClassVar

from ..checks import check_flag, check_positive_integer, check_rate, one_of
from ..overrides import Checks, Watched


@dataclass
class EarlyStopping(Watched):
    """Stops a training that no longer gets better: `fit(…, early_stopping=EarlyStopping(patience=20))`.

    An epoch is better when what is monitored is less than the best so far minus `min_delta`; NaN never is. After
    `patience` epochs in a row that are not better, the training stops.
    Source: L. Prechelt, "Early Stopping – But When?" (1998).

    Args:
        monitor: 'validation_loss', or 'loss', the mean over the batches while the epoch trained on them.
        patience: how many epochs in a row may be no better, at least 1.
        min_delta: by how much more than nothing an epoch has to be better, not negative.
        restore_best: whether a training that ends by itself, stopped or not, leaves the bits that the best epoch left:
            of all parameters, and of what the optimizer keeps and counts, of one of your own the numbers and arrays
            that are its attributes. Random generators go on. Nothing is restored where it ends in an exception, Ctrl-C
            among them, and where no epoch was better than infinity.

    It holds settings only, read when `fit` begins: one object may serve many trainings, and each starts anew. Raises
    TypeError or ValueError that names the argument, also on assignment.
    """

    _checks: ClassVar[Checks] = {
        "monitor": one_of("validation_loss", "loss"),
        "patience": check_positive_integer,
        "min_delta": check_rate,
        "restore_best": check_flag,
    }

    monitor: str = "validation_loss"
    patience: int = 10
    min_delta: float = 0.0
    restore_best: bool = True
