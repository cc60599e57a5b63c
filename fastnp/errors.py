"""Exceptions of fastnp's own."""

from typing import Any


class DivergedError(ArithmeticError):
    """The loss of a batch is not finite; `epoch` and `batch`, counted from 0, say which, `loss` what it is.

    The message says where the data or the parameters were at fault. The parameters are as they were before
    that batch's update, except where the message says that they are left as they stand: the last update of a
    training made them so.
    """

    def __init__(self, epoch: int, batch: int, loss: float, reason: str = ""):
        super().__init__(
            reason
            or f"the training diverged: the loss is {loss} in epoch {epoch}, batch {batch}; the parameters are as "
            "before this batch's update; try a smaller learning rate"
        )
        self.epoch = epoch
        self.batch = batch
        self.loss = loss

    def __reduce__(self) -> Any:
        return type(self), (self.epoch, self.batch, self.loss, str(self))


class CheckFailed(AssertionError):
    """A check of fastnp's found a number that is wrong; the message has the table of all that were checked."""


class BadFileError(ValueError):
    """A file is not what it should be, or not whole; the message names the file, and what is wrong with it."""
