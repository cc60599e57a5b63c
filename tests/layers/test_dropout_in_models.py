"""Dropout inside of users' own layers and models, copied, and redefined."""

import copy
import pickle

import numpy as np
import pytest
from own import he

import fastnp as nn

X = np.random.default_rng(0).standard_normal((12, 5))
Y = np.random.default_rng(1).standard_normal((12, 3))


class Residual(nn.Layer):
    """A model among the attributes of a layer."""

    def __init__(self):
        super().__init__("residual")
        self.inner = nn.Sequential(he(5, 5), nn.Dropout(0.5))

    def forward(self, x):
        return x + self.inner(x)

    def backward(self, gradient):
        return gradient + self.inner.backward(gradient)

    def parameters(self):
        return self.inner.parameters()


class Skip(nn.Sequential):
    """Runs its layers itself."""

    def forward(self, x):
        hidden = self.graphs[0](x)
        return hidden + self.graphs[1](hidden)

    def backward(self, gradient):
        return self.graphs[0].backward(gradient + self.graphs[1].backward(gradient))


class Branch(nn.Sequential):
    """Has a second model beside its layers."""

    def __init__(self, *layers):
        super().__init__(*layers)
        self.other = nn.Sequential(he(5, 5), nn.Dropout(0.5))

    def forward(self, x):
        return super().forward(x) + self.other(x)

    def backward(self, gradient):
        return super().backward(gradient) + self.other.backward(gradient)


MODELS = {
    "in an attribute": lambda: nn.Sequential(Residual(), he(5, 3)),
    "run by itself": lambda: nn.Sequential(Skip(he(5, 5), nn.Dropout(0.5)), he(5, 3)),
    "beside": lambda: nn.Sequential(Branch(he(5, 5), nn.Dropout(0.5)), he(5, 3)),
    "alone": Residual,
    "plain": lambda: nn.Sequential(he(5, 5), nn.Dropout(0.5), he(5, 3)),
}
models = pytest.mark.parametrize("make", MODELS.values(), ids=MODELS.keys())


@models
def test_predictions_are_without_it(make, backend):
    np.random.seed(0)
    model = make()
    first = model.predict(X)
    assert not np.array_equal(model(X), first)
    assert np.array_equal(model.predict(X), first)
    model.eval()
    assert np.array_equal(model(X), first)
    model.train()
    assert not np.array_equal(model(X), first)


@models
def test_validation_changes_no_training(make, backend):
    if make is Residual:
        pytest.skip("fit takes models of three outputs here")
    losses = []
    for options in {}, {"validation": (X, Y)}, {"validation": nn.DataLoader(nn.ArrayDataset(X, Y), batch_size=5)}:
        np.random.seed(0)
        model = make()
        optimizer = nn.SGD(parameters=model.parameters(), learning_rate=0.01)
        loader = nn.DataLoader(nn.ArrayDataset(X, Y), batch_size=4)
        losses.append(nn.fit(model, nn.MSE(), optimizer, loader, 4, progress=False, **options).loss)
    assert losses[0] == losses[1] == losses[2]


def zeros_of(layer, x):
    return layer(x) == 0


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, lambda layer: pickle.loads(pickle.dumps(layer))])
def test_copies_in_one_model_leave_out_other_numbers(copied, backend):
    np.random.seed(0)
    first = nn.Dropout(0.5)
    second = copied(first)
    model = nn.Sequential(first, nn.Sequential(second), copied(first), he(64, 1))
    model(np.ones((50, 64)))
    outputs = [layer.graphs[0] if isinstance(layer, nn.Sequential) else layer for layer in model.graphs[:3]]
    x = np.ones((200, 200))
    masks = [zeros_of(layer, x) for layer in outputs]
    for i in range(3):
        for j in range(i):
            assert abs(np.mean(masks[i] == masks[j]) - 0.5) < 0.02
    other = copy.deepcopy(model)
    assert np.array_equal(other(np.ones((5, 64))), model(np.ones((5, 64))))


def test_a_generator_made_anew_for_each_layer_makes_no_layers_alike():
    model = nn.Sequential(*(nn.Dropout(0.5, rng=np.random.default_rng(3)) for _ in range(4)), he(64, 1))
    model(np.ones((2, 64)))
    assert len({layer._noise.seed for layer in model.graphs[:4]}) == 4


class Ninety(nn.Dropout):
    p = property(lambda self: 0.9, lambda self, value: None)


class Tenth(nn.Dropout):
    p = 0.1


class Never(nn.Dropout):
    training = property(lambda self: False, lambda self, value: None)


class Always(nn.Dropout):
    training = True


@pytest.mark.parametrize("within", [False, True])
@pytest.mark.parametrize(("cls", "share"), [(Ninety, 0.9), (Tenth, 0.1), (Never, 0.0)])
def test_what_is_redefined_counts(cls, share, within, backend):
    np.random.seed(0)
    layer, x = cls(0.5), np.ones((200, 200))
    model = nn.Sequential(layer) if within else layer
    assert abs(np.mean(model(x) == 0) - share) < 0.01
    assert np.array_equal(model.predict(x), x)


def test_a_mode_that_a_class_redefines():
    np.random.seed(0)
    layer = Always(0.5)
    assert layer.training and (layer(np.ones(1000)) == 0).any()
    layer.eval()
    assert not layer.training and not (layer(np.ones(1000)) == 0).any()
