"""Estimators for scikit-learn: its `MLPClassifier` and `MLPRegressor`, on kernels. They need the extra `sklearn`."""

try:
    from sklearn.utils.validation import validate_data  # noqa: F401  # which came with 1.6
except ImportError as error:
    raise ImportError(
        f'fastnp.estimators needs scikit-learn 1.6 or later: pip install "fastnp[sklearn]" ({error})'
    ) from error

from .classifier import MLPClassifier
from .regressor import MLPRegressor

__all__ = ["MLPClassifier", "MLPRegressor"]
