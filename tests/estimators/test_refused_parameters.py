"""Parameters with values that cannot be: an error of `fit` that names the parameter and what it may be."""

import numpy as np
import pytest
from estimating import COUNTS, LABELS, X, Y

pytest.importorskip("sklearn")

from fastnp.estimators import MLPClassifier, MLPRegressor

NAN = float("nan")
BOTH = {  # values, and what is said of each besides the name
    "dropout": ([-0.1, 1.0, 2, NAN, "half", None], r"\b0\b.*\b1\b"),
    "dtype": (["float16", "int64", "double precision", 3], "float32.*float64|float64.*float32"),
    "scoring": ([3, ["loss"]], "loss.*callable"),
    "verbose": (["loud", None, -1], "bar|bool"),
    "activation": (["swish", None, 3, ("swish",)], "leaky_relu.*gelu_tanh|gelu_tanh.*leaky_relu"),
    "hidden_layer_sizes": ([0, -3, (3, 0), 2.5, "many", None], ""),
    "solver": (["newton", None], r"lbfgs"),
    "alpha": ([-1.0, NAN, "small"], ""),
    "batch_size": ([0, -5, 2.5, "large"], "auto|integer|int"),
    "learning_rate": (["fast", None], r"constant"),
    "learning_rate_init": ([0.0, -1.0, "x"], ""),
    "power_t": ([-1.0, "x"], ""),
    "max_iter": ([0, -1, 2.5], ""),
    "shuffle": (["yes", None], ""),
    "random_state": (["seed", -1.5], ""),
    "tol": ([-1.0, "x"], ""),
    "warm_start": (["yes", None], ""),
    "momentum": ([-0.1, 1.1, "x"], ""),
    "nesterovs_momentum": (["yes", None], ""),
    "early_stopping": (["yes", None], ""),
    "validation_fraction": ([-0.1, 1.0, "x"], ""),
    "beta_1": ([-0.1, 1.0], ""),
    "beta_2": ([-0.1, 1.0], ""),
    "epsilon": ([0.0, -1e-8], ""),
    "n_iter_no_change": ([0, -1, 1.5], ""),
    "max_fun": ([0, 2.5], ""),
}
OF_REGRESSORS = {
    "loss": (["mae", "log_loss", None, 3], r"squared_error.*absolute_error|absolute_error.*squared_error"),
    "quantile": ([0.0, 1.0, -0.1, 1.5, NAN, "x", None], r"\b0\b.*\b1\b"),
    "huber_delta": ([0.0, -1.0, NAN, "x", None], r"positive|\b0\b"),
    "scale_y": (["yes", None], "bool|True"),
}


def table(*parts):
    return [(name, value, said) for part in parts for name, (values, said) in part.items() for value in values]


def assert_refused(model, name, said, y):
    with pytest.raises((ValueError, TypeError), match=rf"(?s){name}") as caught:
        model.fit(X, y)
    message = str(caught.value)
    assert len(message) < 1000
    with pytest.raises((ValueError, TypeError), match=rf"(?s){said}"):
        model.fit(X, y)
    assert not hasattr(model, "coefs_") and not hasattr(model, "n_features_in_"), "refused too late"


@pytest.mark.parametrize(("name", "value", "said"), table(BOTH, OF_REGRESSORS))
def test_regressors(name, value, said):
    assert_refused(MLPRegressor(**{name: value}), name, said, Y)


@pytest.mark.parametrize(("name", "value", "said"), table(BOTH))
def test_classifiers(name, value, said):
    assert_refused(MLPClassifier(**{name: value}), name, said, LABELS)


@pytest.mark.parametrize("weight", ["unbalanced", 3])
def test_weights_of_classes(weight):
    with pytest.raises(ValueError, match=r"class_weight.*balanced"):
        MLPClassifier(class_weight=weight).fit(X, LABELS)


@pytest.mark.parametrize("made", [MLPRegressor, MLPClassifier])
def test_a_score_that_nobody_knows(made):
    with pytest.raises(ValueError, match=r"scoring.*no such score"):
        made(scoring="no such score", early_stopping=True).fit(X, Y > 0)


@pytest.mark.parametrize("name", ["dropout", "dtype", "activation", "scale_y"])
def test_partial_fit_refuses_the_same(name):
    for value in (BOTH | OF_REGRESSORS)[name][0]:
        with pytest.raises((ValueError, TypeError), match=name):
            MLPRegressor(**{name: value}).partial_fit(X, Y)


@pytest.mark.parametrize("made", [MLPRegressor, MLPClassifier])
@pytest.mark.parametrize(
    ("sizes", "activation"), [((5, 4), ("relu",)), ((5,), ("relu", "tanh")), (5, ()), ((), ("relu",))], ids=str
)
def test_as_many_activations_as_hidden_layers(sizes, activation, made):
    with pytest.raises(ValueError, match="activation") as caught:
        made(hidden_layer_sizes=sizes, activation=activation).fit(X, Y > 0)
    assert str(len(activation)) in str(caught.value)


@pytest.mark.parametrize("sizes", [(64, 64), [64, 64], 64, (100,)], ids=str)
def test_sizes_in_the_place_of_the_loss(sizes):
    with pytest.raises(ValueError, match="hidden_layer_sizes=") as caught:
        MLPRegressor(sizes).fit(X, Y)
    if isinstance(sizes, tuple):
        assert f"hidden_layer_sizes={sizes}" in str(caught.value)


@pytest.mark.parametrize("value", [np.float32(0.25), np.float64(0.25), np.int64(0)])
def test_numbers_of_numpy_are_numbers(value):
    model = MLPRegressor(
        dropout=value, max_iter=1, hidden_layer_sizes=np.int64(3), scale_y=np.True_, n_iter_no_change=1
    )
    with pytest.warns(UserWarning):  # that it has not converged
        model.fit(X, Y)


def test_what_is_new_is_given_by_name():
    for made in MLPRegressor, MLPClassifier:
        with pytest.raises(TypeError, match="positional"):
            made(*["relu"] * 30)


def test_parts_that_do_not_go_together():
    with pytest.raises(ValueError, match=r"(?s)scale_y.*poisson|poisson.*scale_y"):
        MLPRegressor("poisson", scale_y=True).fit(X, COUNTS)
    with pytest.raises(ValueError, match="early_stopping"):
        MLPRegressor(early_stopping=True).partial_fit(X, Y)
    with pytest.raises(ValueError, match=r"(?s)dropout.*lbfgs|lbfgs.*dropout"):
        MLPRegressor(dropout=0.2, solver="lbfgs").fit(X, Y)
