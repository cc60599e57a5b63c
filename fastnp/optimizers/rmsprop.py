"""RMSprop."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any, ClassVar

from ..checks import check_epsilon, check_rate, check_share
from ..overrides import Checks
from ..program.op import Rule
from ..tensor import Tensor
from .arenas import ArenaOptimizer
from .laid_out import KeptArrays


class RMSprop(ArenaOptimizer):
    """RMSprop: gradients are divided by the root of their mean square.

        g = grad + decay,   v = alpha·v + (1 − alpha)·g²,   s = g / (√v + epsilon)
        p = p − learning_rate·s,   or with momentum   b = momentum·b + s,   p = p − learning_rate·b

    decay is weight_decay·p ('l2') or weight_decay·sign(p) ('l1').
    Source: G. Hinton, "Neural networks for machine learning", lecture 6e (2012).

    Args:
        parameters, learning_rate, weight_decay, decay_type: as for `Optimizer`.
        alpha: how much of the mean is kept; at least 0 and below 1.
        epsilon: positive, and not below the smallest normal number of float32.
        momentum: not negative.
        decay_bias, clip_norm: as for `SGD`.

    `mean_square` and `velocity` are lists with the arrays v and b of each parameter; lists of arrays may be assigned to
    them. Numbers in these below the smallest normal number become 0; without momentum b stays as it is.
    Raises TypeError or ValueError that names the argument.
    """

    _checks: ClassVar[Checks] = {"alpha": check_share, "epsilon": check_epsilon, "momentum": check_rate}
    _kernel_rule = Rule("rmsprop", kept=("mean_square", "velocity"), variants=("rmsprop_momentum",))

    mean_square = KeptArrays()
    velocity = KeptArrays()

    def __init__(
        self,
        parameters: Iterable[Tensor],
        learning_rate: float | Callable[[int], float] = 0.01,
        *,
        alpha: float = 0.99,
        epsilon: float = 1e-8,
        momentum: float = 0.0,
        weight_decay: float = 0.0,
        decay_type: str = "l2",
        decay_bias: bool = True,
        clip_norm: float | None = None,
    ):
        self.alpha, self.epsilon, self.momentum = alpha, epsilon, momentum
        super().__init__(parameters, learning_rate, weight_decay, decay_type, decay_bias, clip_norm)

    def _rule_name(self) -> str:
        return "rmsprop_momentum" if self.momentum else "rmsprop"

    def _kernel_settings(self, weight_decay: float) -> tuple[float, ...]:
        return self.alpha, self.epsilon, self.momentum, weight_decay, self.decay_type == "l1"

    def _exact_update(self, rate: Any, t: Any, p: Any, g: Any, before: Any, now: Any) -> Iterator[Any]:
        yield self.alpha * before[0] + (1 - self.alpha) * g * g
        step = g / (now[0] ** 0.5 + self.epsilon)
        yield self.momentum * before[1] + step if self.momentum else before[1]
        yield p - rate * (now[1] if self.momentum else step)
