"""`cross_check` and `fastnp check` on sound models, and how they answer what is not a model and its input."""

import ast
import sys
from pathlib import Path

import numpy as np
import pytest
from cases import DTYPES
from models import assert_same_bits, batches, build, gradients, sgd, train, values
from planted import plant

import fastnp as nn
from fastnp.backend import BACKENDS
from fastnp.commands.main import main
from fastnp.trust.cross_report import CrossReport, CrossRow

dtypes = pytest.mark.parametrize("dtype", DTYPES, ids=lambda dtype: dtype.__name__)

WIDTHS = [(1, 1), (1, 16, 64, 16, 1), (3, 9, 5, 2), (17, 33, 65, 3), (100, 300, 10), (64, 64), (15, 1, 17)]
X = np.random.default_rng(3).normal(size=(7, 3))


class Double(nn.Layer):
    """y = 2x, not one of fastnp's layers."""

    def forward(self, x):
        return 2 * x

    def backward(self, gradient):
        return 2 * gradient


def linear(n_in, n_out, dtype=np.float32, seed=0):
    return nn.Linear(n_in, n_out, weight_attr=nn.HeNormal(rng=np.random.default_rng(seed)), dtype=dtype)


def checked(*arguments, **options):
    report = nn.cross_check(*arguments, **options)
    assert report.passed, str(report)
    assert all(np.isfinite(row.fraction) for row in report.rows)
    return report


def kinds(report):
    return {(row.where, row.what) for row in report.rows}


# --- sound models pass ---


@dtypes
@pytest.mark.parametrize("widths", WIDTHS, ids=str)
@pytest.mark.parametrize("rows", [1, 2, 37])
def test_dense_networks_pass(widths, dtype, rows):
    x = np.random.default_rng(rows).normal(size=(rows, widths[0]))
    report = checked(build(*widths, dtype=dtype), x)
    assert {row.backend for row in report.rows} == set(BACKENDS)
    linears = [f"{2 * i} linear" for i in range(len(widths) - 1)]
    for what in "output", "input gradient", "weights.grad", "bias.grad":
        assert {where for where, of in kinds(report) if of == what and "linear" in where} == set(linears)
    assert report.worst == max(row.fraction for row in report.rows)
    assert report.worst > 0 or widths == (1, 1)  # rounding shows: the comparison is not with itself
    assert not report.unchecked


@dtypes
@pytest.mark.parametrize(
    "layers",
    [
        lambda dtype: [nn.ReLU(), linear(3, 4, dtype), nn.ReLU()],
        lambda dtype: [linear(3, 4, dtype), nn.ReLU(), nn.ReLU(), linear(4, 2, dtype)],
        lambda dtype: [linear(3, 4, dtype), linear(4, 33, dtype), linear(33, 2, dtype)],
        lambda dtype: [nn.Sequential(linear(3, 4, dtype), nn.ReLU()), nn.Sequential(linear(4, 2, dtype))],
        lambda dtype: [nn.Sequential(nn.Sequential(linear(3, 4, dtype)), nn.ReLU()), linear(4, 2, dtype)],
        lambda dtype: [linear(3, 4, np.float64), linear(4, 2, dtype)],
    ],
    ids=["relu-first", "relu-twice", "chain", "nested", "nested-twice", "second-other"],
)
def test_other_architectures_pass(layers, dtype):
    report = checked(nn.Sequential(*layers(dtype)), X)
    assert report.rows and not report.unchecked


@pytest.mark.parametrize("layer", [linear(3, 5), nn.ReLU(), nn.Sequential(nn.ReLU())], ids=["linear", "relu", "nested"])
def test_a_layer_alone_is_a_model(layer):
    report = checked(layer, X)
    expected = ("0 linear", "output") if isinstance(layer, nn.Linear) else ("0 relu", "input gradient")
    assert expected in kinds(report)


def test_layers_that_are_not_fastnps_are_named_and_what_is_around_them_is_checked():
    model = nn.Sequential(linear(3, 4), Double("twice"), linear(4, 5), nn.ReLU(), Double(), linear(5, 2))
    report = checked(model, X)
    assert report.unchecked == ["1 twice", "4 layer"]
    assert {("2 linear", "output"), ("5 linear", "output"), ("0 linear", "weights.grad")} <= kinds(report)
    assert "1 twice: not fastnp's own, run but not checked" in str(report)


def test_a_subclass_counts_as_the_users_own_where_it_redefines_something():
    class Redefined(nn.Linear):
        def forward(self, x):
            return super().forward(x)

    class Described(nn.Linear):
        def describe(self):
            return "a layer of mine"

    for cls, unchecked in (Redefined, ["0 linear"]), (Described, []):
        layer = cls(3, 2, weight_attr=nn.HeNormal(rng=np.random.default_rng(0)))
        assert checked(nn.Sequential(layer), X).unchecked == unchecked


@dtypes
@pytest.mark.parametrize("reduction", ["mean", "batchmean", "sum", "none"])
def test_reductions(reduction, dtype):
    report = checked(build(3, 9, 2, dtype=dtype), X, np.ones((7, 2)), nn.MSE(reduction=reduction))
    assert {("the loss", "value"), ("the loss", "gradient")} <= kinds(report)


def test_another_loss_is_run_but_not_checked():
    class Half:
        def __call__(self, pred, target):
            self.pred = pred
            return float(pred.sum() / 2)

        def backward(self):
            return np.full_like(self.pred, 0.5)

    report = checked(build(3, 9, 2), X, None, Half())
    assert report.rows and not any(row.where == "the loss" for row in report.rows)


@dtypes
@pytest.mark.parametrize("power", [-30, -20, -10, 10, 20, 30])
def test_magnitudes(power, dtype):
    checked(build(3, 9, 5, 2, dtype=dtype), X * 2.0**power, np.full((7, 2), 2.0**power))


@dtypes
@pytest.mark.parametrize("rows", [1, 6])
def test_zeros(rows, dtype):
    model = nn.Sequential(linear(3, 4, dtype), nn.ReLU(), linear(4, 2, dtype))
    checked(model, np.zeros((rows, 3)), np.zeros((rows, 2)))
    for tensor in model.parameters():
        tensor.data = np.zeros(tensor.shape)
    report = checked(model, X)
    assert max(row.fraction for row in report.rows if row.what == "output") == 0


def test_nan_is_compared_as_nan():
    x = X.copy()
    x[2, 1] = np.nan
    checked(build(3, 9, 2), x)


def test_a_batch_of_no_rows():
    report = checked(build(3, 9, 2), np.zeros((0, 3)), None, nn.MSE(reduction="sum"))
    assert all(row.fraction == 0 for row in report.rows)


@pytest.mark.parametrize("kind", [np.float16, np.int8, bool, ">f8"])
def test_inputs_of_other_dtypes(kind):
    checked(build(3, 9, 2), (X * 3).astype(kind))
    checked(build(3, 9, 2), (X * 3).astype(kind).tolist())


def test_a_model_after_training():
    model = build(3, 9, 2)
    train(model, sgd(model), batches(3, 2))
    checked(model, X)


@pytest.mark.parametrize(
    "layers",
    [
        lambda: [linear(3, 5), linear(5, 2, np.float64)],
        lambda: [nn.Sequential(linear(3, 5)), nn.ReLU(), linear(5, 2, np.float64)],
    ],
    ids=["chain", "relu-between"],
)
def test_float32_before_float64(layers):
    checked(nn.Sequential(*layers()), X)


@pytest.mark.parametrize(
    ("dtype", "scale", "reduction"),
    [
        (np.float32, 1e-41, "mean"),
        (np.float32, 1e-25, "none"),
        (np.float64, 1e-170, "mean"),
        (np.float64, 1e-170, "none"),
    ],
)
def test_losses_that_underflow(dtype, scale, reduction):
    checked(linear(3, 5, dtype), X * scale, np.full((7, 5), scale), nn.MSE(reduction=reduction))


@pytest.mark.parametrize("value", [np.inf, 1e25])
def test_what_overflows_in_a_sound_model_is_not_wrong(value):
    """The arithmetic gives infinities and NaN here: no warning, and no row that is WRONG."""
    x = X.copy()
    x[2, 1] = value
    checked(build(3, 9, 2), x)


@dtypes
def test_a_sum_that_overflows_on_its_way_below_a_relu_is_not_wrong(dtype):
    """It ends as −inf, whatever comes behind; ReLU makes 0 of it, where the sum is positive."""
    layer = linear(5, 1, dtype)
    layer.weights.data = np.finfo(dtype).max * np.array([[-0.9], [-0.9], [0.9], [0.9], [0.9]])
    with np.errstate(all="ignore"):
        report = checked(nn.Sequential(layer, nn.ReLU()), np.ones((2, 5)), np.ones((2, 1)))
    assert 0 in {row.got for row in report.rows if row.what == "output"}


# --- nothing is changed ---


@dtypes
@pytest.mark.parametrize("own", [False, True])
def test_the_model_stays_as_it_is(dtype, own):
    model = build(3, 9, 2, dtype=dtype)
    if own:
        model.add(Double())
    train(model, sgd(model), batches(3, 2))
    x = np.random.default_rng(5).normal(size=(4, 3))
    pred = model(x)
    model.backward(np.ones_like(pred))
    before = values(model), gradients(model)
    views = [(tensor.data, tensor.grad) for tensor in model.parameters()]
    state = [layer.input for layer in model.graphs[::2] if isinstance(layer, nn.Linear)], model.graphs[1].activated
    given = X.copy(), np.ones((7, 2))
    checked(model, *given)
    assert_same_bits([*before[0], *before[1]], [*values(model), *gradients(model)])
    for tensor, (data, grad) in zip(model.parameters(), views, strict=True):
        assert np.shares_memory(tensor.data, data) and np.shares_memory(tensor.grad, grad)
    after = [layer.input for layer in model.graphs[::2] if isinstance(layer, nn.Linear)], model.graphs[1].activated
    assert_same_bits([*state[0], state[1]], [*after[0], after[1]])
    assert_same_bits(given, [X, np.ones((7, 2))])
    model.backward(np.ones_like(pred))  # the forward state is still that of x: the gradients double
    assert_same_bits([2 * gradient for gradient in before[1]], gradients(model))


def test_loss_backend_and_random_numbers_stay_as_they_are():
    loss_fn = nn.MSE()
    loss_fn(np.ones((2, 2)), np.zeros((2, 2)))
    gradient = loss_fn.backward()
    np.random.seed(4)
    state = np.random.get_state()[1].copy()
    with nn.use_backend("numpy"):
        checked(build(3, 9, 2), X, np.ones((7, 2)), loss_fn)
        assert nn.get_backend() == "numpy"
    assert_same_bits([gradient], [loss_fn.backward()])
    assert np.array_equal(state, np.random.get_state()[1])


def test_the_same_report_every_time():
    model = build(3, 9, 2)
    assert str(nn.cross_check(model, X)) == str(nn.cross_check(model, X))


# --- what is printed ---


def test_a_report_prints_a_line_for_each_array():
    report = checked(build(3, 9, 2), X)
    lines = str(report).splitlines()
    assert lines[0].split()[-4:] == [*BACKENDS, "worst", "element"]
    assert lines[-1] == f"passed: at worst {report.worst:.3f} of a bound"
    assert len(lines) == 2 + len(kinds(report))
    assert max(map(len, lines)) <= 120
    assert "WRONG" not in str(report)
    report.raise_if_failed()


def wrong(fraction):
    return CrossReport([CrossRow("numba", "0 linear", "output", fraction, (3, 1), 2.5, 1.25)])


def test_a_failed_report():
    report = wrong(7.5)
    assert not report.passed
    with pytest.raises(nn.CheckFailed) as caught:
        report.raise_if_failed()
    message = str(caught.value)
    assert message.startswith("a number is outside its bound:\n")
    assert "[3, 1] 2.5, expected 1.25  WRONG on numba" in message
    assert "FAILED: at worst 7.500 of a bound" in message
    assert isinstance(caught.value, AssertionError)


def test_on_the_bound_is_within_it():
    assert wrong(1.0).passed and not wrong(np.nextafter(1, 2)).passed


# --- bad input ---


@pytest.mark.parametrize("x", [np.ones((4, 5)), np.ones(3), np.ones((2, 2, 3))])
def test_an_input_that_does_not_fit_gives_the_models_error(x):
    model = build(3, 9, 2)
    with pytest.raises(ValueError) as own:
        model(x)
    with pytest.raises(ValueError) as checks:
        nn.cross_check(model, x)
    assert str(checks.value) == str(own.value)


@pytest.mark.parametrize(
    ("x", "target", "error", "words"),
    [
        ([[1, 2, "a"]], None, TypeError, "x has dtype"),
        ([[1, 2], [1]], None, ValueError, "x is ragged"),
        (np.ma.masked_array(X), None, TypeError, "x is a masked array"),
        (X, np.ones((7, 3)), ValueError, "they must be equal"),
        (X[:0], None, ValueError, "empty batch"),
    ],
)
def test_bad_data(x, target, error, words):
    with pytest.raises(error, match=words):
        nn.cross_check(build(3, 9, 2), x, target)


def test_a_model_without_layers():
    with pytest.raises(ValueError, match="has no layers"):
        nn.cross_check(nn.Sequential(), X)


# --- fastnp check ---

FACTORY = """
import numpy as np, fastnp as nn
class Own(nn.Layer):
    def forward(self, x): return x + 1
    def backward(self, gradient): return gradient
def sound(): return nn.Sequential(nn.Linear(3, 5), Own("mine"), nn.Linear(5, 2)), np.ones((4, 3))
def trained(of=None):
    model = nn.Linear(3, 2)
    return model, np.ones((4, 3)), nn.Adam((of or model).parameters())
def stranger(): return trained(nn.Linear(3, 2))
def narrow(): return nn.Linear(3, 2), np.ones((4, 5))
def words(): return nn.Linear(3, 2), [["a", "b", "c"]]
def alone(): return nn.Linear(3, 2)
def nothing(): pass
def needs(argument): pass
def breaks(): raise ZeroDivisionError("in the factory")
def number(): return 3, np.ones((4, 3))
value = 3
"""


@pytest.fixture
def factories(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / f"factories_{id(tmp_path)}.py").write_text(FACTORY)
    return f"factories_{id(tmp_path)}"


def check(capsys, *arguments):
    """Exit status, stdout, stderr of `fastnp check`."""
    with pytest.raises(SystemExit) as stop:
        main(["check", *arguments])
    return stop.value.code, *capsys.readouterr()


def test_check_without_a_factory(capsys):
    status, out, err = check(capsys)
    assert (status, err) == (0, "")
    lines = out.splitlines()
    assert len(lines) == 6
    assert all("passed: at worst" in line for line in lines)
    assert [line.split(",")[0] for line in lines[::2]] == ["sin network", "odd widths", "wide"]


def test_check_with_a_factory(capsys, factories):
    status, out, err = check(capsys, f"{factories}:sound")
    assert (status, err) == (0, "")
    assert "2 linear           output" in out and "1 mine: not fastnp's own" in out
    assert out.splitlines()[-1].startswith("passed: at worst")


def test_check_with_a_factory_of_an_optimizer(capsys, factories):
    status, out, err = check(capsys, f"{factories}:trained")
    assert (status, err) == (0, "")
    assert "tensor 1           second_moment, step 3" in out


def test_check_of_a_wrong_kernel_is_status_1(capsys, factories, monkeypatch):
    def nothing_written(op):
        op.y[...] = 1

    plant(monkeypatch, "linear.linear.forward", nothing_written)
    for arguments in [f"{factories}:sound"], []:
        status, out, err = check(capsys, *arguments)
        assert (status, err) == (1, "")
        assert "WRONG on numpy" in out and "FAILED: at worst" in out


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("stranger", "the optimizer holds none of the model's parameters"),
        ("narrow", "Linear(in_features=3) got an input with 5 features"),
        ("words", "x has dtype <U1; expected real numbers"),
        ("alone", "returned Linear; expected (model, x) or (model, x, optimizer)"),
        ("nothing", "returned NoneType; expected (model, x) or (model, x, optimizer)"),
        ("absent", "has no attribute 'absent'"),
        ("", "must be MODULE:FACTORY, for example mymodel:build"),
        ("value", ""),
        ("needs", ""),
        ("number", ""),
    ],
)
def test_check_of_a_bad_factory_is_one_line_and_status_2(capsys, factories, name, words):
    status, out, err = check(capsys, f"{factories}:{name}")
    assert (status, out) == (2, "")
    assert err.startswith(f"fastnp: error: {factories}:{name}") and words in err
    assert err.count("\n") == 1 and err.endswith("\n")


@pytest.mark.parametrize("factory", ["absent_module:build", "no_colon", ":build"])
def test_check_without_a_module(capsys, factory):
    status, out, err = check(capsys, factory)
    assert (status, out) == (2, "")
    assert err.startswith(f"fastnp: error: {factory}") and err.count("\n") == 1


def test_check_leaves_the_search_path(capsys, factories):
    import sys

    before = list(sys.path)
    check(capsys, f"{factories}:sound")
    check(capsys, f"{factories}:absent")
    assert sys.path == before


def test_a_blas_that_computes_wrongly_is_found_in_the_numpy_backend_alone(monkeypatch):
    """The judge must not pass through it, or it calls the right kernels wrong."""
    right = np.dot

    def wrong(a, b, out=None):
        result = right(a, b, out=out)
        result *= np.float32(1.001)
        return result

    monkeypatch.setattr(np, "dot", wrong)
    report = nn.cross_check(build(3, 8, 2), np.random.default_rng(0).normal(size=(5, 3)))
    assert {row.backend for row in report.rows if not row.passed} == {"numpy"}


@pytest.mark.parametrize(
    "path", [Path(sys.modules[CrossReport.__module__].__file__), *Path(__file__).parents[1].rglob("*.py")]
)
def test_no_judge_passes_through_the_blas(path):
    """Neither the check's nor the tests': products are summed by `einsum`, in integers, or by `math.fsum`."""
    allowed = {"test_gradient_check.py": 2, "test_own_parts.py": 3, "test_cross_check.py": 1}  # layers; the wrong one
    nodes = list(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))
    products = [node for node in nodes if isinstance(node, ast.BinOp) and isinstance(node.op, ast.MatMult)]
    products += [node for node in nodes if isinstance(node, ast.Attribute) and node.attr in ("dot", "matmul")]
    assert len(products) == allowed.get(path.name, 0), [ast.unparse(node) for node in products]
