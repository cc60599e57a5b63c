"""Layers, optimizers, initializers, data sets and samplers of users' own."""

import dataclasses
import sys
import threading

import numpy as np
import pytest
from models import Scale, batches, build, gradients, sgd, train, values

import fastnp as nn

pytestmark = pytest.mark.usefixtures("backend")


class Residual(nn.Layer):
    """y = x + f(x), with a model of its own inside."""

    def __init__(self, width):
        super().__init__("residual")
        self.inside = build(width, 9, width, seed=3, dtype=np.float64)

    def forward(self, x):
        return x + self.inside(x)

    def backward(self, gradient):
        return gradient + self.inside.backward(gradient)

    def parameters(self):
        return self.inside.parameters()


class Doubling(nn.Linear):
    def forward(self, x):
        return 2 * super().forward(x)

    def backward(self, gradient):
        return super().backward(2 * gradient)


class Leaky(nn.ReLU):
    def forward(self, x):
        self.x = np.array(x)
        return np.where(x > 0, x, 0.1 * x)

    def backward(self, gradient):
        return gradient * np.where(self.x > 0, 1, 0.1)


class HandWritten(nn.Linear):
    """Both passes written out, as the tutorial's readers do."""

    def forward(self, x):
        self.input = x
        return np.matmul(x, self.weights.data) + self.bias.data

    def backward(self, gradient):
        self.weights.grad += np.matmul(self.input.T, gradient)
        self.bias.grad += np.sum(gradient, axis=0, keepdims=True)
        return np.matmul(gradient, self.weights.data.T)


class HandWrittenReLU(nn.ReLU):
    def forward(self, x):
        self.activated = np.maximum(x, 0)
        return self.activated

    def backward(self, gradient):
        return gradient * (self.activated > 0)


OWN = {
    "layer": Scale,
    "layer with a model inside": lambda: Residual(4),
    "subclass of Linear": lambda: Doubling(4, 4, dtype=np.float64),
    "subclass of ReLU": Leaky,
    "Linear written out": lambda: HandWritten(4, 4, dtype=np.float64),
    "ReLU written out": HandWrittenReLU,
}


@pytest.mark.parametrize("own", OWN)
@pytest.mark.parametrize("place", [0, 1, 2])
def test_gradients_with_a_users_own_layer_are_the_slope_of_the_loss(own, place):
    np.random.seed(0)
    first, second = nn.Linear(4, 4, dtype=np.float64), nn.Linear(4, 4, dtype=np.float64)
    for layer in first, second:
        layer.weights.data = np.random.normal(size=(4, 4))
    layers = [first, second]
    layers.insert(place, OWN[own]())
    model, loss_fn = nn.Sequential(*layers), nn.MSE()
    x, y = np.random.normal(size=(2, 6, 4))
    loss_fn(model(x), y)
    dx = model.backward(loss_fn.backward())
    grads = gradients(model)
    directions = [np.random.normal(size=p.shape) for p in model.parameters()]
    direction_x = np.random.normal(size=x.shape)

    def loss(eps):
        for p, direction in zip(model.parameters(), directions, strict=True):
            p.data += eps * direction
        value = loss_fn(model(x + eps * direction_x), y)
        for p, direction in zip(model.parameters(), directions, strict=True):
            p.data -= eps * direction
        return value

    slope = sum(np.sum(g * d) for g, d in zip(grads, directions, strict=True)) + np.sum(dx * direction_x)
    assert slope == pytest.approx((loss(1e-6) - loss(-1e-6)) / 2e-6, rel=1e-3, abs=1e-5)


@pytest.mark.parametrize("own", OWN)
def test_a_model_with_a_users_own_layer_learns(own):
    np.random.seed(0)
    model = nn.Sequential(
        nn.Linear(2, 4, weight_attr=nn.HeNormal()), OWN[own](), nn.Linear(4, 1, weight_attr=nn.HeNormal())
    )
    x = np.random.normal(size=(64, 2))
    losses = train(model, sgd(model, learning_rate=0.02), [(x, x[:, :1] - x[:, 1:])] * 400)
    assert losses[-1] < 0.2 * losses[0]


class Descent(nn.Optimizer):
    def step(self):
        for p in self.parameters:
            p.data = p.data - self.learning_rate * p.grad


def test_own_optimizer_equals_sgd_without_momentum():
    data = batches(3, 2)
    models = [build(3, 8, 2, dtype=np.float64) for _ in range(2)]
    train(models[0], Descent(models[0].parameters(), 0.05), data)
    train(models[1], sgd(models[1], momentum=0.0), data)
    for a, b in zip(*map(values, models), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12)


def test_own_optimizer_with_decay():
    class Decaying(nn.Optimizer):
        def step(self):
            for p in self.parameters:
                p.data = p.data - self.learning_rate * (p.grad + self.get_decay(p.data))

    data = batches(3, 2)
    models = [build(3, 8, 2, dtype=np.float64) for _ in range(2)]
    train(models[0], Decaying(models[0].parameters(), 0.05, 0.1, "l1"), data)
    train(models[1], sgd(models[1], momentum=0.0, weight_decay=0.1, decay_type="l1"), data)
    for a, b in zip(*map(values, models), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12)


def test_own_initializers():
    class Ramp(nn.Initializer):
        def __call__(self, shape):
            return np.arange(np.prod(shape)).reshape(shape)

    layer = nn.Linear(2, 3, weight_attr=Ramp(), bias_attr=lambda shape: [[7] * shape[1]])
    np.testing.assert_array_equal(layer.weights.data, [[0, 1, 2], [3, 4, 5]])
    np.testing.assert_array_equal(layer.bias.data, [[7, 7, 7]])


def test_own_dataset_and_sampler_feed_a_model():
    class Squares(nn.Dataset):
        def __getitem__(self, idx):
            return [idx / 4], [idx**2 / 16]

        def __len__(self):
            return 6

    class Odd:
        def __init__(self, dataset, shuffle, batch_size, drop_last):
            self.n = len(dataset)

        def __iter__(self):
            yield list(range(1, self.n, 2))

        def __len__(self):
            return 1

    ((x, y),) = nn.DataLoader(Squares(), Odd)
    np.testing.assert_array_equal(x * x, y)
    model = build(1, 8, 1)
    losses = train(model, sgd(model), list(nn.DataLoader(Squares(), Odd)) * 40)
    assert losses[-1] < losses[0] / 2


# --- what users redefine, and leave out ---

POINTS = np.random.default_rng(0).standard_normal((40, 2))


def he(n_in, n_out, seed=0):
    return nn.Linear(n_in, n_out, weight_attr=nn.HeNormal(rng=np.random.default_rng(seed)))


class Skip(nn.Sequential):
    """y = x + layers(x)."""

    def forward(self, x):
        return x + super().forward(x)

    def backward(self, gradient):
        return gradient + super().backward(gradient)


@pytest.mark.parametrize("nested", [False, True])
def test_a_residual_sequential_trains_predicts_validates_and_is_checked(nested):
    model = Skip(he(2, 2))
    if nested:
        model = nn.Sequential(he(2, 2, 1), nn.ReLU(), model, Skip(he(2, 4, 2), nn.ReLU(), he(4, 2, 3)))
    np.testing.assert_array_equal(model.predict(POINTS), model(POINTS))
    np.testing.assert_array_equal(model.predict(POINTS, batch_size=7), model(POINTS))
    nn.gradient_check(model, nn.MSE(), POINTS, POINTS).raise_if_failed()
    report = nn.cross_check(model, POINTS)
    assert report.passed
    assert report.unchecked == (["2 sequential", "3 sequential"] if nested else ["0 sequential"])
    loader = nn.DataLoader(nn.ArrayDataset(POINTS, POINTS), batch_size=8)
    history = nn.fit(model, nn.MSE(), sgd(model), loader, 200, validation=(POINTS, POINTS), progress=False)
    assert history.loss[-1] < (0.5 if nested else 1e-9) * history.loss[0]
    assert history.validation_loss[-1] == nn.MSE()(model(POINTS), POINTS)


def test_a_predict_of_a_subclass_may_use_the_one_it_redefines():
    class Twice(nn.Sequential):
        def forward(self, x):
            return 2 * super().forward(x)

        def predict(self, X, batch_size=256):
            return 2 * super().predict(X, batch_size)

    class Later(Twice):
        """Its predict is what `Twice` computes."""

    for model in Twice(he(2, 2)), Later(he(2, 2)):
        np.testing.assert_array_equal(model.predict(POINTS), model(POINTS))


def test_a_method_replaced_between_forward_and_backward():
    model = nn.Sequential(he(2, 3), nn.ReLU(), he(3, 2))
    model(POINTS)
    plain = model.backward(np.ones((40, 2)))
    sgd(model).clear_grad()
    model(POINTS)
    last = model.graphs[2]
    last.backward = lambda gradient: 2 * nn.Linear.backward(last, gradient)
    np.testing.assert_allclose(model.backward(np.ones((40, 2))), 2 * plain, rtol=1e-6)
    del last.backward
    model(POINTS)
    np.testing.assert_array_equal(model.backward(np.ones((40, 2))), plain)


def test_replacing_methods_of_one_model_leaves_the_state_of_another():
    model, other = nn.Sequential(he(2, 2)), nn.Sequential(he(2, 2))
    model(POINTS)
    other.forward = lambda x: x
    assert model.backward(np.ones((40, 2))).shape == (40, 2)


def loader_of(dataset):
    return nn.DataLoader(dataset, batch_size=4)


def test_a_data_set_that_augments_is_asked_for_every_item():
    class Mirrored(nn.ArrayDataset):
        def __getitem__(self, idx):
            x, y = super().__getitem__(idx)
            return -x, y

    for x, y in loader_of(Mirrored(POINTS, POINTS)):
        np.testing.assert_array_equal(x, -y)


def test_a_data_set_that_repeats_its_rows():
    class Repeated(nn.ArrayDataset):
        def __len__(self):
            return 3 * super().__len__()

        def __getitem__(self, idx):
            return super().__getitem__(idx % len(self.X))

    loader = loader_of(Repeated(POINTS, POINTS))
    assert len(loader) == 30
    np.testing.assert_array_equal(np.concatenate([x for x, _ in loader]), np.tile(POINTS, (3, 1)))
    model = build(2, 4, 2)
    assert len(nn.fit(model, nn.MSE(), sgd(model), loader, 2, progress=False).loss) == 2


def test_a_data_set_that_hands_on_to_another_what_it_lacks():
    """Its `__getitem__` is its own; the `__getitems__` that the other has must not stand in for it."""

    class Mirrored:
        def __init__(self, inside):
            self.inside = inside

        def __getitem__(self, idx):
            x, y = self.inside[idx]
            return -x, y

        def __len__(self):
            return len(self.inside)

        def __getattr__(self, name):
            return getattr(self.__dict__["inside"], name)

    for x, y in loader_of(Mirrored(nn.ArrayDataset(POINTS, POINTS))):
        np.testing.assert_array_equal(x, -y)


def test_a_decay_of_the_users_own():
    class Mine(nn.SGD):
        def get_decay(self, values):
            return 0.1 * values

    layer = nn.Linear(2, 2, weight_attr=nn.Constant(1.0))
    Mine(momentum=0.0, parameters=layer.parameters(), learning_rate=1.0).step()
    np.testing.assert_allclose(layer.weights.data, 0.9)


def test_a_subclass_that_only_adds_runs_compiled():
    """As most do that are written in the manner of PyTorch."""
    from fastnp.training import compiled

    class Net(nn.Sequential):
        """Two layers."""

        width = 4

        def __init__(self):
            super().__init__(he(2, self.width), nn.ReLU(), he(self.width, 2))

        def __repr__(self):
            return "Net()"

        def describe(self):
            return "two layers"

    model = Net()
    loader = loader_of(nn.ArrayDataset(POINTS, POINTS))
    assert compiled.trainable(model, nn.MSE(), sgd(model), loader) is not None
    model.describe = lambda: "replaced"
    assert compiled.trainable(model, nn.MSE(), sgd(model), loader) is not None
    model.backward = lambda gradient: gradient
    assert compiled.trainable(model, nn.MSE(), sgd(model), loader) is None
    model.backward = Net.backward.__get__(model)  # as it was
    assert compiled.trainable(model, nn.MSE(), sgd(model), loader) is not None


class Nameless(nn.Layer):
    def __init__(self):
        self.factor = 2.0

    def forward(self, x):
        return self.factor * x

    def backward(self, gradient):
        return self.factor * gradient


@dataclasses.dataclass
class Factor(nn.Layer):
    factor: float = 2.0

    forward = Nameless.forward
    backward = Nameless.backward


@pytest.mark.parametrize("own", [Nameless, Factor])
def test_a_layer_that_does_not_call_the_constructor_of_layer(own):
    model = nn.Sequential(he(2, 2), own())
    assert model.graphs[1].name == "layer" and "layer" in str(model)
    nn.gradient_check(model, nn.MSE(), POINTS, POINTS).raise_if_failed()
    assert nn.cross_check(model, POINTS).unchecked == ["1 layer"]
    model = nn.Sequential(own())
    with pytest.raises(ValueError, match="no parameters"):
        nn.fit(model, nn.MSE(), nn.SGD(parameters=[]), loader_of(nn.ArrayDataset(POINTS, POINTS)), 1)


def test_layers_that_are_equal_are_not_the_same():
    """Data classes compare by their fields."""
    model = nn.Sequential(he(2, 2), Factor())
    before = model(POINTS)
    model.graphs[1] = Factor()
    model.graphs[1].factor = 3.0
    np.testing.assert_allclose(model(POINTS), 1.5 * before, rtol=1e-6)
    model.graphs[1] = Factor(3.0)
    with pytest.raises(ValueError, match="backward before forward"):
        model.backward(np.ones((40, 2)))


def test_constructors_that_are_not_called():
    class Bare(nn.Sequential):
        def __init__(self):
            self.note = "no layers yet"

    model = Bare()
    with pytest.raises(ValueError, match="has no layers"):
        model(POINTS)
    model.add(he(2, 2))
    assert model(POINTS).shape == (40, 2) and not Bare().graphs

    class Hollow(nn.Linear):
        def __init__(self):
            self.width = 2

    with pytest.raises(AttributeError, match=r"Hollow has no parameters: its __init__ must call super\(\).__init__"):
        Hollow()(POINTS)


def test_an_initializer_in_the_place_of_the_name():
    with pytest.raises(
        TypeError, match=r"name must be a string, got HeNormal\(\); give an initializer as weight_attr="
    ):
        nn.Linear(2, 2, nn.HeNormal())


def test_tensors_that_are_converted_after_a_run():
    model, other = build(3, 4, 2), build(3, 4, 2)
    model(np.ones((2, 3)))
    for m in model, other:
        for tensor in m.parameters():
            tensor.convert(np.float64)
    ((x, y),) = batches(3, 2, count=1)
    assert model(x).dtype == np.float64
    losses = train(model, sgd(model), [(x, y)] * 3)
    assert losses == train(other, sgd(other), [(x, y)] * 3)
    model.graphs[0].weights.convert(np.float32)
    with pytest.raises(ValueError, match="weights are float32, bias float64; convert both"):
        model(x)


def test_lists_that_a_subclass_makes_itself():
    """Nobody counts the changes of these."""
    layers = [he(2, 3), nn.ReLU(), he(3, 2)]

    class Listed(nn.Sequential):
        @property
        def graphs(self):
            return layers

        @graphs.setter
        def graphs(self, value):
            pass

    class Listing(nn.SGD):
        @property
        def parameters(self):
            return [tensor for layer in layers for tensor in layer.parameters()]

        @parameters.setter
        def parameters(self, value):
            pass

    model, loss_fn = Listed(), nn.MSE()
    optimizer = Listing(parameters=[], learning_rate=0.1)
    for _ in range(2):
        before = values(model)
        train(model, optimizer, [(POINTS, POINTS)], loss_fn)
        assert all((a != b).any() for a, b in zip(before, values(model), strict=True))
        layers.append(he(2, 2, 7))
    assert model(POINTS).shape == (40, 2) and len(optimizer.velocity) == 8


def residual(cls):
    """A class decorator that makes a residual of a Sequential."""
    forward, backward = cls.forward, cls.backward
    cls.forward = lambda self, x: x + forward(self, x)
    cls.backward = lambda self, gradient: gradient + backward(self, gradient)
    return cls


@residual
class Decorated(nn.Sequential):
    pass


class OwnLinear(nn.Linear):
    def forward(self, x):
        return x + super().forward(x)

    def backward(self, gradient):
        return gradient + super().backward(gradient)


class OwnReLU(nn.ReLU):
    def forward(self, x):
        return x + super().forward(x)

    def backward(self, gradient):
        return gradient + super().backward(gradient)


def replaced():
    model = nn.Sequential(he(2, 2))
    forward, backward = model.forward, model.backward
    model.forward = lambda x: x + forward(x)
    model.backward = lambda gradient: gradient + backward(gradient)
    return model


REDEFINED = {
    "subclass": lambda: Skip(he(2, 4), nn.ReLU(), he(4, 2)),
    "decorated": lambda: Decorated(he(2, 2)),
    "nested": lambda: nn.Sequential(he(2, 2), Skip(he(2, 2)), nn.ReLU()),
    "Linear": lambda: OwnLinear(2, 2, weight_attr=nn.HeNormal(rng=np.random.default_rng(0))),
    "ReLU": OwnReLU,
    "Linear inside": lambda: nn.Sequential(he(2, 2), OwnLinear(2, 2), OwnReLU()),
    "object": replaced,
}


@pytest.mark.parametrize("which", REDEFINED)
def test_predict_by_a_forward_of_the_users_own_leaves_the_state_alone(which):
    model, other = REDEFINED[which](), REDEFINED[which]()
    for p, q in zip(model.parameters(), other.parameters(), strict=True):
        q.data = p.data
    np.testing.assert_array_equal(model.predict(POINTS), other(POINTS))
    model(POINTS)
    for rows in POINTS[::-1] * 5, POINTS[:7]:
        model.predict(rows)
    np.testing.assert_array_equal(model.backward(POINTS), other.backward(POINTS))
    assert [p.grad.tobytes() for p in model.parameters()] == [p.grad.tobytes() for p in other.parameters()]


@pytest.mark.parametrize("which", REDEFINED)
def test_predict_by_a_forward_of_the_users_own_from_several_threads(which):
    model = REDEFINED[which]()
    inputs = [np.random.default_rng(i).normal(size=(5 + i, 2)) for i in range(4)]
    expected = [model.predict(x) for x in inputs]
    wrong, backend = [], nn.get_backend()

    def predict(i):
        with nn.use_backend(backend):  # which is of a thread
            wrong.extend(1 for _ in range(60) if not np.array_equal(model.predict(inputs[i]), expected[i]))

    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        threads = [threading.Thread(target=predict, args=(i,)) for i in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(before)
    assert not wrong


def test_a_forward_that_goes_backward_itself_predicts_what_it_computes():
    """The gradient of an energy, say; it needs the state that predict would leave alone."""

    class Force(nn.Sequential):
        def forward(self, x):
            return super().backward(np.ones_like(super().forward(x)))

    model = Force(he(2, 4), nn.ReLU(), he(4, 1))
    expected = model(POINTS)
    model(POINTS[::-1])
    np.testing.assert_array_equal(model.predict(POINTS), expected)


def test_a_method_that_is_put_back_is_the_librarys_again():
    from fastnp.training import compiled

    model = nn.Sequential(he(2, 4), nn.ReLU(), he(4, 2))
    loader = loader_of(nn.ArrayDataset(POINTS, POINTS))
    forward = model.forward
    model.forward = lambda x: 2 * forward(x)
    assert compiled.trainable(model, nn.MSE(), sgd(model), loader) is None
    model.forward = forward
    assert compiled.trainable(model, nn.MSE(), sgd(model), loader) is not None
    assert "forward" not in vars(model)


def test_a_callback_may_replace_the_loss_that_validates():
    model, loss_fn = build(2, 4, 2), nn.MSE()

    def change(epoch, loss):
        loss_fn.forward = lambda pred, target: 7.0

    loader = loader_of(nn.ArrayDataset(POINTS, POINTS))
    history = nn.fit(
        model, loss_fn, sgd(model), loader, 2, callback=change, validation=(POINTS, POINTS), progress=False
    )
    assert history.validation_loss[1] == 7.0 == history.loss[1]


def test_tensors_converted_between_forward_and_backward():
    model = build(3, 4, 2)
    model(np.ones((2, 3)))
    for tensor in model.parameters():
        tensor.convert(np.float64)
    with pytest.raises(ValueError, match="backward before forward"):
        model.backward(np.ones((2, 2)))


def test_parallel_branches_in_a_sequential_with_a_forward_of_its_own():
    class Branches(nn.Sequential):
        def __init__(self):
            super().__init__()
            self.graphs = [he(2, 3), he(2, 5)]

        def forward(self, x):
            return np.hstack([layer(x) for layer in self.graphs])

        def backward(self, gradient):
            return self.graphs[0].backward(gradient[:, :3]) + self.graphs[1].backward(gradient[:, 3:])

    model = nn.Sequential(Branches(), nn.ReLU())
    assert model(POINTS).shape == model.predict(POINTS).shape == (40, 8)
    nn.gradient_check(model, nn.MSE(), POINTS, np.ones((40, 8))).raise_if_failed()


class Again:
    """A loader that is its own iterator and starts anew each time."""

    def __init__(self, batches):
        self.batches = batches

    def __len__(self):
        return len(self.batches)

    def __iter__(self):
        self.i = 0
        return self

    def __next__(self):
        if self.i == len(self.batches):
            raise StopIteration
        self.i += 1
        return self.batches[self.i - 1]


class Batch:
    def __init__(self, x, y):
        self.x, self.y = x, y

    def __iter__(self):
        return iter((self.x, self.y))


HALVES = (POINTS[:20], POINTS[:20]), (POINTS[20:], POINTS[20:])


@pytest.mark.parametrize("batches", [
    Again(HALVES), list(HALVES), [list(half) for half in HALVES], [np.stack(half) for half in HALVES],
    [Batch(*half) for half in HALVES], HALVES + HALVES[:1],
])  # fmt: skip
def test_batches_in_whatever_is_unpacked(batches):
    model = build(2, 4, 2)
    assert len(nn.fit(model, nn.MSE(), sgd(model), batches, 2, progress=False).loss) == 2
    if not isinstance(batches[0] if isinstance(batches, list) else None, np.ndarray):  # which are (X, Y)
        loader = loader_of(nn.ArrayDataset(POINTS, POINTS))
        history = nn.fit(model, nn.MSE(), sgd(model), loader, 1, validation=batches, progress=False)
        assert np.isfinite(history.validation_loss).all()


def test_a_data_set_that_only_claims_to_be_longer_is_refused_before_training():
    class Longer(nn.ArrayDataset):
        def __len__(self):
            return 2 * super().__len__()

    model = build(2, 4, 2)
    before = values(model)
    with pytest.raises(ValueError, match="indices reach 79, but the data set has 40 rows"):
        nn.fit(model, nn.MSE(), sgd(model), loader_of(Longer(POINTS, POINTS)), 1, progress=False)
    assert [a.tobytes() for a in before] == [b.tobytes() for b in values(model)]


def test_a_sequential_that_is_put_into_itself():
    model = nn.Sequential(he(2, 2))
    model.graphs = [model]
    with pytest.raises(ValueError, match="stands twice in this Sequential"):
        model(POINTS)


def test_a_layer_whose_repr_fails_is_named_all_the_same():
    class Broken(Scale):
        def __repr__(self):
            raise OSError

    model = build(2, 2)
    optimizer = sgd(model)
    model.add(Broken())
    with pytest.warns(UserWarning, match="an object of type Broken joined the model"):
        train(model, optimizer, [(POINTS, POINTS)])
