"""Bad input: a ValueError or TypeError says what was got and what is expected, and nothing has changed."""

import pickle

import numpy as np
import pytest

import fastnp as nn


@pytest.fixture(params=["numba", "numpy"], autouse=True)
def backend(request):
    with nn.use_backend(request.param):
        yield request.param


class Bench:
    """A model in the middle of its training, and everything it knows."""

    def __init__(self):
        self.fc1, self.relu, self.fc2 = nn.Linear(3, 4, "fc1", nn.HeNormal()), nn.ReLU("bend"), nn.Linear(4, 2, "fc2")
        self.model = nn.Sequential(self.fc1, self.relu, self.fc2)
        self.loss_fn = nn.MSE()
        self.optimizer = nn.SGD(parameters=self.model.parameters(), learning_rate=0.1)
        self.alone = nn.Linear(3, 2, "alone")
        self.relu_alone = nn.ReLU("relu alone")
        x, y = np.random.normal(size=(5, 3)), np.random.normal(size=(5, 2))
        for _ in range(2):
            self.loss_fn(self.model(x), y)
            self.model.backward(self.loss_fn.backward())
            self.optimizer.step()
        self.alone(x)
        self.alone.backward(y)
        self.relu_alone(x)

    def state(self):
        parameters = self.model.parameters() + self.alone.parameters()
        arrays = [p.data for p in parameters] + [p.grad for p in parameters] + self.optimizer.velocity
        arrays += [self.fc1.input, self.relu.activated, self.fc2.input, self.alone.input, self.relu_alone.activated]
        arrays += [self.loss_fn.pred, self.loss_fn.target, self.loss_fn.backward()]
        optimizer = self.optimizer
        options = optimizer.momentum, optimizer.learning_rate, optimizer.weight_decay, optimizer.decay_type
        return [(a.shape, a.tobytes()) for a in arrays], options, str(self.model)


@pytest.fixture
def bench():
    np.random.seed(0)
    return Bench()


def refused(bench, call, error, message):
    before, random = bench.state(), np.random.get_state()[1:3]
    with pytest.raises(error, match=message):
        call(bench)
    assert bench.state() == before
    assert random[1] == np.random.get_state()[2], "no random number was drawn"


# --- shapes ---


def z(*shape):
    return np.ones(shape)


SHAPES = {
    "width": (lambda b: b.model(z(5, 4)), r"Linear\(in_features=3\) got an input with 4 features"),
    "width, one layer": (lambda b: b.alone(z(5, 2)), r"Linear\(in_features=3\) got an input with 2 features"),
    "width 0": (lambda b: b.model(z(5, 0)), r"in_features=3.* 0 features"),
    "width, inner layer by hand": (lambda b: b.fc2(z(5, 3)), r"in_features=4.* 3 features"),
    "1-D input": (lambda b: b.model(z(3)), r"shape \(3,\); expected 2 dimensions, \(batch, 3\).*np\.newaxis"),
    "3-D input": (lambda b: b.model(z(2, 5, 3)), r"shape \(2, 5, 3\); expected 2 dimensions"),
    "a number": (lambda b: b.model(1.0), r"shape \(\); expected 2 dimensions"),
    "an empty list": (lambda b: b.model([]), r"shape \(0,\); expected 2 dimensions"),
    "gradient rows": (lambda b: b.model.backward(z(4, 2)), r"gradient of shape \(4, 2\).* \(5, 2\)"),
    "gradient width": (lambda b: b.model.backward(z(5, 1)), r"fc2.*gradient of shape \(5, 1\).* \(5, 2\)"),
    "gradient 1-D": (lambda b: b.model.backward(z(2)), r"gradient of shape \(2,\).* \(5, 2\)"),
    "gradient is a number": (lambda b: b.model.backward(1.0), r"gradient of shape \(\).* \(5, 2\)"),
    "gradient, one layer": (lambda b: b.alone.backward(z(5, 3)), r"alone.*shape \(5, 3\).* \(5, 2\)"),
    "gradient, layer of a model": (lambda b: b.fc1.backward(z(5, 3)), r"fc1.*shape \(5, 3\).* \(5, 4\)"),
    "gradient, ReLU of a model": (lambda b: b.relu.backward(z(5, 3)), r"bend.*shape \(5, 3\).* \(5, 4\)"),
    "gradient, ReLU alone": (lambda b: b.relu_alone.backward(z(3)), r"relu alone.*shape \(3,\).* \(5, 3\)"),
    "gradient, empty": (lambda b: b.relu_alone.backward(z(0, 3)), r"shape \(0, 3\).* \(5, 3\)"),
    "pred and target": (lambda b: b.loss_fn(z(5, 2), z(4, 2)), r"pred has shape \(5, 2\), target \(4, 2\)"),
    "pred (n, 1), target (n,)": (lambda b: b.loss_fn(z(5, 1), z(5)), r"\(5, 1\), target \(5,\).*nothing is broadcast"),
    "pred (n,), target (n, 1)": (lambda b: b.loss_fn(z(5), z(5, 1)), r"\(5,\), target \(5, 1\).*nothing is broadcast"),
    "target is a number": (lambda b: b.loss_fn(z(5, 1), 0), r"\(5, 1\), target \(\)"),
    "mean of nothing": (lambda b: b.loss_fn(z(0, 2), z(0, 2)), r"empty batch.*\(0, 2\)"),
    "data": (lambda b: setattr(b.fc1.weights, "data", z(4, 3)), r"data has shape \(3, 4\).* \(4, 3\)"),
    "grad": (lambda b: setattr(b.fc1.weights, "grad", z(3, 5)), r"grad has shape \(3, 4\).* \(3, 5\)"),
    "data, broadcast": (lambda b: setattr(b.fc1.weights, "data", z(1, 4)), r"data has shape \(3, 4\).* \(1, 4\)"),
    "bias of one dimension": (lambda b: setattr(b.fc1.bias, "data", z(4)), r"data has shape \(1, 4\).* \(4,\)"),
    "data, a number": (lambda b: setattr(b.fc1.bias, "data", 1.0), r"data has shape \(1, 4\).* \(\)"),
}


@pytest.mark.parametrize("case", SHAPES)
def test_shapes(bench, case):
    call, message = SHAPES[case]
    refused(bench, call, ValueError, message)


def test_training_goes_on_after_an_error(bench):
    twin = pickle.loads(pickle.dumps(bench.model))
    with pytest.raises(ValueError, match="4 features"):
        bench.model(z(5, 4))
    x = np.random.normal(size=(7, 3))
    assert bench.model(x).tobytes() == twin(x).tobytes()


def test_backward_after_a_refused_input_is_of_the_last_good_one(bench):
    other = Bench.__new__(Bench)
    np.random.seed(0)
    other.__init__()
    with pytest.raises(ValueError, match="9 features"):
        bench.model(z(2, 9))
    g = np.random.normal(size=(5, 2))
    assert bench.model.backward(g).tobytes() == other.model.backward(g).tobytes()


# --- what is not real numbers ---

NOT_NUMBERS = {
    "complex": (np.ones((5, 2), complex), TypeError, "complex128; expected real numbers"),
    "object": (np.full((5, 2), None), TypeError, "dtype object"),
    "None": (None, TypeError, "dtype object"),
    "strings": (np.full((5, 2), "1"), TypeError, "<U1"),
    "a string": ("abc", TypeError, "<U3"),
    "bytes": (np.full((5, 2), b"1"), TypeError, r"\|S1"),
    "dates": (np.zeros((5, 2), "datetime64[D]"), TypeError, "datetime64"),
    "durations": (np.zeros((5, 2), "timedelta64[s]"), TypeError, "timedelta64"),
    "records": (np.zeros((5, 2), [("a", float)]), TypeError, "dtype"),
    "masked": (np.ma.masked_equal(np.ones((5, 2)), 0), TypeError, "masked array; fill it first"),
    "ragged": ([[1.0, 2.0], [3.0]], ValueError, "ragged"),
    "dictionary": ({"x": 1}, TypeError, "dtype object"),
}
TAKERS = {
    "model": (lambda b, v: b.model(v), "the input of fc1"),
    "layer": (lambda b, v: b.alone(v), "the input of alone"),
    "ReLU": (lambda b, v: b.relu_alone(v), "the input of relu alone"),
    "model.backward": (lambda b, v: b.model.backward(v), "gradient"),
    "layer.backward": (lambda b, v: b.alone.backward(v), "gradient"),
    "ReLU.backward": (lambda b, v: b.relu_alone.backward(v), "gradient"),
    "pred": (lambda b, v: b.loss_fn(v, z(5, 2)), "pred"),
    "target": (lambda b, v: b.loss_fn(z(5, 2), v), "target"),
    "data": (lambda b, v: setattr(b.fc2.weights, "data", v), r"Tensor\.data"),
    "grad": (lambda b, v: setattr(b.fc2.weights, "grad", v), r"Tensor\.grad"),
    "ArrayDataset X": (lambda b, v: nn.ArrayDataset(v, z(5, 2)), "X"),
    "ArrayDataset Y": (lambda b, v: nn.ArrayDataset(z(5, 2), v), "Y"),
    "initializer": (lambda b, v: nn.Linear(5, 2, weight_attr=lambda shape: v), r"Tensor\.data"),
}


@pytest.mark.parametrize("taker", TAKERS)
@pytest.mark.parametrize("kind", NOT_NUMBERS)
def test_only_real_numbers_are_taken(bench, kind, taker):
    value, error, message = NOT_NUMBERS[kind]
    take, name = TAKERS[taker]
    refused(bench, lambda b: take(b, value), error, f"(?s){name}.*{message}")


# --- order of calls ---


@pytest.mark.parametrize(("call", "message"), [
    (lambda: nn.Linear(3, 2, "fc").backward(z(5, 2)), "fc: backward before forward"),
    (lambda: nn.ReLU("bend").backward(z(5, 2)), "bend: backward before forward"),
    (lambda: nn.Sequential(nn.Linear(3, 2)).backward(z(5, 2)), "backward before forward"),
    (lambda: nn.Sequential(nn.Linear(3, 2, "fc")).graphs[0].backward(z(5, 2)), "fc: backward before forward"),
    (lambda: nn.MSE("half").backward(), r"half: backward before a loss; call half\(pred, target\) first"),
])  # fmt: skip
def test_backward_before_forward(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_backward_of_a_model_whose_only_input_was_refused():
    model = nn.Sequential(nn.Linear(3, 2))
    with pytest.raises(ValueError, match="4 features"):
        model(z(5, 4))
    with pytest.raises(ValueError, match="backward before forward"):
        model.backward(z(5, 2))
    assert not any(p.grad.any() for p in model.parameters())


def test_backward_of_a_loss_whose_only_call_was_refused():
    loss_fn = nn.MSE()
    with pytest.raises(ValueError, match="shape"):
        loss_fn(z(3), z(4))
    with pytest.raises(ValueError, match="before a loss"):
        loss_fn.backward()


def test_backward_right_after_a_layer_was_added(bench):
    bench.model.add(nn.Linear(2, 1))
    with pytest.raises(ValueError, match="backward before forward"):
        bench.model.backward(z(5, 1))


def test_copies_hold_no_forward_state(bench):
    other = pickle.loads(pickle.dumps(bench.model))
    with pytest.raises(ValueError, match="backward before forward"):
        other.backward(z(5, 2))


# --- layers and models ---

LAYERS = {
    "no inputs": (lambda b: nn.Linear(0, 3), ValueError, "in_features must be at least 1, got 0"),
    "no outputs": (lambda b: nn.Linear(3, 0), ValueError, "out_features must be at least 1, got 0"),
    "negative": (lambda b: nn.Linear(3, -2), ValueError, "out_features must be at least 1, got -2"),
    "fraction": (lambda b: nn.Linear(2.5, 3), TypeError, r"in_features must be an integer, got 2\.5"),
    "whole float": (lambda b: nn.Linear(3, 2.0), TypeError, r"out_features must be an integer, got 2\.0"),
    "string": (lambda b: nn.Linear("3", 2), TypeError, "in_features must be an integer, got '3'"),
    "bool": (lambda b: nn.Linear(True, 2), TypeError, "in_features must be an integer, got True"),
    "None": (lambda b: nn.Linear(None, 2), TypeError, "in_features must be an integer, got None"),
    "dtype float16": (lambda b: nn.Linear(3, 2, dtype=np.float16), TypeError, "float32 or numpy.float64.*float16"),
    "dtype int": (lambda b: nn.Linear(3, 2, dtype=int), TypeError, "float32 or numpy.float64.*int"),
    "dtype None": (lambda b: nn.Linear(3, 2, dtype=None), TypeError, "float32 or numpy.float64.*None"),
    "dtype unknown": (lambda b: nn.Linear(3, 2, dtype="quick"), TypeError, "float32 or numpy.float64.*'quick'"),
    "dtype of no type": (lambda b: nn.Tensor(2, dtype=3.5), TypeError, r"float32 or numpy.float64.*3\.5"),
    "dtype swapped": (lambda b: nn.Tensor(2, np.dtype("f4").newbyteorder()), TypeError, "float32 or numpy.float64"),
    "weight_attr": (lambda b: nn.Linear(3, 2, weight_attr=0.5), TypeError, r"weight_attr must be .*callable.* 0\.5"),
    "bias_attr": (lambda b: nn.Linear(3, 2, bias_attr=None), TypeError, "bias_attr must be .*callable.* None"),
    "initial shape": (lambda b: nn.Linear(3, 2, weight_attr=lambda s: z(2, 3)), ValueError, r"\(3, 2\).*\(2, 3\)"),
    "std": (lambda b: nn.Normal(0, -1.0), ValueError, r"std must be finite and not negative, got -1\.0"),
    "tensor size": (lambda b: nn.Tensor((-1, 2)), ValueError, "negative"),
    "tensor shape": (lambda b: nn.Tensor(2.5), TypeError, "integer"),
    "no layer": (lambda b: nn.Sequential(b.alone, np.tanh), TypeError, "takes Layer objects, got <ufunc 'tanh'>"),
    "list of layers": (lambda b: nn.Sequential([b.alone]), TypeError, "takes Layer objects, got .* of type list"),
    "class, no object": (lambda b: nn.Sequential(nn.ReLU), TypeError, "takes Layer objects, got <class"),
    "add no layer": (lambda b: b.model.add(3), TypeError, "takes Layer objects, got 3 of type int"),
    "add None": (lambda b: b.model.add(None), TypeError, "takes Layer objects, got None"),
    "widths": (lambda b: nn.Sequential(nn.Linear(1, 4), nn.Linear(5, 2)), ValueError, "takes 5 features.*gives 4"),
    "widths around a ReLU": (
        lambda b: nn.Sequential(nn.Linear(1, 4), nn.ReLU(), nn.Linear(5, 2)), ValueError, "takes 5 features.*gives 4"
    ),
    "add a width": (lambda b: b.model.add(nn.Linear(3, 1)), ValueError, "takes 3 features.*gives 2"),
    "add a layer again": (lambda b: b.model.add(b.relu), ValueError, r"ReLU\('bend'\) stands twice"),
    "empty model": (lambda b: nn.Sequential()(z(1, 1)), ValueError, "no layers"),
    "empty model inside": (lambda b: nn.Sequential(nn.Sequential())(z(1, 1)), ValueError, "no layers"),
    "empty model, backward": (lambda b: nn.Sequential().backward(z(1, 1)), ValueError, "backward before"),
    "reduction": (lambda b: nn.MSE(reduction="avg"), ValueError, "'batchmean', 'mean', 'none' or 'sum', got 'avg'"),
    "reduction None": (lambda b: nn.MSE(reduction=None), ValueError, "'batchmean', 'mean', 'none' or 'sum', got None"),
    "backend": (lambda b: nn.set_backend("cuda"), ValueError, "one of 'numba', 'numpy', got 'cuda'"),
    "backend in a block": (lambda b: nn.use_backend("gpu").__enter__(), ValueError, "one of .* got 'gpu'"),
    "backend None": (lambda b: nn.set_backend(None), ValueError, "one of .* got None"),
}  # fmt: skip


@pytest.mark.parametrize("case", LAYERS)
def test_layers_models_losses(bench, case):
    call, error, message = LAYERS[case]
    if case == "initial shape":  # the weights were drawn by the user's own function
        with pytest.raises(error, match=message):
            call(bench)
    elif case.startswith(("widths", "add a width")):  # building the other layers draws
        before = bench.state()
        with pytest.raises(error, match=message):
            call(bench)
        assert bench.state() == before
    else:
        refused(bench, call, error, message)


def test_a_refused_model_leaves_its_layers_where_they_were(bench):
    data = bench.alone.weights.data
    with pytest.raises(TypeError, match="Layer objects"):
        nn.Sequential(bench.alone, nn.Linear(2, 2), "relu")
    data[0, 0] = 42
    assert bench.alone.weights.data[0, 0] == 42, "the view is still live"


# --- optimizers ---

RATES = {
    "nan": (float("nan"), ValueError, "must be finite and not negative, got nan"),
    "inf": (float("inf"), ValueError, "must be finite and not negative, got inf"),
    "negative": (-0.1, ValueError, r"must be finite and not negative, got -0\.1"),
    "string": ("fast", TypeError, "must be a number, got 'fast'"),
    "string of a number": ("0.1", TypeError, r"must be a number, got '0\.1'"),
    "None": (None, TypeError, "must be a number, got None"),
    "too large": (10**400, ValueError, "must fit a double"),
    "complex": (1j, TypeError, "must be a number, got 1j"),
}


@pytest.mark.parametrize("argument", ["learning_rate", "momentum", "weight_decay"])
@pytest.mark.parametrize("kind", RATES)
def test_rates(bench, argument, kind):
    value, error, message = RATES[kind]
    parameters = bench.model.parameters()
    refused(bench, lambda b: nn.SGD(parameters=parameters, **{argument: value}), error, f"SGD: {argument} {message}")
    if argument != "momentum":
        refused(
            bench, lambda b: nn.Optimizer(parameters, **{argument: value}), error, f"Optimizer: {argument} {message}"
        )


OPTIMIZERS = {
    "parameters first": (lambda b: nn.SGD(b.model.parameters()), TypeError, "momentum.*parameters="),
    "a tensor first": (lambda b: nn.SGD(b.fc1.weights), TypeError, "momentum.*parameters="),
    "no parameters": (lambda b: nn.SGD(0.9), TypeError, r"parameters is missing.*parameters=model\.parameters\(\)"),
    "one tensor": (lambda b: nn.SGD(parameters=b.fc1.weights), TypeError, "parameters must be a list of Tensors"),
    "a model": (lambda b: nn.SGD(parameters=b.model), TypeError, "parameters must be a list of Tensors"),
    "arrays": (lambda b: nn.SGD(parameters=[b.fc1.weights, z(2)]), TypeError, r"parameters\[1\] must be a Tensor"),
    "bound method": (lambda b: nn.Optimizer(b.model.parameters), TypeError, "parameters must be a list of Tensors"),
    "twice": (lambda b: nn.SGD(parameters=b.model.parameters() * 2), ValueError, "stands twice in parameters"),
    "decay_type": (lambda b: nn.SGD(parameters=[], decay_type="L2"), ValueError, "'l1' or 'l2', got 'L2'"),
    "decay_type, base": (lambda b: nn.Optimizer([], decay_type=None), ValueError, "'l1' or 'l2', got None"),
}


@pytest.mark.parametrize("case", OPTIMIZERS)
def test_optimizers(bench, case):
    call, error, message = OPTIMIZERS[case]
    refused(bench, call, error, message)


@pytest.mark.parametrize(("extra", "error"), [([1.0], TypeError), (["again"], ValueError)])
def test_a_step_over_bad_parameters_changes_nothing(bench, extra, error):
    good, before = list(bench.optimizer.parameters), bench.state()
    bad = [good[0]] if extra == ["again"] else extra
    with pytest.raises(error, match="parameters"):
        bench.optimizer.parameters = good + bad
    assert bench.optimizer.parameters == good
    bench.optimizer.parameters += bad[:0]
    bench.optimizer.parameters.extend(bad)  # which nobody sees before the step
    with pytest.raises(error, match="parameters"):
        bench.optimizer.step()
    bench.optimizer.parameters = good
    assert bench.state() == before


# --- data ---


class Ragged(nn.Dataset):
    def __init__(self, which):
        self.which = which

    def __getitem__(self, idx):
        odd = np.zeros(2 if idx == 3 else 1)
        return (odd, np.zeros(1)) if self.which == "data" else (np.zeros(1), odd)

    def __len__(self):
        return 6


class NoPairs(nn.Dataset):
    def __init__(self, item):
        self.item = item

    def __getitem__(self, idx):
        return self.item

    def __len__(self):
        return 3


class OnlyItems:
    def __getitem__(self, idx):
        return idx, idx


class OnlyLength:
    def __len__(self):
        return 3


def loaded(dataset, **options):
    return list(nn.DataLoader(dataset, **({"batch_size": 2} | options)))


FIVE = range(5)
DATA = {
    "lengths": (lambda b: nn.ArrayDataset(z(5, 1), z(4, 1)), ValueError, "X has 5 rows, Y 4"),
    "a number": (lambda b: nn.ArrayDataset(z(5, 1), 3.0), ValueError, "Y is a single number; expected an array"),
    "no length": (lambda b: nn.DataLoader(OnlyItems()), TypeError, "dataset must have __len__, .*got .*OnlyItems"),
    "no items": (lambda b: nn.DataLoader(OnlyLength()), TypeError, "must have __getitem__, .*got .*OnlyLength"),
    "sampler of None": (lambda b: nn.BatchSampler(), TypeError, "dataset must have a length, got None"),
    "sampler is no class": (lambda b: nn.DataLoader(FIVE, sampler=3), TypeError, "sampler must be a class.* got 3"),
    "batch size 0": (lambda b: nn.BatchSampler(FIVE, batch_size=0), ValueError, "batch_size must be at least 1, got 0"),
    "batch size -1": (lambda b: nn.DataLoader(FIVE, batch_size=-1), ValueError, "batch_size must be at least 1.* -1"),
    "batch size 2.0": (lambda b: nn.DataLoader(FIVE, batch_size=2.0), TypeError, r"must be an integer, got 2\.0"),
    "batch size '2'": (lambda b: nn.BatchSampler(FIVE, batch_size="2"), TypeError, "must be an integer, got '2'"),
    "batch size True": (lambda b: nn.BatchSampler(FIVE, batch_size=True), TypeError, "must be an integer, got True"),
    "batch size None": (lambda b: nn.BatchSampler(FIVE, batch_size=None), TypeError, "must be an integer, got None"),
    "rng": (lambda b: nn.BatchSampler(FIVE, rng=7), TypeError, r"must be a numpy\.random\.Generator, got 7"),
    "rng of a loader": (lambda b: nn.DataLoader(FIVE, rng=7), TypeError, r"must be a numpy\.random\.Generator, got 7"),
    "rng 0 of a loader": (
        lambda b: nn.DataLoader(FIVE, shuffle=True, rng=0), TypeError, r"must be a numpy\.random\.Generator, got 0"
    ),
    "rng of Normal": (lambda b: nn.Normal(rng=7), TypeError, r"must be a numpy\.random\.Generator, got 7"),
    "rng 0 of HeNormal": (lambda b: nn.HeNormal(rng=0), TypeError, r"must be a numpy\.random\.Generator, got 0"),
    "data of two shapes": (lambda b: loaded(Ragged("data")), ValueError, r"the data .* 2 has \(1,\), index 3 .*\(2,\)"),
    "labels of two shapes": (lambda b: loaded(Ragged("labels")), ValueError, r"the labels .*index 3 has \(2,\)"),
    "no pairs": (lambda b: loaded(NoPairs(1.0)), ValueError, r"pairs \(data, label\), or .* for the indices \[0, 1\]"),
    "four": (lambda b: loaded(NoPairs((1, 2, 3, 4))), ValueError, r"triples \(data, label, weight\), for the indices"),
}  # fmt: skip


@pytest.mark.parametrize("case", DATA)
def test_data(bench, case):
    call, error, message = DATA[case]
    refused(bench, call, error, message)


def test_a_batch_of_zero_rows_is_no_error(bench):
    y = bench.model(z(0, 3))
    assert (y.shape, y.dtype) == ((0, 2), np.float32)
    with pytest.raises(ValueError, match="empty batch"):
        bench.loss_fn(y, z(0, 2))


def test_a_gradient_that_cannot_be_converted_leaves_cleared_gradients_at_zero(bench):
    bench.optimizer.clear_grad()
    with np.errstate(over="raise"), pytest.raises(FloatingPointError, match="overflow"):
        bench.model.backward(np.full((5, 2), 1e300))
    assert not any(p.grad.any() for p in bench.model.parameters())
