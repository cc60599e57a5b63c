"""Estimators for scikit-learn: its `MLPClassifier` and `MLPRegressor`, on kernels. They need the extra `sklearn`."""

try:
    from sklearn.utils.validation import validate_data  # noqa: F401  # which came with 1.6
except ImportError as error:
    raise ImportError(
        f'fastnp.estimators needs scikit-learn 1.6 or later: pip install "fastnp[sklearn]" ({error})'
    ) from error

from typing import Any

from ..interchange.container import Container
from .classifier import MLPClassifier
from .kept import read_estimator
from .regressor import MLPRegressor

__all__ = ["MLPClassifier", "MLPRegressor"]


def estimator_of(container: Container) -> Any:
    """The estimator in a file that `fastnp.load` has opened."""
    return read_estimator(container, {cls.__name__: cls for cls in (MLPClassifier, MLPRegressor)})
