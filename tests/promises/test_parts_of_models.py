"""Training a part of a model: fine-tuning, frozen bodies, new heads, nested models."""

import copy
import pickle

import numpy as np
import pytest
from models import assert_same_bits, build, sgd, train, values
from parts import DATA, MOMENTUM, RATE, linear, loader, pretrained

import fastnp as nn

pytestmark = pytest.mark.usefixtures("backend")


def fine_tuned():
    model = nn.Sequential(*pretrained().graphs[:-1], linear(8, 2))
    return model, model.parameters()


def new_head_on_a_frozen_body():
    model = nn.Sequential(*pretrained().graphs[:-1], linear(8, 2))
    return model, model.graphs[-1].parameters()


def frozen_head():
    model = pretrained()
    return model, model.parameters()[:2]


def frozen_middle():
    model = pretrained()
    return model, model.parameters()[:2] + model.parameters()[4:]


def biases_alone():
    model = pretrained()
    return model, model.parameters()[1::2]


def encoder_and_decoder():
    model = nn.Sequential(build(3, 8, 4, dtype=np.float64), build(4, 8, 2, seed=2, dtype=np.float64))
    return model, model.parameters()


def nested_with_a_frozen_encoder():
    encoder = build(3, 8, 4, dtype=np.float64)
    model = nn.Sequential(encoder, nn.ReLU(), build(4, 2, seed=2, dtype=np.float64))
    return model, model.graphs[-1].parameters()


def layers_added_after_a_training():
    model = pretrained()
    model.add(nn.ReLU())
    model.add(linear(2, 2))
    return model, model.parameters()


def layers_put_into_the_list():
    model = pretrained()
    model(np.zeros((1, 3)))
    model.graphs.insert(2, linear(8, 8))
    model.graphs[3:3] = [nn.ReLU()]
    return model, model.parameters()


def a_copy_with_a_new_head():
    model = copy.deepcopy(pretrained())
    model.graphs[-1] = linear(8, 2)
    return model, model.parameters()


SHAPES = [fine_tuned, new_head_on_a_frozen_body, frozen_head, frozen_middle, biases_alone, encoder_and_decoder]


SHAPES += [
    nested_with_a_frozen_encoder,
    layers_added_after_a_training,
    layers_put_into_the_list,
    a_copy_with_a_new_head,
]


def flat(model):
    return [layer for graph in model.graphs for layer in (flat(graph) if isinstance(graph, nn.Sequential) else [graph])]


def textbook(model, held, epochs):
    """What plain NumPy makes of the parameters that are held; the others stay."""
    layers = [
        None if isinstance(layer, nn.ReLU) else [t.data.copy() for t in layer.parameters()] for layer in flat(model)
    ]
    tensors = [t for layer in flat(model) for t in layer.parameters()]
    velocity = {id(t): np.zeros(t.shape) for t in held}
    for x, y in DATA * epochs:
        inputs = []
        for layer in layers:
            inputs.append(x)
            x = np.maximum(x, 0) if layer is None else np.einsum("ik,kj->ij", x, layer[0]) + layer[1]
        g, gradients = (x - y) / x.size, []
        for layer, before in zip(layers[::-1], inputs[::-1], strict=True):
            if layer is None:
                g = np.where(before > 0, g, 0)
            else:
                gradients[:0] = [np.einsum("ki,kj->ij", before, g), g.sum(0, keepdims=True)]
                g = np.einsum("ik,jk->ij", g, layer[0])
        arrays = [array for layer in layers if layer is not None for array in layer]
        for tensor, array, gradient in zip(tensors, arrays, gradients, strict=True):
            if id(tensor) in velocity:
                velocity[id(tensor)] = MOMENTUM * velocity[id(tensor)] + gradient
                array -= RATE * velocity[id(tensor)]
    return [array for layer in layers if layer is not None for array in layer]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("how", ["loop", "fit"])
def test_the_parameters_are_those_of_the_textbook(shape, how):
    model, held = shape()
    expected = textbook(model, held, 2)
    optimizer = nn.SGD(MOMENTUM, held, RATE)
    if how == "fit":
        nn.fit(model, nn.MSE(), optimizer, loader(), 2, progress=False)
    else:
        train(model, optimizer, DATA * 2)
    kept = {id(t) for t in held}
    for tensor, wanted in zip(model.parameters(), expected, strict=True):
        np.testing.assert_allclose(tensor.data, wanted, rtol=1e-9, atol=1e-11)
        assert not tensor.grad.any() or (how == "loop" and id(tensor) not in kept)


@pytest.mark.parametrize("shape", SHAPES)
def test_fit_is_the_loop_and_a_copy_goes_on_alike(shape):
    results = []
    for how in "loop", "fit", "a pickle of both", "a copy of both":
        model, held = shape()
        optimizer = nn.SGD(MOMENTUM, held, RATE)
        train(model, optimizer, DATA)
        if how == "a pickle of both":
            model, optimizer = pickle.loads(pickle.dumps((model, optimizer)))
        if how == "a copy of both":
            model, optimizer = copy.deepcopy((model, optimizer))
        for tensor in model.parameters():
            tensor.clear_grad()
        if how == "loop":
            train(model, optimizer, DATA)
        else:
            nn.fit(model, nn.MSE(), optimizer, loader(), 1, progress=False)
        results.append(values(model))
    for result in results[1:]:
        assert_same_bits(result, results[0])


def test_a_head_and_then_the_whole():
    """What a fit of the head leaves in the body's gradients is not the first step of the next."""
    model = build(3, 8, 8, 2)
    nn.fit(model, nn.MSE(), sgd(model, parameters=model.graphs[-1].parameters()), loader(), 100, progress=False)
    assert not any(tensor.grad.any() for tensor in model.parameters())
    losses = nn.fit(model, nn.MSE(), sgd(model), loader(), 20, progress=False).loss
    assert losses[-1] < losses[0]


def test_a_body_shared_by_two_heads():
    encoder = build(3, 8, 4, dtype=np.float64)
    first, second = (nn.Sequential(encoder, linear(4, 2, seed)) for seed in (1, 2))
    for model in first, second, first:
        expected = textbook(model, model.parameters(), 1)
        train(model, nn.SGD(MOMENTUM, model.parameters(), RATE), DATA)
        for tensor, wanted in zip(model.parameters(), expected, strict=True):
            np.testing.assert_allclose(tensor.data, wanted, rtol=1e-9, atol=1e-11)
