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
    or weight_decay·sign(p) ('l1'), for weights and biases. With the `rate_in_velocity`, as Keras and scikit-learn have
    it, a change of the rate leaves what is in v as it is:

        v = momentum·v + learning_rate·g,   p = p − v,   or nesterov   p = p − (learning_rate·g + momentum·v)

    Sources: B. T. Polyak, "Some methods of speeding up the convergence of iteration methods" (1964); I. Sutskever et
    al., "On the importance of initialization and momentum in deep learning" (2013).

    Args:
        momentum: not negative, first as in the tutorial; 0 gives plain gradient descent.
        parameters, learning_rate, weight_decay, decay_type: as for `Optimizer`.
        nesterov: take the step that momentum will take next, too.
        decay_bias: whether tensors whose `decays` is False decay as well: biases, and both of a `LayerNorm`.
        clip_norm: where the norm of all gradients together, before decay, is larger than this, they are multiplied by
            clip_norm / norm; None for never.
        rate_in_velocity: let v be of steps, each by the learning rate that it had, and not of gradients. Where the rate
            stays the same, so do the steps. Changed in between, it takes the v that is there for what it is to be: who
            turns it on then multiplies `velocity` by the rate.

    `velocity` is a list with the array v of each parameter; a list of arrays may be assigned to it. Velocities
    below the smallest normal number become 0. Raises TypeError or ValueError that names the argument.
    """

    _checks: ClassVar[Checks] = {"momentum": check_rate, "nesterov": check_flag, "rate_in_velocity": check_flag}
    _kernel_rule = Rule("momentum", kept=("velocity",), variants=("nesterov", "rated_momentum", "rated_nesterov"))
    nesterov = False
    rate_in_velocity = False

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
        rate_in_velocity: bool = False,
    ):
        if isinstance(momentum, (list, tuple, Tensor)):
            raise TypeError("SGD: the first argument is momentum; give the parameters as parameters=…")
        if parameters is None:
            raise TypeError("SGD: parameters is missing; give parameters=model.parameters()")
        self.momentum, self.nesterov, self.rate_in_velocity = momentum, nesterov, rate_in_velocity
        super().__init__(parameters, learning_rate, weight_decay, decay_type, decay_bias, clip_norm)

    def _rule_name(self) -> str:
        name = "nesterov" if self.nesterov else "momentum"
        return f"rated_{name}" if self.rate_in_velocity else name

    def _kernel_settings(self, weight_decay: float) -> tuple[float, ...]:
        return self.momentum, weight_decay, self.decay_type == "l1"

    def _exact_update(self, rate: Any, t: Any, p: Any, g: Any, before: Any, now: Any) -> Iterator[Any]:
        if self.rate_in_velocity:
            g = rate * g
        yield self.momentum * before[0] + g
        step = g + self.momentum * now[0] if self.nesterov else now[0]
        yield p - (step if self.rate_in_velocity else rate * step)
