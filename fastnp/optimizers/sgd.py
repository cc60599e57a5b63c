"""Stochastic gradient descent."""

from collections.abc import Iterable
from typing import ClassVar

from ..checks import check_rate
from ..overrides import Checks
from ..program.op import Rule
from ..tensor import Tensor
from .arenas import ArenaOptimizer, KeptArrays


class SGD(ArenaOptimizer):
    """Stochastic gradient descent with momentum:

        g = grad + decay,   v = momentum·v + g,   p = p − learning_rate·v

    decay is weight_decay·p ('l2') or weight_decay·sign(p) ('l1'), for weights and biases.
    Source: B. T. Polyak, "Some methods of speeding up the convergence of iteration methods" (1964).

    Args:
        momentum: not negative, first as in the tutorial; 0 gives plain gradient descent.
        parameters, learning_rate, weight_decay, decay_type: as for `Optimizer`.

    `velocity` is a list with the array v of each parameter; a list of arrays may be assigned to it. Velocities
    below the smallest normal number become 0. Raises TypeError or ValueError that names the argument.
    """

    _checks: ClassVar[Checks] = {"momentum": check_rate}
    _kernel_rule = Rule("momentum", kept=("velocity",))

    velocity = KeptArrays()

    def __init__(
        self,
        momentum: float = 0.9,
        parameters: Iterable[Tensor] | None = None,
        learning_rate: float = 0.001,
        weight_decay: float = 0.0,
        decay_type: str = "l2",
    ):
        if isinstance(momentum, (list, tuple, Tensor)):
            raise TypeError("SGD: the first argument is momentum; give the parameters as parameters=…")
        if parameters is None:
            raise TypeError("SGD: parameters is missing; give parameters=model.parameters()")
        self.momentum = momentum
        super().__init__(parameters, learning_rate, weight_decay, decay_type)

    def _kernel_numbers(self, decayed: bool = False) -> tuple[float, ...]:
        weight_decay = 0.0 if decayed else self.weight_decay
        return self.learning_rate, self.momentum, weight_decay, self.decay_type == "l1"
