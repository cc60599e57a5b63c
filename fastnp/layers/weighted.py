"""What the layers with weights and a bias share."""

from typing import Any, ClassVar

from ..tensor import Tensor
from .built_in import BuiltIn


class Weighted(BuiltIn):
    """A layer with the parameters `weights` and `bias`; its `__init__` makes them."""

    _arguments: ClassVar[str]  # of its `__init__`, as a message names them

    _weights: Tensor
    _bias: Tensor

    @property
    def weights(self) -> Tensor:
        try:
            return self._weights
        except AttributeError:
            raise self._without_parameters() from None

    @weights.setter
    def weights(self, value: Any) -> None:
        raise AttributeError(f"{type(self).__name__}.weights cannot be assigned; assign to weights.data")

    @property
    def bias(self) -> Tensor:
        try:
            return self._bias
        except AttributeError:
            raise self._without_parameters() from None

    @bias.setter
    def bias(self, value: Any) -> None:
        raise AttributeError(f"{type(self).__name__}.bias cannot be assigned; assign to bias.data")

    def _without_parameters(self) -> AttributeError:
        return AttributeError(
            f"{type(self).__name__} has no parameters: its __init__ must call super().__init__({self._arguments})"
        )

    def _check_dtypes(self) -> None:
        if self.weights.dtype != self.bias.dtype:
            raise ValueError(
                f"{self.name}: weights are {self.weights.dtype}, bias {self.bias.dtype}; convert both to one dtype"
            )

    def _tensors(self) -> tuple[Tensor, Tensor]:
        return self.weights, self.bias

    def parameters(self) -> list[Tensor]:
        return [self.weights, self.bias]
