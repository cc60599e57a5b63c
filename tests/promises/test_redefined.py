"""What users redefine in subclasses and replace on objects, and the constructors that they leave out."""

import dataclasses

import numpy as np
import pytest
from models import Scale, batches, build, sgd, train, values
from own import POINTS, Skip, he, loader_of

import fastnp as nn

pytestmark = pytest.mark.usefixtures("backend")


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


def test_a_decay_of_the_users_own():
    class Mine(nn.SGD):
        def get_decay(self, values):
            return 0.1 * values

    layer = nn.Linear(2, 2, weight_attr=nn.Constant(1.0))
    Mine(momentum=0.0, parameters=layer.parameters(), learning_rate=1.0).step()
    np.testing.assert_allclose(layer.weights.data, 0.9)


def test_a_subclass_that_only_adds_runs_compiled():
    """As most do that are written in the manner of PyTorch."""
    from fastnp.training.trainable import trainable

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
    assert trainable(model, nn.MSE(), sgd(model), loader) is not None
    model.describe = lambda: "replaced"
    assert trainable(model, nn.MSE(), sgd(model), loader) is not None
    model.backward = lambda gradient: gradient
    assert trainable(model, nn.MSE(), sgd(model), loader) is None
    model.backward = Net.backward.__get__(model)  # as it was
    assert trainable(model, nn.MSE(), sgd(model), loader) is not None


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


def test_a_method_that_is_put_back_is_the_librarys_again():
    from fastnp.training.trainable import trainable

    model = nn.Sequential(he(2, 4), nn.ReLU(), he(4, 2))
    loader = loader_of(nn.ArrayDataset(POINTS, POINTS))
    forward = model.forward
    model.forward = lambda x: 2 * forward(x)
    assert trainable(model, nn.MSE(), sgd(model), loader) is None
    model.forward = forward
    assert trainable(model, nn.MSE(), sgd(model), loader) is not None
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
