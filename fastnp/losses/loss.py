"""What a loss is."""

from typing import Any, ClassVar

from ..checks import check_name
from ..overrides import Checks, Watched


class Loss(Watched):
    """Base class. A loss of your own defines `forward` and `backward`.

    `forward(pred, target)` returns the loss, a number or an array of which `fit` takes the mean; `backward()` returns
    dloss/dpred of the last. Where the data has weights, `forward` gets them as a third argument, a number for each row.
    """

    _checks: ClassVar[Checks] = {"name": check_name}
    name = "loss"

    def __init__(self, name: str = "loss"):
        self.name = name

    def __call__(self, pred: Any, target: Any, weight: Any = None) -> Any:
        return self.forward(pred, target) if weight is None else self.forward(pred, target, weight)

    def forward(self, pred: Any, target: Any, weight: Any = None) -> Any:
        """The loss of pred against target."""
        raise NotImplementedError(f"{type(self).__name__} must define forward(self, pred, target)")

    def backward(self) -> Any:
        """The gradient of the last loss with respect to pred."""
        raise NotImplementedError(f"{type(self).__name__} must define backward(self)")

    def __str__(self) -> str:
        return self.name

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r})"
