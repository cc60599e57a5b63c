"""Estimators and scikit-learn's own, side by side: data for each task, the same calls, and how far apart they end."""

import warnings

import numpy as np
from products import matrix_product
from sklearn import neural_network as theirs

from fastnp import estimators as ours

CLASSIFIED = ["two classes", "classes", "labels"]
TASKS = [*CLASSIFIED, "number", "numbers", "counts", "columns of counts"]
ATTRIBUTES = [
    "classes_", "n_features_in_", "n_layers_", "n_outputs_", "out_activation_", "coefs_", "intercepts_", "n_iter_",
    "t_", "loss_", "best_loss_", "loss_curve_", "validation_scores_", "best_validation_score_",
]  # fmt: skip
RESULTS = ["predict", "predict_proba", "predict_log_proba"]


def data(task, rows=97, seed=0):
    """x of six features, and what belongs to it, with some noise."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(rows, 6))
    z = np.sin(matrix_product(x, np.linspace(-1, 1, 24).reshape(6, 4))) + 0.3 * rng.normal(size=(rows, 4))
    y = {
        "two classes": np.where(z[:, 0] > 0.2, "yes", "no"),
        "classes": np.array([3, 5, 8])[z[:, :3].argmax(axis=1)],
        "labels": (z > 0.1).astype(int),
        "number": 2 * z[:, 0] + 1,
        "numbers": z[:, :3],
        "counts": rng.poisson(np.exp(z[:, 0])),
        "columns of counts": rng.poisson(np.exp(z[:, :2])),
    }
    return x, y[task]


def weights(kind, rows=97):
    """What rows weigh: nothing given, different weights, or with zeros among them."""
    drawn = np.random.default_rng(1).uniform(0.2, 3, rows)
    return {"none": None, "some": drawn, "zeros": drawn * (np.arange(rows) % 3 > 0)}[kind]


def pair(task, **settings):
    """Their estimator and ours, with the same settings."""
    name = "MLPClassifier" if task in CLASSIFIED else "MLPRegressor"
    if "counts" in task:
        settings["loss"] = "poisson"
    settings = {"hidden_layer_sizes": (7, 5), "random_state": 3, "max_iter": 20, **settings}
    return [getattr(module, name)(**settings) for module in (theirs, ours)]


def call(estimators, method, *arguments, **options):
    """The same call to both, which warn in the same way and change nothing that they are given."""
    given = [np.array(a, copy=True) for a in arguments if isinstance(a, np.ndarray)]
    warned = []
    for estimator in estimators:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            assert getattr(estimator, method)(*arguments, **options) is estimator
        warned.append([(w.category, str(w.message).splitlines()[0]) for w in caught])
    assert warned[0] == warned[1]
    for before, after in zip(given, [a for a in arguments if isinstance(a, np.ndarray)], strict=True):
        np.testing.assert_array_equal(before, after)
    return warned[0]


def apart(expected, found, least=0.0):
    """How far two arrays are apart, by the largest number of the first, or the least; inf where no distance can be."""
    if isinstance(expected, list) and np.ndim(expected[0]):
        assert len(expected) == len(found)
        return max(map(apart, expected, found))
    if expected is None or found is None:
        return 0.0 if expected is found else np.inf
    expected, found = np.asarray(expected), np.asarray(found)
    assert (expected.shape, expected.dtype) == (found.shape, found.dtype)
    if expected.dtype.kind != "f":
        return 0.0 if np.array_equal(expected, found) else np.inf
    finite = np.isfinite(expected)
    if not np.array_equal(expected[~finite], found[~finite], equal_nan=True):
        return np.inf
    distance = np.abs(expected[finite] - found[finite]).max(initial=0)
    return float(distance / max(least, np.abs(expected[finite]).max())) if distance else 0.0


def assert_agree(estimators, x, at_most=1e-9, results=RESULTS):
    """All that is learned, and what is predicted by it, is the same; prints what is furthest apart."""
    expected, found = estimators
    distances = {}
    for name in ATTRIBUTES:
        assert hasattr(found, name) == hasattr(expected, name), name
        if hasattr(expected, name):  # scores are of 1, and may be next to 0
            distances[name] = apart(getattr(expected, name), getattr(found, name), float("score" in name))
    with np.errstate(divide="ignore"):  # the logarithm of a probability of 0
        for name in results:
            if hasattr(expected, name):
                distances[name] = apart(getattr(expected, name)(x), getattr(found, name)(x))
    worst = max(distances, key=distances.get)
    print(f"apart by {distances[worst]:.1e}, {worst}")
    assert {name: distance for name, distance in distances.items() if not distance <= at_most} == {}
