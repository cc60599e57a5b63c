"""The estimator of numbers."""

from typing import Any, ClassVar

import numpy as np
from scipy.special import xlogy
from sklearn.base import RegressorMixin
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import validate_data

from ..checks import shown
from ..losses.built_in import BuiltInLoss
from ..losses.elementwise import MAE, MSE, Huber, Quantile
from ..losses.poisson_nll import PoissonNLL
from .callbacks import with_callbacks
from .judge import r_squared
from .mlp import MLP, keep
from .objective import Objective
from .rows import one_column
from .settings import FLAG, RULES, InvalidParameterError, one_of, real

LOSSES = ("squared_error", "absolute_error", "huber", "quantile", "poisson")


class MLPRegressor(RegressorMixin, MLP):  # type: ignore[misc]
    """Multi-layer perceptron for regression: scikit-learn's `MLPRegressor`, many times as fast, and with more to ask.

    With the same `random_state` it learns the same numbers.

    Args:
        loss: 'squared_error', 'poisson', 'absolute_error', 'huber' or 'quantile'.
        quantile: which one 'quantile' predicts, between 0 and 1.
        huber_delta: from which error on 'huber' is linear, in units of y (of the scaled y, with scale_y).
        scale_y: whether to train on y less its mean, divided by its standard deviation; predictions are in y's units.
        hidden_layer_sizes … max_fun: those of scikit-learn. `activation` may be one of 'identity', 'logistic', 'tanh',
            'relu', 'leaky_relu', 'elu', 'silu', 'gelu', 'gelu_tanh' and 'softplus', or a tuple with one for each
            hidden layer. `verbose` may be 'bar'.
        dropout: the share of numbers that is left out behind each hidden layer while it trains.
        scoring: what early stopping watches on validation data: None for R², 'loss', the name of a scorer, or a
            callable scorer(estimator, X, y).
        dtype: 'float32' or 'float64', of the network; None for that of X.

    `coefs_`, `intercepts_` and the other attributes are scikit-learn's; these two are live, and may be assigned.
    `validation_loss_curve_` is the loss on validation data after each epoch, or None. Raises ValueError, or TypeError,
    as scikit-learn does, for parameters when it is fitted.
    """

    _rules: ClassVar = RULES | {
        "loss": one_of(*LOSSES),
        "quantile": real(0.0, 1.0, "()"),
        "huber_delta": real(0.0, float("inf"), "()"),
        "scale_y": FLAG,
    }

    def __init__(
        self,
        loss: str = "squared_error",
        hidden_layer_sizes: Any = (100,),
        activation: Any = "relu",
        *,
        solver: str = "adam",
        alpha: float = 0.0001,
        batch_size: Any = "auto",
        learning_rate: str = "constant",
        learning_rate_init: float = 0.001,
        power_t: float = 0.5,
        max_iter: int = 200,
        shuffle: bool = True,
        random_state: Any = None,
        tol: float = 1e-4,
        verbose: Any = False,
        warm_start: bool = False,
        momentum: float = 0.9,
        nesterovs_momentum: bool = True,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-8,
        n_iter_no_change: float = 10,
        max_fun: int = 15000,
        quantile: float = 0.5,
        huber_delta: float = 1.0,
        scale_y: bool = False,
        dropout: float = 0.0,
        scoring: Any = None,
        dtype: Any = None,
    ):
        keep(self, locals())

    @with_callbacks
    def fit(
        self, X: Any, y: Any, sample_weight: Any = None, *, X_val: Any = None, y_val: Any = None,
        sample_weight_val: Any = None,
    ) -> "MLPRegressor":  # fmt: skip
        """Fit to X (rows, features), an array, table or sparse matrix, and y (rows,) or (rows, outputs).

        Args:
            sample_weight: how much each row counts, (rows,).
            X_val, y_val, sample_weight_val: validation data of your own, of which `validation_loss_curve_` tells, and
                which early stopping watches in place of a share of the rows.

        Returns itself. Ctrl-C ends it with a warning, and leaves the weights of that moment.
        """
        self._check_loss()
        fitted: MLPRegressor = self._fit(X, y, sample_weight, (X_val, y_val, sample_weight_val), incremental=False)
        return fitted

    @available_if(MLP._check_solver)
    @with_callbacks
    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None) -> "MLPRegressor":
        """Train for one epoch over these rows, from where it is."""
        self._check_loss()
        fitted: MLPRegressor = self._fit(X, y, sample_weight, (None, None, None), incremental=True)
        return fitted

    def predict(self, X: Any, *, check_input: bool = True) -> np.ndarray:
        """The predictions (rows,), or (rows, outputs) for several.

        Without check_input, X must be an array (rows, features) of numbers: for one row in a hurry.
        """
        outputs = self._in_units(self._outputs(X, check_input))
        return outputs.ravel() if outputs.shape[1] == 1 else outputs

    def input_gradient(self, X: Any) -> np.ndarray:
        """The gradient of the prediction with respect to X: (rows, features), or (rows, outputs, features)."""
        outputs, gradients = self._gradients(X)
        if self.out_activation_ == "exp":
            gradients *= np.exp(outputs)[:, :, np.newaxis]
        elif self._scale is not None:
            gradients *= self._scale[1][:, np.newaxis]
        return gradients[:, 0] if gradients.shape[1] == 1 else gradients

    def _in_units(self, outputs: np.ndarray) -> np.ndarray:
        """What the network puts out, in units of y."""
        if self.out_activation_ == "exp":
            return np.exp(outputs, out=outputs)
        if self._scale is not None:
            mean, deviation = self._scale
            outputs *= deviation
            outputs += mean
        return outputs

    def _check_loss(self) -> None:
        if isinstance(self.loss, (int, tuple, list, np.ndarray)):
            got = shown(self.loss)
            raise InvalidParameterError(
                f"The 'loss' parameter of MLPRegressor must be {one_of(*LOSSES).words}. Got {got} instead. "
                f"It is the first argument; for the sizes of the layers write MLPRegressor(hidden_layer_sizes={got})"
            )
        if self.loss == "poisson" and self.scale_y:
            raise ValueError("loss='poisson' is of counts, which scale_y=True would make negative; set scale_y=False")

    def _checked(self, X: Any, y: Any, reset: bool) -> tuple[Any, Any]:
        X, y = validate_data(
            self, X, y, accept_sparse=["csr", "csc"], multi_output=True, y_numeric=True,
            dtype=(np.float64, np.float32), reset=reset,
        )  # fmt: skip
        y = one_column(y)
        if self.loss == "poisson" and (y < 0).any():
            raise ValueError("loss='poisson' needs y that is not negative")
        return X, y

    def _begin_targets(self, y: np.ndarray, weight: np.ndarray | None, first: bool) -> None:
        if first:
            self.n_outputs_ = 1 if y.ndim == 1 else y.shape[1]
        self.out_activation_ = "exp" if self.loss == "poisson" else "identity"
        self._scale = None
        if self.scale_y:
            columns = y.reshape(len(y), -1).astype(np.float64)
            mean = np.average(columns, weights=weight, axis=0)
            largest = np.abs(columns - mean).max(axis=0)  # whose square may be too large, or too small
            unit = np.where(largest > 0, largest, 1.0)
            deviation = unit * np.sqrt(np.average(np.square((columns - mean) / unit), weights=weight, axis=0))
            self._scale = mean, np.where(deviation > 0, deviation, 1.0)

    def _targets(self, y: np.ndarray) -> np.ndarray:
        columns = y.reshape(len(y), -1).astype(np.float64, copy=False)
        if columns.shape[1] != self.n_outputs_:
            raise ValueError(f"y has {columns.shape[1]} outputs, but the network was fitted with {self.n_outputs_}")
        return columns if self._scale is None else (columns - self._scale[0]) / self._scale[1]

    def _objective(self) -> Objective:
        losses: dict[str, BuiltInLoss] = {
            "squared_error": MSE(reduction="batchmean"),
            "absolute_error": MAE(reduction="batchmean"),
            "huber": Huber(self.huber_delta, reduction="batchmean"),
            "quantile": Quantile(self.quantile, reduction="batchmean"),
            "poisson": PoissonNLL(reduction="batchmean"),
        }
        is_poisson = self.loss == "poisson"
        outputs = 1 if is_poisson else self.n_outputs_
        return Objective(losses[self.loss], self.alpha, outputs, _constants_of_counts if is_poisson else None)

    def _score_outputs(self, outputs: np.ndarray, targets: np.ndarray, weight: np.ndarray | None) -> float:
        return r_squared(np.exp(outputs) if self.out_activation_ == "exp" else outputs, targets, weight)


def _constants_of_counts(targets: np.ndarray) -> np.ndarray:
    """What scikit-learn's Poisson loss adds to e^z − y·z: y·log y − y, over the outputs."""
    constants: np.ndarray = np.sum(xlogy(targets, targets) - targets, axis=1)
    return constants
