"""Several models: side by side, in parts, nested, sharing layers."""

import copy
import threading

import numpy as np
import pytest
from models import assert_same_bits, batches, build, sgd, train, values
from products import matrix_product

import fastnp as nn

pytestmark = pytest.mark.usefixtures("backend")


def test_two_models_share_no_state():
    data = batches(3, 2, count=10)
    alone = [build(3, 8, 2, seed=s) for s in (0, 1)]
    for model in alone:
        train(model, sgd(model), data)
    together = [build(3, 8, 2, seed=s) for s in (0, 1)]
    optimizers = [sgd(model) for model in together]
    loss_fns = [nn.MSE(), nn.MSE()]
    for x, y in data:
        preds = [model(x) for model in together]
        for loss_fn, pred in zip(loss_fns, preds, strict=True):
            loss_fn(pred, y)
        for model, loss_fn in zip(together, loss_fns, strict=True):
            model.backward(loss_fn.backward())
        for optimizer in optimizers:
            optimizer.step()
            optimizer.clear_grad()
    for one, other in zip(alone, together, strict=True):
        assert_same_bits(values(one), values(other))


def test_two_threads_train_two_models_as_one_after_the_other(backend):
    data = batches(3, 2, count=200)
    expected = [build(3, 33, 2, seed=s) for s in (0, 1)]
    for model in expected:
        train(model, sgd(model), data)
    models = [build(3, 33, 2, seed=s) for s in (0, 1)]

    def work(model):
        with nn.use_backend(backend):
            train(model, sgd(model), data)

    threads = [threading.Thread(target=work, args=(model,)) for model in models]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for one, other in zip(expected, models, strict=True):
        assert_same_bits(values(one), values(other))


class Both:
    """Two optimizers used as one."""

    def __init__(self, *optimizers):
        self.optimizers = optimizers

    def step(self):
        for optimizer in self.optimizers:
            optimizer.step()

    def clear_grad(self):
        for optimizer in self.optimizers:
            optimizer.clear_grad()


@pytest.mark.parametrize("cut", [(0, 2), (1, 4), (0, 3, 5)])
def test_two_optimizers_over_parts_equal_one_over_all(cut):
    data = batches(3, 2)
    whole, parts = build(3, 8, 17, 2), build(3, 8, 17, 2)
    train(whole, sgd(whole), data)
    mine = [parts.parameters()[i] for i in cut]
    rest = [p for p in parts.parameters() if not any(p is q for q in mine)]
    both = Both(*(nn.SGD(parameters=some, learning_rate=0.05) for some in (mine, rest)))
    train(parts, both, data)
    assert_same_bits(values(whole), values(parts))


def test_an_optimizer_over_a_part_leaves_the_rest_alone():
    model = build(3, 8, 2)
    before = values(model)
    train(model, nn.SGD(parameters=model.graphs[0].parameters()), batches(3, 2))
    after = values(model)
    assert_same_bits(before[2:], after[2:])
    assert before[0].tobytes() != after[0].tobytes()


@pytest.mark.parametrize("new_optimizer", [True, False])
def test_adding_a_layer_after_training_started(new_optimizer):
    model = build(3, 8)
    optimizer = sgd(model)
    train(model, optimizer, batches(3, 8))
    trained, velocity = values(model), [v.copy() for v in optimizer.velocity]
    model.add(nn.ReLU())
    model.add(nn.Linear(8, 2, weight_attr=nn.HeNormal(rng=np.random.default_rng(5))))
    assert_same_bits(values(model)[:2], trained)
    if new_optimizer:
        optimizer = sgd(model)
    else:
        assert_same_bits(optimizer.velocity, velocity)
        optimizer.parameters = model.parameters()
        assert_same_bits(optimizer.velocity[:2], velocity)
        assert len(optimizer.velocity) == 4
    losses = train(model, optimizer, batches(3, 2, count=1) * 40)
    assert losses[-1] < losses[0] / 2
    assert all(a.tobytes() != b.tobytes() for a, b in zip(values(model), trained, strict=False))


def test_an_old_optimizer_goes_on_with_its_own_layers_when_one_is_added():
    model = build(3, 8)
    optimizer = sgd(model)
    train(model, optimizer, batches(3, 8))
    model.add(nn.Linear(8, 2))
    before = values(model)
    with pytest.warns(UserWarning, match=r"Linear\(8, 2\) joined the model after its optimizer was made"):
        train(model, optimizer, batches(3, 2, count=1))
    train(model, optimizer, batches(3, 2))  # said once
    after = values(model)
    assert_same_bits(before[2:], after[2:])
    assert before[1].tobytes() != after[1].tobytes()


def test_the_same_layer_twice_is_refused():
    layer = nn.Linear(3, 3)
    with pytest.raises(ValueError, match="twice"):
        nn.Sequential(layer, nn.ReLU(), layer)
    model = nn.Sequential(layer)
    with pytest.raises(ValueError, match="twice"):
        model.add(layer)
    assert model.graphs == [layer]


@pytest.mark.parametrize("nest", [
    lambda layer: nn.Sequential(layer, nn.Sequential(layer)),
    lambda layer: nn.Sequential(nn.Sequential(layer), nn.Sequential(nn.ReLU(), layer)),
])  # fmt: skip
def test_the_same_layer_twice_is_refused_in_nested_models_too(nest):
    with pytest.raises(ValueError, match="twice"):
        nest(nn.Linear(3, 3))(np.ones((1, 3)))


def test_a_nested_sequential_gives_the_flat_models_bits():
    flat, parts = build(3, 8, 17, 2), build(3, 8, 17, 2)
    nested = nn.Sequential(*parts.graphs[:2], nn.Sequential(*parts.graphs[2:4]), parts.graphs[4])
    data = batches(3, 2)
    assert train(flat, sgd(flat), data) == train(nested, sgd(nested), data)
    assert_same_bits(values(flat), values(nested))


def test_graphs_may_be_edited():
    model = build(3, 8, 2)
    x = np.ones((2, 3))
    expected = nn.Sequential(*copy.deepcopy(model.graphs[:1]))(x)
    model(x)
    del model.graphs[1:]
    assert_same_bits([model(x)], [expected])


def test_an_encoder_shares_layers_with_the_full_model():
    alone = build(3, 8, 2)
    layers = copy.deepcopy(alone).graphs
    encoder = nn.Sequential(*layers[:2])
    encoder_optimizer = sgd(encoder)
    x = np.random.default_rng(0).normal(size=(5, 3))
    code = encoder(x)
    full = nn.Sequential(*layers)
    data = batches(3, 2)
    train(full, sgd(full), data)
    train(alone, sgd(alone), data)
    assert_same_bits(values(full), values(alone))

    w, b = full.graphs[0].weights.data, full.graphs[0].bias.data
    np.testing.assert_allclose(encoder(x), np.maximum(matrix_product(x, w) + b, 0), rtol=1e-5, atol=1e-6)
    assert encoder(x).tobytes() != code.tobytes()
    before = values(full)
    losses = train(encoder, encoder_optimizer, [(x, np.ones((5, 8)))] * 30)
    assert losses[-1] < losses[0]
    assert_same_bits(values(full)[2:], before[2:])
    assert_same_bits(values(full)[:2], values(encoder))
    losses = train(full, sgd(full), data[:1] * 20)
    assert losses[-1] < losses[0]


def test_overlapping_models_pass_gradients_through_their_own_layers():
    l1, l2, l3 = (nn.Linear(3, 3, weight_attr=nn.HeNormal(), dtype=np.float64) for _ in range(3))
    a, b = nn.Sequential(l1, l2), nn.Sequential(l2, l3)
    rng = np.random.default_rng(0)
    x, g = rng.normal(size=(2, 4, 3))
    w1, w2, w3 = (layer.weights.data.copy() for layer in (l1, l2, l3))
    for _ in range(2):
        for layer in l1, l2, l3:
            layer.weights.clear_grad()
            layer.bias.clear_grad()
        a(x)
        np.testing.assert_allclose(a.backward(g), matrix_product(matrix_product(g, w2.T), w1.T))
        np.testing.assert_allclose(l2.weights.grad, matrix_product((matrix_product(x, w1) + l1.bias.data).T, g))
        assert not l3.weights.grad.any()
        b(x)
        np.testing.assert_allclose(b.backward(g), matrix_product(matrix_product(g, w3.T), w2.T))
        np.testing.assert_allclose(
            l2.weights.grad,
            matrix_product((matrix_product(x, w1) + l1.bias.data).T, g) + matrix_product(x.T, matrix_product(g, w3.T)),
        )
        np.testing.assert_allclose(l1.weights.grad, matrix_product(x.T, matrix_product(g, w2.T)))


def test_a_layer_run_in_another_model_meanwhile_holds_its_last_input():
    l1, l2, l3 = (nn.Linear(3, 3, weight_attr=nn.HeNormal(), dtype=np.float64) for _ in range(3))
    a, b = nn.Sequential(l1, l2), nn.Sequential(l2, l3)
    rng = np.random.default_rng(0)
    x, z, g = rng.normal(size=(3, 4, 3))
    a(x)
    b(z)
    a.backward(g)
    np.testing.assert_allclose(l2.weights.grad, matrix_product(z.T, g))
    np.testing.assert_allclose(l1.weights.grad, matrix_product(x.T, matrix_product(g, l2.weights.data.T)))
