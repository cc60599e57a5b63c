"""What the estimators share: scikit-learn's interface, over a network and what trains it."""

import copy
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
from sklearn.metrics import check_scoring
from sklearn.model_selection import train_test_split
from sklearn.utils import check_random_state

from ..warned import warn
from .callbacks import Task
from .fitted import Fitted
from .judge import Judge
from .kept import noted_estimator
from .lbfgs import Whole, minimize
from .network import Network, Plan
from .objective import Objective
from .rows import Rows, checked_weight, is_sparse, some_weight
from .settings import RULES, Rule, activations, check, hidden_sizes
from .stochastic import Job, Pace, Training, optimizer_of

STOCHASTIC = ("sgd", "adam")


def keep(estimator: Any, given: Mapping[str, Any]) -> None:
    """Keep the arguments of an `__init__`, as scikit-learn wants it: as they are, each under its name."""
    for name, value in given.items():
        if name not in ("self", "__class__"):
            setattr(estimator, name, value)


class MLP(Fitted):
    """Base class. Those that derive say what y, the loss and the outputs are."""

    _rules: ClassVar[Mapping[str, Rule]] = RULES
    loss_curve_: list[float]
    validation_scores_: list[float] | None
    validation_loss_curve_: list[float] | None
    _best: list[np.ndarray] | None

    # --- what derived classes say ---

    def _checked(self, X: Any, y: Any, reset: bool) -> tuple[Any, Any]:
        """X and y, validated; `reset` where this begins a fit."""
        raise NotImplementedError

    def _check_kind(self, y: Any, first: bool, incremental: bool) -> None:
        """Refuse y that is not of the kind that a fit goes on with, unless it is the `first`."""

    def _begin_targets(self, y: Any, weight: np.ndarray | None, first: bool) -> None:
        """Find out what a fit has to know of all y; `first` where it begins with new weights."""

    def _targets(self, y: Any) -> np.ndarray:
        """y, (rows,) or (rows, outputs), as the loss takes it."""
        raise NotImplementedError

    def _weighed(self, y: Any, weight: np.ndarray | None) -> np.ndarray | None:
        """The weights of rows."""
        return weight

    def _objective(self) -> Objective:
        """What is minimized."""
        raise NotImplementedError

    def _score_outputs(self, outputs: np.ndarray, targets: np.ndarray, weight: np.ndarray | None) -> float:
        """What early stopping watches by default."""
        raise NotImplementedError

    def _split_by(self, targets: np.ndarray) -> np.ndarray | None:
        """Of what the validation data shall have the same shares as all data."""
        return None

    # --- fitting ---

    def _fit(self, X: Any, y: Any, weight: Any, validation: tuple[Any, Any, Any], incremental: bool) -> Any:
        owner = type(self).__name__
        check(owner, vars(self), self._rules)
        sizes = hidden_sizes(owner, self.hidden_layer_sizes)
        hidden = activations(owner, self.activation, len(sizes))
        self._check_together(validation, incremental)
        first = not hasattr(self, "_network") or not (self.warm_start or incremental)
        X, y = self._checked(X, y, reset=first)
        self._check_kind(y, first, incremental)
        weight = some_weight(self._weighed(y, checked_weight(weight, X)))
        if not incremental or first:
            self._begin_targets(y, weight, first)
        rows = Rows(X.tocsr() if is_sparse(X) else X, y, self._targets(y), weight)
        self._random_state = check_random_state(self.random_state)
        plan = Plan((X.shape[1], *sizes, self.n_outputs_), hidden, self.dropout, self._dtype_for(X, first))
        if first:
            self._begin(plan, X.dtype)
        else:
            self._go_on(plan)
        metadata = None if weight is None else {"sample_weight": weight}
        task = Task(self, self.max_iter, {"X": X, "y": y, "metadata": metadata})
        if self.solver in STOCHASTIC:
            self._fit_stochastic(rows, self._own_rows(validation), incremental, task)
        else:
            whole = Whole(self._network, self._objective(), rows)
            limits = self.max_iter, self.max_fun, self.tol
            self.n_iter_, self.loss_ = minimize(whole, self._network, *limits, bool(self.verbose))
        task.ends()
        if not self._network.is_finite():
            raise ValueError(
                "Solver produced non-finite parameter weights. The input data may contain large values and need to be "
                "preprocessed."
            )
        return self

    def _check_together(self, validation: tuple[Any, Any, Any], incremental: bool) -> None:
        """Refuse what does not go together."""
        X, y, weight = validation
        if (X is None) != (y is None) or (weight is not None and X is None):
            raise ValueError("X_val and y_val must be given together, and sample_weight_val only with these")
        if self.early_stopping and incremental:
            raise ValueError("partial_fit does not support early_stopping=True")
        if self.solver == "lbfgs" and (self.dropout or X is not None):
            what = "dropout" if self.dropout else "validation data (X_val)"
            raise ValueError(f"solver='lbfgs' does not take {what}; use 'adam' or 'sgd'")

    def _dtype_for(self, X: Any, first: bool) -> np.dtype:
        """That of the network: what is asked for, or has been so far, or that of X, but float64 for L-BFGS."""
        if self.dtype is not None:
            return np.dtype(self.dtype)
        if not first:
            return self._network.plan.dtype
        return np.dtype(np.float64 if self.solver == "lbfgs" else X.dtype)

    def _begin(self, plan: Plan, dtype: np.dtype) -> None:
        """Begin with new weights, rounded to the dtype of the data."""
        self.n_iter_ = self.t_ = 0
        self.n_layers_ = len(plan.widths)
        network, last = Network(plan, self._random_state), self.activation
        if not isinstance(last, str):
            last = plan.activations[-1] if plan.activations else ""
        network.draw(self._random_state, dtype, last)
        self.__dict__.pop("_optimizer", None)
        self._show(network)
        self._best = network.copies()
        if self.solver in STOCHASTIC:
            self._begin_curves()

    def _begin_curves(self) -> None:
        """Begin to follow a training."""
        self._no_improvement_count, self.loss_curve_ = 0, []
        self.best_loss_ = None if self.early_stopping else np.inf
        self.validation_scores_ = [] if self.early_stopping else None
        self.best_validation_score_ = -np.inf if self.early_stopping else None
        self.validation_loss_curve_ = None

    def _go_on(self, plan: Plan) -> None:
        """Go on with the weights there are; where none turns out better, those of the end stay."""
        network, self._best = self._ready(), None
        if network.plan.widths != plan.widths:
            raise ValueError(
                f"the network has the widths {network.plan.widths}, but hidden_layer_sizes and the data ask for "
                f"{plan.widths}; for another network call fit with warm_start=False"
            )
        if network.plan != plan:
            other = Network(plan, self._random_state)
            other.restore(network.views())
            self.__dict__.pop("_optimizer", None)
            self._show(other)
        watched = getattr(self, "validation_scores_", None) is not None
        if self.solver in STOCHASTIC and (watched != self.early_stopping or not hasattr(self, "loss_curve_")):
            self._begin_curves()

    def _own_rows(self, validation: tuple[Any, Any, Any]) -> Rows | None:
        """Validation data of the user's own, checked."""
        X, y, weight = validation
        if X is None:
            return None
        X, y = self._checked(X, y, reset=False)
        return Rows(X, y, self._targets(y), some_weight(checked_weight(weight, X)))

    def _fit_stochastic(self, rows: Rows, own: Rows | None, incremental: bool, task: Task) -> None:
        if not incremental or not hasattr(self, "_optimizer"):
            self._pace, self._optimizer = Pace.of(self), optimizer_of(self, self._network)
        if self.early_stopping and own is None:
            rows, own = self._split(rows)
        if own is not None and self.validation_loss_curve_ is None:
            self.validation_loss_curve_ = []
        count, size = rows.X.shape[0], 200 if self.batch_size == "auto" else int(self.batch_size)
        if self.batch_size != "auto" and size > count:
            message = "Got `batch_size` less than 1 or larger than sample size. It is going to be clipped"
            warn(message, through=("sklearn",))
        objective = self._objective()
        judge = None if own is None else Judge(self._network, objective, own, *self._scoring(own))
        Training(self, Job(self._network, objective, rows, min(size, count), judge), incremental, task).run()

    def _split(self, rows: Rows) -> tuple[Rows, Rows]:
        """Put a share of the rows aside for early stopping, by the draws that scikit-learn makes."""
        train, validation = train_test_split(
            np.arange(rows.X.shape[0]), random_state=self._random_state, test_size=self.validation_fraction,
            stratify=self._split_by(rows.targets),
        )  # fmt: skip
        if len(validation) < 2:
            raise ValueError(
                "The validation set is too small. Increase 'validation_fraction' or the size of your dataset."
            )
        parts = rows.taken(train), rows.taken(validation)
        for part in parts:
            some_weight(part.weight)
        return parts

    def _scoring(self, own: Rows) -> tuple[Any, bool]:
        """What scores the outputs on validation data, and whether that is the loss."""
        if self.scoring is None or self.scoring == "loss":
            return self._score_outputs, self.scoring == "loss"
        scorer, weight = check_scoring(self, self.scoring), {}
        if own.weight is not None and isinstance(self.scoring, str):  # which is one of scikit-learn's
            weight = {"sample_weight": own.weight}

        def score(*_: Any) -> float:
            unnamed = copy.copy(self)
            unnamed.__dict__.pop("feature_names_in_", None)  # for X has none by now
            return float(scorer(unnamed, own.X, own.y, **weight))

        return score, False

    def _noted(self, tensors: dict[str, np.ndarray]) -> dict[str, Any]:
        """This estimator, for a file."""
        return noted_estimator(self, tensors)

    def _check_solver(self) -> bool:
        if self.solver not in STOCHASTIC:
            raise AttributeError(
                f"partial_fit is only available for stochastic optimizers. {self.solver} is not stochastic."
            )
        return True
