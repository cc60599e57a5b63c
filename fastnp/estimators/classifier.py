"""The estimator of classes."""

import math
from numbers import Real
from typing import Any, ClassVar

import numpy as np
from scipy.special import expit
from sklearn.base import ClassifierMixin
from sklearn.preprocessing import LabelBinarizer
from sklearn.utils import compute_sample_weight
from sklearn.utils.metaestimators import available_if
from sklearn.utils.multiclass import type_of_target, unique_labels
from sklearn.utils.validation import validate_data

from ..losses.bce_with_logits import BCEWithLogits
from ..losses.cross_entropy import CrossEntropy
from .callbacks import with_callbacks
from .judge import accuracy
from .mlp import MLP, keep
from .objective import Objective
from .rows import one_column
from .settings import NONE, RULES, Rule, either, one_of


def _are_weights(value: Any) -> bool:
    """Whether these are weights of classes, or a list of such, one for each label."""
    if isinstance(value, list):
        return all(isinstance(each, dict) and _are_weights(each) for each in value)
    return isinstance(value, dict) and all(
        isinstance(weight, Real) and 0 <= float(weight) < math.inf for weight in value.values()
    )


_WEIGHTS = Rule(_are_weights, "a dict of class to weight, finite and not negative, or a list of such")


class MLPClassifier(ClassifierMixin, MLP):  # type: ignore[misc]
    """Multi-layer perceptron for classification: scikit-learn's `MLPClassifier`, many times as fast, with more to ask.

    With the same `random_state` it learns the same numbers.

    Args:
        hidden_layer_sizes … max_fun, dropout, dtype: as for `MLPRegressor`.
        class_weight: None, a dict of class to weight, or 'balanced': with what `sample_weight` is multiplied.
        scoring: what early stopping watches on validation data: None for the accuracy, 'loss', the name of a scorer, or
            a callable scorer(estimator, X, y).

    y has labels of any kind, (rows,), or, where a row may be of several classes, zeros and ones (rows, classes).
    Attributes and errors are as for `MLPRegressor`.
    """

    _rules: ClassVar = RULES | {"class_weight": either(NONE, one_of("balanced"), _WEIGHTS)}
    loss = "log_loss"

    def __init__(
        self,
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
        class_weight: Any = None,
        dropout: float = 0.0,
        scoring: Any = None,
        dtype: Any = None,
    ):
        keep(self, locals())

    @with_callbacks
    def fit(
        self, X: Any, y: Any, sample_weight: Any = None, *, X_val: Any = None, y_val: Any = None,
        sample_weight_val: Any = None,
    ) -> "MLPClassifier":  # fmt: skip
        """Fit to X (rows, features), an array, table or sparse matrix, and labels y.

        `sample_weight` and validation data are as for `MLPRegressor.fit`. Returns itself.
        """
        fitted: MLPClassifier = self._fit(X, y, sample_weight, (X_val, y_val, sample_weight_val), incremental=False)
        return fitted

    @available_if(MLP._check_solver)
    @with_callbacks
    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None, classes: Any = None) -> "MLPClassifier":
        """Train for one epoch over these rows, from where it is.

        `classes`, all that may come, are needed in the first call.
        """
        if isinstance(self.class_weight, str) and self.class_weight == "balanced":
            raise ValueError(
                "class_weight='balanced' needs all rows at once, which partial_fit has not; give the weights that "
                "sklearn.utils.class_weight.compute_class_weight('balanced', classes=classes, y=y) finds, as a dict"
            )
        if self._is_first_call(classes):
            self._label_binarizer = LabelBinarizer()
            self._label_binarizer.fit(y if type_of_target(y).startswith("multilabel") else classes)
        fitted: MLPClassifier = self._fit(X, y, sample_weight, (None, None, None), incremental=True)
        return fitted

    def _is_first_call(self, classes: Any) -> bool:
        """Whether `partial_fit` begins; raises ValueError where it does without classes, or classes are others now."""
        if getattr(self, "classes_", None) is None:
            if classes is None:
                raise ValueError("classes must be passed on the first call to partial_fit.")
            self.classes_ = unique_labels(classes)
            return True
        if classes is not None and not np.array_equal(self.classes_, unique_labels(classes)):
            raise ValueError(
                f"`classes={classes!r}` is not the same as on last call to partial_fit, was: {self.classes_!r}"
            )
        return False

    def predict(self, X: Any, *, check_input: bool = True) -> np.ndarray:
        """The class of each row, (rows,), or zeros and ones (rows, classes).

        Without check_input, X must be an array (rows, features) of numbers: for one row in a hurry.
        """
        outputs = self._outputs(X, check_input)
        if self.out_activation_ == "softmax":
            return self.classes_.take(outputs.argmax(axis=1))
        probabilities = expit(outputs)
        if self.n_outputs_ > 1:
            return self._label_binarizer.inverse_transform(probabilities)
        return self.classes_.take((probabilities[:, 0] > 0.5) & (len(self.classes_) > 1))

    def predict_proba(self, X: Any, *, check_input: bool = True) -> np.ndarray:
        """The probability of each class, (rows, classes), in the order of `classes_`."""
        outputs = self._outputs(X, check_input)
        if self.out_activation_ == "softmax":
            return _softmax(outputs)
        probabilities = expit(outputs, out=outputs)
        return probabilities if self.n_outputs_ > 1 else np.hstack([1 - probabilities, probabilities])

    def predict_log_proba(self, X: Any, *, check_input: bool = True) -> np.ndarray:
        """The logarithms of `predict_proba`."""
        probabilities = self.predict_proba(X, check_input=check_input)
        return np.log(probabilities, out=probabilities)

    def input_gradient(self, X: Any) -> np.ndarray:
        """The gradients of the probabilities with respect to X, (rows, classes, features)."""
        outputs, gradients = self._gradients(X)
        if self.out_activation_ == "softmax":
            p = _softmax(outputs)[:, :, np.newaxis]
            return p * (gradients - np.sum(p * gradients, axis=1, keepdims=True))
        p = expit(outputs)[:, :, np.newaxis]
        gradients *= p * (1 - p)
        return gradients if self.n_outputs_ > 1 else np.concatenate([-gradients, gradients], axis=1)

    def _checked(self, X: Any, y: Any, reset: bool) -> tuple[Any, Any]:
        X, y = validate_data(
            self, X, y, accept_sparse=["csr", "csc"], multi_output=True, dtype=(np.float64, np.float32), reset=reset
        )
        return X, one_column(y)

    def _check_kind(self, y: Any, first: bool, incremental: bool) -> None:
        if not hasattr(self, "classes_") or not (self.warm_start or incremental):
            self._label_binarizer = LabelBinarizer().fit(y)
            self.classes_ = self._label_binarizer.classes_
            return
        classes = unique_labels(y)
        if self.warm_start and set(classes) != set(self.classes_):
            raise ValueError(
                "warm_start can only be used where `y` has the same classes as in the previous call to fit. Previously "
                f"got {self.classes_}, `y` has {classes}"
            )
        self._check_known(classes)

    def _check_known(self, classes: np.ndarray) -> None:
        if len(np.setdiff1d(classes, self.classes_, assume_unique=True)):
            raise ValueError(
                f"`y` has classes not in `self.classes_`. `self.classes_` has {self.classes_}. 'y' has {classes}."
            )

    def _begin_targets(self, y: Any, weight: np.ndarray | None, first: bool) -> None:
        binarizer = self._label_binarizer
        self.n_outputs_ = 1 if binarizer.y_type_ == "binary" else len(binarizer.classes_)
        self.out_activation_ = "softmax" if binarizer.y_type_ == "multiclass" else "logistic"

    def _targets(self, y: Any) -> np.ndarray:
        is_multilabel = self.n_outputs_ > 1 and self.out_activation_ == "logistic"
        if y.ndim > 1 and not is_multilabel:
            raise ValueError("The object was not fitted with multilabel input.")
        self._check_known(unique_labels(y))
        if is_multilabel:
            shares = y[:, np.newaxis] == self._label_binarizer.classes_ if y.ndim == 1 else y
            if shares.shape[1] != self.n_outputs_:
                raise ValueError(f"y has {shares.shape[1]} labels; the network was fitted with {self.n_outputs_}.")
            return (shares if isinstance(shares, np.ndarray) else shares.toarray()).astype(np.float64)
        if self.out_activation_ == "softmax":
            return np.searchsorted(self.classes_, y)
        return (y == self.classes_[-1])[:, np.newaxis] & (len(self.classes_) > 1)

    def _weighed(self, y: Any, weight: np.ndarray | None) -> np.ndarray | None:
        if self.class_weight is None:
            return weight
        of_class: np.ndarray = compute_sample_weight(self.class_weight, y)
        return of_class if weight is None else weight * of_class

    def _objective(self) -> Objective:
        clip = float(np.finfo(self._network.plan.dtype).eps)
        if self.out_activation_ == "softmax":
            return Objective(CrossEntropy(clip=clip), self.alpha, 1)
        return Objective(BCEWithLogits(reduction="batchmean", clip=clip), self.alpha, 1)

    def _score_outputs(self, outputs: np.ndarray, targets: np.ndarray, weight: np.ndarray | None) -> float:
        if self.out_activation_ == "softmax":
            return accuracy(outputs.argmax(axis=1) == targets, weight)
        found = (expit(outputs) > 0.5) & (len(self.classes_) > 1)
        return accuracy((found == (targets > 0.5)).all(axis=1), weight)

    def _split_by(self, targets: np.ndarray) -> np.ndarray | None:
        return targets if self.n_outputs_ == 1 else None

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        return tags


def _softmax(outputs: np.ndarray) -> np.ndarray:
    e: np.ndarray = np.exp(outputs - outputs.max(axis=1, keepdims=True))
    e /= e.sum(axis=1, keepdims=True)
    return e
