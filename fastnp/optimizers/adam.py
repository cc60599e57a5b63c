"""Adam, and AdamW."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any, ClassVar

from ..checks import check_epsilon, check_flag, check_share
from ..overrides import Checks
from ..program.op import Rule
from ..tensor import Tensor
from .arenas import ArenaOptimizer
from .laid_out import KeptArrays


class Adam(ArenaOptimizer):
    """Adam: steps of like size for all parameters, whatever the size of their gradients.

        g = grad + decay,   m = beta1·m + (1 − beta1)·g,   v = beta2·v + (1 − beta2)·g²
        p = p − learning_rate·m̂ / (√v̂ + epsilon),   m̂ = m / (1 − beta1ᵗ),   v̂ = v / (1 − beta2ᵗ)

    in update t, counted from 1. decay is weight_decay·p ('l2') or weight_decay·sign(p) ('l1').
    Source: D. P. Kingma, J. Ba, "Adam: a method for stochastic optimization" (2015).

    Args:
        parameters, learning_rate, weight_decay, decay_type: as for `Optimizer`.
        beta1, beta2: how much of the moments is kept; at least 0 and below 1.
        epsilon: positive, and not below the smallest normal number of float32.
        decay_bias, clip_norm: as for `SGD`.
        epsilon_hat: add epsilon to the √v that is not corrected, as TensorFlow, Keras and scikit-learn do and the paper
            calls epsilon-hat:   p = p − learning_rate·√(1 − beta2ᵗ) / (1 − beta1ᵗ)·m / (√v + epsilon)

    `first_moment` and `second_moment` are lists with the arrays m and v of each parameter; lists of arrays may be
    assigned to them. Numbers in these below the smallest normal number become 0. t is `updates` + 1, also for
    parameters that joined later. Raises TypeError or ValueError that names the argument.
    """

    _checks: ClassVar[Checks] = {
        "beta1": check_share,
        "beta2": check_share,
        "epsilon": check_epsilon,
        "epsilon_hat": check_flag,
    }
    _kernel_rule = Rule("adam", kept=("first_moment", "second_moment"), counts=True)
    epsilon_hat = False

    first_moment = KeptArrays()
    second_moment = KeptArrays()

    def __init__(
        self,
        parameters: Iterable[Tensor],
        learning_rate: float | Callable[[int], float] = 0.001,
        *,
        beta1: float = 0.9,
        beta2: float = 0.999,
        epsilon: float = 1e-8,
        weight_decay: float = 0.0,
        decay_type: str = "l2",
        decay_bias: bool = True,
        clip_norm: float | None = None,
        epsilon_hat: bool = False,
    ):
        self.beta1, self.beta2, self.epsilon, self.epsilon_hat = beta1, beta2, epsilon, epsilon_hat
        super().__init__(parameters, learning_rate, weight_decay, decay_type, decay_bias, clip_norm)

    def _kernel_settings(self, weight_decay: float) -> tuple[float, ...]:
        is_l1 = self.decay_type == "l1"
        return self.beta1, self.beta2, self.epsilon, weight_decay, is_l1, self._decays_apart, self.epsilon_hat

    def _exact_update(self, rate: Any, t: Any, p: Any, g: Any, before: Any, now: Any) -> Iterator[Any]:
        yield self.beta1 * before[0] + (1 - self.beta1) * g
        yield self.beta2 * before[1] + (1 - self.beta2) * g * g
        step, scale = rate / (1 - self.beta1**t), 1 / (1 - self.beta2**t) ** 0.5
        epsilon = self.epsilon * scale if self.epsilon_hat else self.epsilon
        yield p - step * now[0] / (now[1] ** 0.5 * scale + epsilon)


class AdamW(Adam):
    """`Adam`, with the decay apart from the gradients: p = p − learning_rate·decay, before the step of Adam.

    Source: I. Loshchilov, F. Hutter, "Decoupled weight decay regularization" (2019). Arguments are those of `Adam`.
    """

    _kernel_rule = Adam._kernel_rule
    _decays_apart = True

    def __init__(
        self,
        parameters: Iterable[Tensor],
        learning_rate: float | Callable[[int], float] = 0.001,
        *,
        beta1: float = 0.9,
        beta2: float = 0.999,
        epsilon: float = 1e-8,
        weight_decay: float = 0.01,
        decay_type: str = "l2",
        decay_bias: bool = True,
        clip_norm: float | None = None,
        epsilon_hat: bool = False,
    ):
        super().__init__(
            parameters,
            learning_rate,
            beta1=beta1,
            beta2=beta2,
            epsilon=epsilon,
            weight_decay=weight_decay,
            decay_type=decay_type,
            decay_bias=decay_bias,
            clip_norm=clip_norm,
            epsilon_hat=epsilon_hat,
        )
