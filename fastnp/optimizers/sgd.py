"""Stochastic gradient descent."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any, ClassVar

from ..checks import check_flag, check_rate
from ..overrides import Checks
from ..program.op import Rule
from ..tensor import Tensor
from .arenas import ArenaOptimizer
from .laid_out import KeptArrays


class SGD(ArenaOptimizer):
    """Stochastic gradient descent with momentum:

        g = grad + decay,   v = momentum·v + g,   p = p − learning_rate·v

    or, where it is `nesterov`, p = p − learning_rate·(g + momentum·v), with the new v. decay is weight_decay·p ('l2')
    or weight_decay·sign(p) ('l1'), for weights and biases.
    Sources: B. T. Polyak, "Some methods of speeding up the convergence of iteration methods" (1964); I. Sutskever et
    al., "On the importance of initialization and momentum in deep learning" (2013).

    Args:
        momentum: not negative, first as in the tutorial; 0 gives plain gradient descent.
        parameters, learning_rate, weight_decay, decay_type: as for `Optimizer`.
        nesterov: take the step that momentum will take next, too.
        decay_bias: whether tensors whose `decays` is False decay as well: biases, and both of a `LayerNorm`.
        clip_norm: where the norm of all gradients together, before decay, is larger than this, they are multiplied by
            clip_norm / norm; None for never.

    `velocity` is a list with the array v of each parameter; a list of arrays may be assigned to it. Velocities
    below the smallest normal number become 0. Raises TypeError or ValueError that names the argument.
    """

    _checks: ClassVar[Checks] = {"momentum": check_rate, "nesterov": check_flag}
    _kernel_rule = Rule("momentum", kept=("velocity",), variants=("nesterov",))
    nesterov = False

    velocity = KeptArrays()

    def __init__(
        self,
        momentum: float = 0.9,
        parameters: Iterable[Tensor] | None = None,
        learning_rate: float | Callable[[int], float] = 0.001,
        weight_decay: float = 0.0,
        decay_type: str = "l2",
        *,
        nesterov: bool = False,
        decay_bias: bool = True,
        clip_norm: float | None = None,
    ):
        if isinstance(momentum, (list, tuple, Tensor)):
            raise TypeError("SGD: the first argument is momentum; give the parameters as parameters=…")
        if parameters is None:
            raise TypeError("SGD: parameters is missing; give parameters=model.parameters()")
        self.momentum, self.nesterov = momentum, nesterov
        super().__init__(parameters, learning_rate, weight_decay, decay_type, decay_bias, clip_norm)

    def _rule_name(self) -> str:
        return "nesterov" if self.nesterov else "momentum"

    def _kernel_settings(self, weight_decay: float) -> tuple[float, ...]:
        return self.momentum, weight_decay, self.decay_type == "l1"

    def _exact_update(self, rate: Any, t: Any, p: Any, g: Any, before: Any, now: Any) -> Iterator[Any]:
        yield self.momentum * before[0] + g
        yield p - rate * (g + self.momentum * now[0] if self.nesterov else now[0])
