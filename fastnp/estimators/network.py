"""The network of an estimator: a `Sequential`, and its weights as scikit-learn shows them."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np

from ..arrays import real_array
from ..checks import shown
from ..initializers import Constant
from ..layers.activations import Sigmoid, Softplus, Tanh
from ..layers.dropout import Dropout
from ..layers.gates import GELU, SiLU
from ..layers.layer import Layer
from ..layers.linear import Linear
from ..layers.rectifiers import ELU, LeakyReLU, ReLU
from ..layers.sequential import Sequential

LAYERS: dict[str, Callable[[], Layer] | None] = {
    "identity": None,
    "logistic": Sigmoid,
    "tanh": Tanh,
    "relu": ReLU,
    "leaky_relu": LeakyReLU,
    "elu": ELU,
    "silu": SiLU,
    "gelu": GELU,
    "gelu_tanh": lambda: GELU(approximate=True),
    "softplus": Softplus,
}


class Plan(NamedTuple):
    """What a network is made by: the widths from the input to the output, the hidden activations, and the rest."""

    widths: tuple[int, ...]
    activations: tuple[str, ...]
    dropout: float
    dtype: np.dtype


Views = tuple[np.ndarray, ...]


class Network:
    """Linear layers with what is between them. `coefs` and `intercepts` are live views of their weights."""

    def __init__(self, plan: Plan, random_state: np.random.RandomState):
        self.plan = plan
        layers: list[Layer] = []
        self.linears: list[Linear] = []
        for i, (n_in, n_out) in enumerate(zip(plan.widths, plan.widths[1:], strict=False)):
            self.linears.append(Linear(n_in, n_out, weight_attr=Constant(), dtype=plan.dtype))
            layers.append(self.linears[-1])
            if i < len(plan.activations):
                layers += _between(plan.activations[i], plan.dropout, random_state)
        self.model = Sequential(*layers)
        self.model.whole_program()  # which brings the tensors to where they stay
        self.coefs, self.intercepts = self._views()

    def _views(self) -> tuple[Views, Views]:
        weights = tuple(linear.weights.data for linear in self.linears)
        return weights, tuple(linear.bias.data[0] for linear in self.linears)

    def draw(self, random_state: np.random.RandomState, dtype: np.dtype, last: str) -> None:
        """The first weights, numbers of this dtype: uniform, as X. Glorot and Y. Bengio, "Understanding the difficulty
        of training deep feedforward neural networks" (2010), propose, and biases likewise.

        `last` is the activation that the last layer is taken for to have.
        """
        for linear, activation in zip(self.linears, (*self.plan.activations, last), strict=True):
            n_in, n_out = linear.weights.shape
            factor = 2.0 if activation == "logistic" else 6.0
            bound = np.sqrt(factor / (n_in + n_out))
            linear.weights.data = random_state.uniform(-bound, bound, (n_in, n_out)).astype(dtype)
            linear.bias.data = random_state.uniform(-bound, bound, (1, n_out)).astype(dtype)

    def adopt(self, coefs: Sequence[Any], intercepts: Sequence[Any]) -> None:
        """Take over the arrays in two lists. Raises TypeError or ValueError where they do not fit."""
        copies = []  # first of all, for they may be these views in another order
        for name, given, views in ("coefs_", coefs, self.coefs), ("intercepts_", intercepts, self.intercepts):
            expected = [view.shape for view in views]
            if not isinstance(given, Iterable):
                raise TypeError(f"{name} needs a list of arrays of the shapes {expected}, got {shown(given)}")
            arrays = [np.array(real_array(array, f"{name}[{i}]")) for i, array in enumerate(given)]
            if [array.shape for array in arrays] != expected:
                raise ValueError(
                    f"{name} needs arrays of the shapes {expected}, got {[array.shape for array in arrays]}; for a "
                    "network of other sizes call fit"
                )
            copies += arrays
        self.restore(copies)

    def copies(self) -> list[np.ndarray]:
        """Copies of all weights, to go back to."""
        return [view.copy() for view in self.views()]

    def restore(self, copies: Sequence[np.ndarray]) -> None:
        """Go back to copies."""
        for view, array in zip(self.views(), copies, strict=True):
            view[...] = array

    def views(self) -> Views:
        """All weights: coefs, and then intercepts."""
        return self.coefs + self.intercepts

    def fill(self, value: float) -> None:
        """Make all weights this number."""
        for view in self.views():
            view[...] = value

    def is_finite(self) -> bool:
        """Whether all weights are."""
        return all(np.isfinite(view).all() for view in self.views())

    def __getstate__(self) -> dict[str, Any]:
        return {"plan": self.plan, "model": self.model}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self.linears = [layer for layer in self.model.graphs if isinstance(layer, Linear)]
        self.model.whole_program()
        self.coefs, self.intercepts = self._views()


def _between(activation: str, dropout: float, random_state: np.random.RandomState) -> list[Layer]:
    """What comes behind a hidden layer."""
    make = LAYERS[activation]
    layers = [] if make is None else [make()]
    if dropout:
        layers.append(Dropout(dropout, np.random.default_rng(random_state.randint(2**31 - 1))))
    return layers
