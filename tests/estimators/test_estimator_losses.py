"""Losses of regressors, against gradient descent in plain NumPy; targets that are scaled inside."""

import numpy as np
import pytest
from estimating import BINARY, COUNTS, LABELS, MANY, WEIGHTS, X_VAL, Y2, Network, X, Y, like, parameters, slopes

pytest.importorskip("sklearn")
from sklearn.compose import TransformedTargetRegressor
from sklearn.preprocessing import LabelBinarizer, StandardScaler

from fastnp.estimators import MLPClassifier, MLPRegressor

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

DESCENT = {
    "hidden_layer_sizes": (5, 4), "solver": "sgd", "momentum": 0.0, "learning_rate_init": 0.1, "alpha": 0.3,
    "activation": "tanh", "random_state": 0,
}  # fmt: skip
LOSSES = {
    "squared_error": ({}, Y),
    "absolute_error": ({}, Y),
    "huber": ({"huber_delta": 0.7}, Y),
    "quantile": ({"quantile": 0.8}, Y),
    "poisson": ({}, COUNTS),
}


def descends(model, network, x, y, encoded, weight):
    for _ in range(4):
        loss = network.step(x, encoded, weight, alpha=0.3)
        assert model.partial_fit(x, y, weight).loss_ == pytest.approx(loss, rel=1e-10)
    network.assert_equals(model)


@pytest.mark.parametrize("weight", [None, WEIGHTS], ids=["plain", "weighted"])
@pytest.mark.parametrize("loss", LOSSES)
def test_steps_of_a_regressor(loss, weight):
    settings, y = LOSSES[loss]
    model = MLPRegressor(loss, **DESCENT, **settings).partial_fit(X, y, weight)
    descends(model, Network(model, loss, *settings.values()), X, y, y, weight)


@pytest.mark.parametrize("loss", LOSSES)
def test_steps_with_several_outputs(loss):
    """The gradient is the sum over the outputs, also where the loss is the mean."""
    settings, _ = LOSSES[loss]
    y = np.abs(Y2) if loss == "poisson" else Y2
    model = MLPRegressor(loss, **DESCENT, **settings).partial_fit(X, y)
    descends(model, Network(model, loss, *settings.values()), X, y, y, None)


@pytest.mark.parametrize("weight", [None, WEIGHTS], ids=["plain", "weighted"])
@pytest.mark.parametrize("y", [LABELS, BINARY, MANY], ids=["three", "binary", "multilabel"])
def test_steps_of_a_classifier(y, weight):
    model = MLPClassifier(**DESCENT).partial_fit(X, y, weight, classes=np.unique(y) if y.ndim == 1 else np.arange(3))
    loss = "log_loss" if y is LABELS else "binary_log_loss"
    encoded = LabelBinarizer().fit(y).transform(y).astype(float)
    descends(model, Network(model, loss), X, y, encoded, weight)


@pytest.mark.parametrize("loss", LOSSES)
def test_lbfgs_comes_to_where_a_step_changes_little(loss):
    settings, y = LOSSES[loss]
    chosen = DESCENT | settings | {"solver": "lbfgs"}
    model = MLPRegressor(loss, **chosen, max_iter=100).fit(X, y)
    network = Network(model, loss, *settings.values())
    start = MLPRegressor(loss, **chosen, max_iter=1).fit(X, y)
    reached, began = network.step(X, y, alpha=0.3, rate=1e-6), Network(start, loss, *settings.values())
    assert model.loss_ == pytest.approx(reached, rel=1e-9) and reached < began.step(X, y, alpha=0.3)
    if loss in ("squared_error", "poisson", "huber"):  # which are smooth
        moved = (parameters(model) - np.concatenate([a.ravel() for a in [*network.coefs, *network.intercepts]])) / 1e-6
        assert abs(moved).max() < 0.05


@pytest.mark.parametrize("q", [0.1, 0.5, 0.9])
def test_a_share_of_the_targets_lies_below_their_quantile(q):
    """In both halves, of which one is spread more widely."""
    rng = np.random.default_rng(0)
    x = rng.uniform(-1, 1, (2000, 1))
    y = np.exp(x[:, 0]) * rng.standard_normal(2000) + 2 * x[:, 0]
    model = MLPRegressor("quantile", (20,), quantile=q, learning_rate_init=0.01, random_state=0, scale_y=True)
    below = y < model.fit(x, y).predict(x)
    assert abs(below.mean() - q) < 0.04
    assert all(abs(below[half].mean() - q) < 0.06 for half in (x[:, 0] < 0, x[:, 0] > 0))


def test_outliers_pull_the_square_and_not_the_others():
    y = Y.copy()
    y[::12] += 1000
    clean, errors = np.arange(60) % 12 > 0, {}
    for loss in "squared_error", "absolute_error", "huber", "quantile":
        model = MLPRegressor(loss, (10,), solver="lbfgs", max_iter=40, random_state=0).fit(X, y)
        errors[loss] = np.median(abs(model.predict(X) - y)[clean])
    assert all(errors["squared_error"] > 3 * error for loss, error in errors.items() if loss != "squared_error")


def test_poisson_wants_counts():
    with pytest.raises(ValueError, match="poisson"):
        MLPRegressor("poisson", random_state=0).fit(X, COUNTS - 1)


# --- scale_y ---

SCALED = {"hidden_layer_sizes": (6,), "max_iter": 12, "random_state": 0}


@pytest.mark.parametrize("solver", ["adam", "sgd", "lbfgs"])
@pytest.mark.parametrize("y", [Y * 1000 + 5000, Y2 * [1e-3, 1e3]], ids=["one", "two"])
def test_scaled_targets_are_those_of_a_wrapper(y, solver):
    model = MLPRegressor(**SCALED, solver=solver, scale_y=True).fit(X, y)
    wrapper = TransformedTargetRegressor(MLPRegressor(**SCALED, solver=solver), transformer=StandardScaler())
    wrapper.fit(X, y)
    np.testing.assert_allclose(model.predict(X), wrapper.predict(X), rtol=1e-7)
    assert model.predict(X).shape == y.shape
    assert model.loss_ == pytest.approx(wrapper.regressor_.loss_, rel=1e-7)  # in units of the scaled y


@pytest.mark.parametrize("loss", ["absolute_error", "huber", "quantile"])
def test_other_losses_of_scaled_targets(loss):
    model = MLPRegressor(loss, **SCALED, scale_y=True).fit(X, 300 * Y)
    wrapper = TransformedTargetRegressor(MLPRegressor(loss, **SCALED), transformer=StandardScaler()).fit(X, 300 * Y)
    np.testing.assert_allclose(model.predict(X), wrapper.predict(X), rtol=1e-7)


def test_weights_count_where_targets_are_scaled():
    y = 100 * Y + 7
    mean = np.average(y, weights=WEIGHTS)
    scale = np.sqrt(np.average((y - mean) ** 2, weights=WEIGHTS))
    model = MLPRegressor(**SCALED, scale_y=True).fit(X, y, WEIGHTS)
    plain = MLPRegressor(**SCALED).fit(X, (y - mean) / scale, WEIGHTS)
    np.testing.assert_allclose(model.predict(X), plain.predict(X) * scale + mean, rtol=1e-7)


def test_rows_of_weight_0_do_not_scale():
    y, weight = 100 * Y, np.ones(60)
    y[:5], weight[:5] = 1e9, 0
    model = MLPRegressor(**SCALED | {"max_iter": 200}, learning_rate_init=0.02, scale_y=True).fit(X, y, weight)
    assert model.score(X[5:], y[5:]) > 0.8


def test_constant_targets():
    for y in np.full(60, 7e6), np.stack([np.full(60, -3.0), Y], axis=1):
        found = MLPRegressor(**SCALED, scale_y=True).fit(X, y).predict(X)
        assert found.shape == y.shape and np.isfinite(found).all()
        assert np.abs(found.T[0] - y.T[0]).max() < 3  # a constant is not divided by its deviation of 0


def test_validation_and_gradient_of_scaled_targets():
    y, y_val = 1000 * Y + 10, 1000 * like(Y) + 10
    model = MLPRegressor(**SCALED, activation="tanh", scale_y=True, early_stopping=True)
    model.fit(X, y, X_val=X_VAL, y_val=y_val)
    assert model.best_validation_score_ == pytest.approx(model.score(X_VAL, y_val), rel=1e-9)
    np.testing.assert_allclose(model.input_gradient(X), slopes(model.predict, X), rtol=1e-5, atol=1e-2)
    rows = (model.predict(X_VAL) - y_val) ** 2 / np.var(y) / 2
    assert min(model.validation_loss_curve_) == pytest.approx(rows.mean(), rel=1e-7)


def test_a_second_part_of_the_data_is_scaled_as_the_first():
    """Predictions of what was learned do not jump when targets of another spread come."""
    model = MLPRegressor(**SCALED, scale_y=True, solver="sgd", learning_rate_init=1e-30)
    before = model.partial_fit(X, 1000 * Y).predict(X)
    after = model.partial_fit(X, 5 * Y - 300).predict(X)
    np.testing.assert_allclose(after, before, rtol=1e-12)


def test_counts_are_not_scaled():
    with pytest.raises(ValueError, match=r"(?s)scale_y.*poisson|poisson.*scale_y"):
        MLPRegressor("poisson", scale_y=True).fit(X, COUNTS)
