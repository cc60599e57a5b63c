"""`gradient_check` passes right gradients and names the layer whose gradients are wrong."""

import numpy as np
import pytest
from cases import DTYPES
from models import assert_same_bits, batches, build, gradients, sgd, train, values
from planted import Changed, plant, sound

import fastnp as nn

RNG = np.random.default_rng(3)
X, Y = RNG.normal(size=(6, 3)), RNG.normal(size=(6, 2))

dtypes = pytest.mark.parametrize("dtype", DTYPES, ids=lambda dtype: dtype.__name__)


def linear(n_in, n_out, dtype=np.float32, seed=0):
    rng = np.random.default_rng(seed)
    return nn.Linear(n_in, n_out, weight_attr=nn.HeNormal(rng=rng), bias_attr=nn.Normal(std=1, rng=rng), dtype=dtype)


class Tanh(nn.Layer):
    """y = tanh(x); `factor` and `missing` plant errors."""

    def __init__(self, factor=1.0, missing=False):
        super().__init__("tanh")
        self.factor, self.missing = factor, missing

    def forward(self, x):
        self.y = np.tanh(x)
        return self.y

    def backward(self, gradient):
        return self.factor * gradient * (1 - (0 if self.missing else self.y**2))


class Affine(nn.Layer):
    """y = s·x + t for rows s and t; the factors are 1 where the gradients are right."""

    def __init__(self, n, of_input=1.0, of_s=1.0, of_t=1.0, first_row_only=False):
        super().__init__("affine")
        self.s, self.t = nn.Tensor((1, n)), nn.Tensor((1, n))
        self.s.data = np.linspace(0.5, 1.5, n)[np.newaxis]
        self.factors = of_input, of_s, of_t
        self.first_row_only = first_row_only

    def forward(self, x):
        self.x = x
        return self.s.data * x + self.t.data

    def backward(self, gradient):
        of_input, of_s, of_t = self.factors
        rows = slice(0, 1 if self.first_row_only else None)
        self.s.grad += of_s * np.sum((gradient * self.x)[rows], axis=0, keepdims=True)
        self.t.grad += of_t * np.sum(gradient, axis=0, keepdims=True)
        return of_input * gradient * self.s.data

    def parameters(self):
        return [self.s, self.t]


class Mixed(nn.Layer):
    """y = x·A for a fixed A that is not symmetric; `transposed` plants the classical error."""

    A = np.arange(25.0).reshape(5, 5) / 10 - 1

    def __init__(self, transposed=False):
        super().__init__("mixed")
        self.transposed = transposed

    def forward(self, x):
        return x @ self.A

    def backward(self, gradient):
        return gradient @ (self.A if self.transposed else self.A.T)


class Loss:
    """(name, value, gradient) as a loss."""

    def __init__(self, value, gradient):
        self.value, self.gradient = value, gradient

    def __call__(self, pred, target):
        self.last = pred, np.asarray(target)
        return self.value(*self.last)

    def backward(self):
        return self.gradient(*self.last)


def huber(factor=1.0):
    return Loss(
        lambda p, t: float(np.sum(np.where(abs(p - t) < 1, 0.5 * (p - t) ** 2, abs(p - t) - 0.5))),
        lambda p, t: factor * np.clip(p - t, -1, 1),
    )


def quartic():
    return Loss(lambda p, t: float(np.mean((p - t) ** 4)), lambda p, t: 4 * (p - t) ** 3 / p.size)


def absolute():
    return Loss(lambda p, t: abs(p - t), lambda p, t: np.sign(p - t))  # an array, as MSE('none')


def checked(model, loss_fn=None, x=X, target=Y, **options):
    report = nn.gradient_check(model, loss_fn or nn.MSE(), x, target, **options)
    assert report.passed, f"\n{report}"
    report.raise_if_failed()
    return report


def wrong_rows(report):
    return {(row.where, row.of) for row in report.rows if not row.passed}


# --- right gradients pass ---


@dtypes
@pytest.mark.parametrize("widths", [(3, 2), (3, 9, 2), (3, 16, 64, 16, 2), (3, 1, 2)], ids=str)
def test_dense_networks(widths, dtype, backend):
    report = checked(build(*widths, dtype=dtype))
    assert max(row.fraction for row in report.rows) < 0.1
    of_layers = {(f"{2 * i} linear", of) for i in range(len(widths) - 1) for of in ("input", "tensor 0", "tensor 1")}
    assert of_layers | {("the loss", "input"), ("the whole model", "input")} <= {(r.where, r.of) for r in report.rows}
    assert all(row.backward != 0 for row in report.rows if row.where == "the loss")


@pytest.mark.parametrize(
    "layers",
    [
        lambda: [linear(3, 9), nn.ReLU(), nn.ReLU(), linear(9, 2)],
        lambda: [nn.ReLU(), linear(3, 2), nn.ReLU()],
        lambda: [linear(3, 4), linear(4, 2)],
        lambda: [nn.Sequential(linear(3, 4), nn.ReLU()), nn.Sequential(nn.Sequential(linear(4, 2)))],
        lambda: [linear(3, 4), linear(4, 2, np.float64)],
        lambda: [Affine(3), linear(3, 5), Mixed(), nn.ReLU(), linear(5, 2), Tanh()],
    ],
    ids=["relu-twice", "relu-at-the-ends", "chain", "nested", "both-dtypes", "own"],
)
def test_other_models(layers, backend):
    checked(nn.Sequential(*layers()))


@pytest.mark.parametrize("model", [linear(3, 2), Affine(3)], ids=["linear", "own"])
def test_a_layer_alone(model):
    report = checked(model, target=np.ones((6, 2 if isinstance(model, nn.Linear) else 3)))
    assert {"input", "tensor 0", "tensor 1"} == {row.of for row in report.rows if row.where.startswith("0 ")}


@pytest.mark.parametrize(
    "loss_fn",
    [nn.MSE(), nn.MSE(reduction="sum"), nn.MSE(reduction="none"), huber(), quartic(), absolute()],
    ids=["mean", "sum", "none", "huber", "quartic", "absolute"],
)
def test_losses(loss_fn, backend):
    checked(build(3, 9, 2), loss_fn)


def test_inputs_of_zero_behind_a_relu():
    """The second ReLU's inputs are 0 at the kink wherever the first one cut off."""
    model = nn.Sequential(linear(3, 9), nn.ReLU(), nn.ReLU(), nn.ReLU(), linear(9, 2))
    model.forward(X)
    assert (model.graphs[1].activated == 0).any()
    checked(model)


def test_a_single_relu_cell_at_its_kink_is_no_error():
    x = X.copy()
    x[2, 1] = 0
    report = nn.gradient_check(nn.Sequential(nn.ReLU(), linear(3, 2)), nn.MSE(), x, Y)
    assert not {row for row in wrong_rows(report) if row[0] != "the whole model"}


@pytest.mark.parametrize("seed", range(5))
def test_seeds_and_lists(seed):
    model = build(3, 9, 2)
    report = checked(model, x=X.tolist(), target=Y.tolist(), seed=seed)
    assert str(report) == str(checked(model, seed=seed))
    assert str(report) != str(checked(model, seed=seed + 1))


@pytest.mark.parametrize("init", [nn.Normal(rng=np.random.default_rng(0)), nn.Constant(0.25)], ids=["small", "equal"])
def test_other_starts(init):
    checked(nn.Sequential(nn.Linear(3, 9, weight_attr=init), nn.ReLU(), nn.Linear(9, 2, weight_attr=init)))


def test_leftover_gradients_do_not_count():
    model = build(3, 9, 2)
    model.backward(np.ones_like(model(X)))
    checked(model)


# Inputs exactly at a kink of the whole model: its derivative there is one of the one-sided ones.
KINKS = {
    "relu-first": (lambda: [nn.ReLU(), nn.Linear(3, 2)], np.zeros((6, 3))),
    "row-of-zeros": (lambda: [nn.Linear(3, 9), nn.ReLU(), nn.Linear(9, 2)], np.vstack([X[:5], np.zeros((1, 3))])),
    "all-zeros": (lambda: [nn.Linear(3, 9), nn.ReLU(), nn.Linear(9, 2)], np.zeros((6, 3))),
    "dead-row": (lambda: [nn.Linear(3, 1), nn.ReLU(), nn.Linear(1, 9), nn.ReLU(), nn.Linear(9, 2)], X),
}


@pytest.mark.parametrize("name", KINKS)
def test_inputs_exactly_at_a_kink_of_the_whole_model(name):
    layers, x = KINKS[name]
    model = nn.Sequential(*layers())
    rng = np.random.default_rng(0)
    for layer in model.graphs:
        if isinstance(layer, nn.Linear):  # the biases are 0
            layer.weights.data = rng.normal(size=layer.weights.shape)
    checked(model, x=x)


# --- wrong gradients are found, in their place ---

WRONG = {
    "factor": (lambda: Tanh(factor=1.01), {"input"}),
    "sign": (lambda: Tanh(factor=-1), {"input"}),
    "missing-term": (lambda: Tanh(missing=True), {"input"}),
    "zero": (lambda: Tanh(factor=0), {"input"}),
    "not-a-number": (lambda: Tanh(factor=np.nan), {"input"}),
    "transposed": (lambda: Mixed(transposed=True), {"input"}),
    "input": (lambda: Affine(5, of_input=2), {"input"}),
    "first-tensor": (lambda: Affine(5, of_s=0.5), {"tensor 0"}),
    "second-tensor": (lambda: Affine(5, of_t=-1), {"tensor 1"}),
    "both-tensors": (lambda: Affine(5, of_s=2, of_t=0), {"tensor 0", "tensor 1"}),
    "one-row-only": (lambda: Affine(5, first_row_only=True), {"tensor 0"}),
}


@pytest.mark.parametrize("name", WRONG)
@pytest.mark.parametrize("place", [1, 2, 3])
def test_the_row_of_a_wrong_layer_is_wrong_and_no_other(name, place, backend):
    make, expected = WRONG[name]
    layers = [linear(3, 5), nn.ReLU(), linear(5, 5, seed=1), linear(5, 2, seed=2)]
    layers.insert(place, make())
    model = nn.Sequential(*layers)
    report = nn.gradient_check(model, nn.MSE(), X, Y)
    wrong = wrong_rows(report)
    where = f"{place} {layers[place].name}"
    assert {row for row in wrong if row[0] != "the whole model"} == {(where, of) for of in expected}
    assert any(row[0] == "the whole model" for row in wrong)
    with pytest.raises(nn.CheckFailed):
        report.raise_if_failed()


@pytest.mark.parametrize("factor", [2, -1, 0, 0.99, np.nan])
def test_a_wrong_loss(factor):
    report = nn.gradient_check(build(3, 9, 2), huber(factor), X, Y)
    wrong = wrong_rows(report)
    assert {row for row in wrong if row[0] != "the whole model"} == {("the loss", "input")}
    assert ("the whole model", "input") in wrong


def test_a_wrong_kernel(monkeypatch):
    part = "linear.linear.parameters.gradients"
    right = sound(part)
    plant(monkeypatch, part, lambda op: right(Changed(op, x=op.x[:-1], dy=op.dy[:-1])))
    model = build(3, 9, 2)
    with nn.use_backend("numpy"):
        wrong = wrong_rows(nn.gradient_check(model, nn.MSE(), X, Y))
    assert {("0 linear", "tensor 0"), ("2 linear", "tensor 1")} <= wrong
    assert not {("0 linear", "input"), ("1 relu", "input"), ("the loss", "input")} & wrong
    with nn.use_backend("numba"):
        checked(model)


def test_tolerances_are_those_given():
    model = nn.Sequential(linear(3, 5), Tanh(factor=1.01), linear(5, 2))
    checked(model, rtol=0.1)
    assert not nn.gradient_check(model, nn.MSE(), X, Y, rtol=1e-4).passed
    checked(model, rtol=0, atol=10)


# --- what is printed, and what stays ---


def test_the_message_is_a_table():
    model = nn.Sequential(linear(3, 5), Tanh(factor=2), linear(5, 2))
    report = nn.gradient_check(model, nn.MSE(), X, Y)
    with pytest.raises(nn.CheckFailed) as caught:
        report.raise_if_failed()
    lines = str(caught.value).splitlines()
    assert lines[0] == "gradients are wrong:"
    assert lines[1].split() == ["layer", "gradient", "of", "backward", "difference", "of", "tolerance"]
    assert len(lines) == 2 + len(report.rows)
    (line,) = [line for line in lines if line.startswith("1 tanh")]
    backward, difference = map(float, line.split()[3:5])
    assert backward == pytest.approx(2 * difference, rel=1e-4)
    assert line.endswith("WRONG")
    assert not [line for line in lines if line.startswith("0 linear") and "WRONG" in line]
    assert max(map(len, lines)) <= 120


@dtypes
@pytest.mark.parametrize("sound", [True, False])
def test_the_model_stays_as_it_is(dtype, sound, backend):
    model = build(3, 9, 2, dtype=dtype)
    model.add(Tanh(factor=1 if sound else 2))
    train(model, sgd(model), batches(3, 2))
    pred = model(X[:4])
    model.backward(np.ones_like(pred))
    before = [*values(model), *gradients(model), model.graphs[0].input, model.graphs[1].activated, model.graphs[3].y]
    x, target = X.copy(), Y.copy()
    assert nn.gradient_check(model, nn.MSE(), x, target).passed == sound
    after = [*values(model), *gradients(model), model.graphs[0].input, model.graphs[1].activated, model.graphs[3].y]
    assert_same_bits(before, after)
    assert all(tensor.dtype == dtype for tensor in model.parameters())
    assert_same_bits([x, target], [X, Y])


def test_random_numbers_stay_as_they_are():
    np.random.seed(4)
    state = np.random.get_state()[1].copy()
    checked(build(3, 9, 2))
    assert np.array_equal(state, np.random.get_state()[1])


def test_the_loss_stays_as_it_is():
    """Between a loss and its backward, too, a check changes nothing."""
    model, loss_fn = build(3, 9, 2), nn.MSE()
    loss_fn(model(X), Y)
    gradient = loss_fn.backward()
    checked(model, loss_fn)
    assert_same_bits([gradient], [loss_fn.backward()])


@pytest.mark.parametrize(
    ("x", "target", "error", "words"),
    [
        (np.ones((6, 5)), Y, ValueError, r"Linear\(in_features=3\) got an input with 5 features"),
        (X, Y[:5], ValueError, "they must be equal"),
        ([["a", "b", "c"]], Y, TypeError, "x has dtype"),
    ],
)
def test_bad_data_gives_the_models_error(x, target, error, words):
    with pytest.raises(error, match=words):
        nn.gradient_check(build(3, 9, 2), nn.MSE(), x, target)


def test_no_directions_is_refused_in_the_users_words():
    with pytest.raises(ValueError, match="directions must be at least 1"):
        nn.gradient_check(build(3, 9, 2), nn.MSE(), X, Y, directions=0)
