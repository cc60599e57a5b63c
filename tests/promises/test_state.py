"""What layers remember of a forward pass, and how gradients add up."""

import numpy as np
import pytest
from models import assert_same_bits, batches, build, gradients, sgd, train, values
from products import matrix_product

import fastnp as nn

pytestmark = pytest.mark.usefixtures("backend")


@pytest.mark.parametrize("size", [1, 5, 16, 33])
def test_walking_the_graphs_by_hand_gives_the_same_bits(size):
    models = build(3, 8, 17, 2), build(3, 8, 17, 2)
    ((x, g),) = batches(3, 2, count=1, size=size)
    for model in models:
        model(x)
    whole = models[0].backward(g)
    for layer in reversed(models[1].graphs):
        g = layer.backward(g)
    assert_same_bits([whole, *gradients(models[0])], [g, *gradients(models[1])])


def test_walking_forward_by_hand_then_model_backward():
    models = build(3, 8, 2), build(3, 8, 2)
    ((x, g),) = batches(3, 2, count=1)
    y = models[0](x)
    z = x
    for layer in models[1].graphs:
        z = layer(z)
    assert_same_bits([y], [z])
    models[1](np.zeros((5, 3)))
    for layer in models[1].graphs:
        x = layer(x)
    models[0].backward(g)
    models[1].backward(g)
    assert_same_bits(gradients(models[0]), gradients(models[1]))


def test_a_layer_run_alone_between_forward_and_backward_holds_that_input():
    model = build(3, 8, 2, dtype=np.float64)
    ((x, g),) = batches(3, 2, count=1)
    other = np.random.default_rng(7).normal(size=x.shape)
    model(x)
    first, relu, last = model.graphs
    first(other)
    model.backward(g)
    np.testing.assert_allclose(last.weights.grad, matrix_product(relu.activated.T, g))
    hidden = matrix_product(g, last.weights.data.T) * (relu.activated > 0)
    np.testing.assert_allclose(first.weights.grad, matrix_product(other.T, hidden))
    np.testing.assert_array_equal(first.input, other)


def test_inputs_and_activations_are_kept_by_the_layers():
    model = build(3, 8, 2, dtype=np.float64)
    ((x, _),) = batches(3, 2, count=1)
    model(x)
    first, relu, last = model.graphs
    np.testing.assert_array_equal(first.input, x)
    np.testing.assert_allclose(
        relu.activated, np.maximum(matrix_product(x, first.weights.data) + first.bias.data, 0), rtol=1e-12
    )
    np.testing.assert_array_equal(last.input, relu.activated)


def test_gradients_add_up_over_two_backwards():
    model = build(3, 8, 17, 2)
    one, two = batches(3, 2, count=2)
    parts = []
    for x, g in one, two:
        for p in model.parameters():
            p.clear_grad()
        model(x)
        model.backward(g)
        parts.append(gradients(model))
    sgd(model).clear_grad()
    for x, g in one, two:
        model(x)
        model.backward(g)
    assert_same_bits(gradients(model), [a + b for a, b in zip(*parts, strict=True)])


@pytest.mark.parametrize("clear", ["optimizer", "tensors"])
def test_cleared_gradients_read_zero_and_the_next_backward_starts_anew(clear):
    model = build(3, 8, 2)
    optimizer = sgd(model)
    ((x, g),) = batches(3, 2, count=1)
    model(x)
    model.backward(g)
    first = gradients(model)
    for read_between in False, True:
        if clear == "optimizer":
            optimizer.clear_grad()
        else:
            for p in model.parameters():
                p.clear_grad()
        if read_between:
            assert not any(grad.any() for grad in gradients(model))
        model(x)
        model.backward(g)
        assert_same_bits(gradients(model), first)


def test_a_step_after_clear_grad_only_coasts():
    model = build(3, 8, 2, dtype=np.float64)
    optimizer = sgd(model, momentum=0.5)
    train(model, optimizer, batches(3, 2, count=1))
    before, velocity = values(model), [v.copy() for v in optimizer.velocity]
    optimizer.step()
    for new, old, v in zip(values(model), before, velocity, strict=True):
        np.testing.assert_allclose(new, old - 0.05 * 0.5 * v, rtol=1e-12)


def test_clear_grad_of_one_tensor_after_clear_grad_of_all():
    model = build(3, 8, 2)
    optimizer = sgd(model)
    ((x, g),) = batches(3, 2, count=1)
    model(x)
    model.backward(g)
    optimizer.clear_grad()
    model.graphs[0].weights.clear_grad()
    model.graphs[0].bias.grad = np.ones((1, 8))
    assert [grad.any() for grad in gradients(model)] == [False, True, False, False]


def test_clear_grad_by_an_optimizer_over_a_part_keeps_the_other_gradients():
    model = build(3, 8, 2)
    ((x, g),) = batches(3, 2, count=1)
    model(x)
    model.backward(g)
    kept = gradients(model)[:2]
    nn.SGD(parameters=model.graphs[2].parameters()).clear_grad()
    assert_same_bits(gradients(model)[:2], kept)
    assert [grad.any() for grad in gradients(model)] == [True, True, False, False]


def test_cleared_gradients_stay_zero_when_the_layer_joins_a_model():
    model = build(3, 8, 2)
    optimizer = sgd(model)
    ((x, g),) = batches(3, 2, count=1)
    model(x)
    model.backward(g)
    optimizer.clear_grad()
    model.add(nn.Linear(2, 1))
    assert not any(grad.any() for grad in gradients(model))


def test_a_partial_backward_after_clear_grad_leaves_zeros_elsewhere():
    model = build(3, 8, 2)
    optimizer = sgd(model)
    ((x, g),) = batches(3, 2, count=1)
    model(x)
    model.backward(g)
    optimizer.clear_grad()
    model.graphs[2].backward(g)
    assert [grad.any() for grad in gradients(model)] == [False, False, True, True]


SIZES = [5, 300, 1, 0, 2, 700, 3, 64, 0, 5]


def test_batch_sizes_may_change_between_calls():
    model = build(3, 17, 2, dtype=np.float64)
    w1, b1, w2, b2 = values(model)
    for i, size in enumerate(SIZES):
        ((x, g),) = batches(3, 2, count=1, size=size, seed=i)
        hidden = np.maximum(matrix_product(x, w1) + b1, 0)
        np.testing.assert_allclose(model(x), matrix_product(hidden, w2) + b2, rtol=1e-12, atol=1e-12)
        dx = model.backward(g)
        dh = matrix_product(g, w2.T) * (hidden > 0)
        np.testing.assert_allclose(dx, matrix_product(dh, w1.T), rtol=1e-12, atol=1e-12)
        for got, want in zip(
            gradients(model),
            (matrix_product(x.T, dh), dh.sum(0, keepdims=True), matrix_product(hidden.T, g), g.sum(0, keepdims=True)),
            strict=True,
        ):
            np.testing.assert_allclose(got, want, rtol=1e-11, atol=1e-11)
        sgd(model).clear_grad()


@pytest.mark.parametrize("clear_first", [False, True])
def test_an_empty_batch_adds_nothing(clear_first):
    model = build(3, 8, 2)
    if clear_first:
        sgd(model).clear_grad()
    assert model(np.zeros((0, 3))).shape == (0, 2)
    assert model.backward(np.zeros((0, 2))).shape == (0, 3)
    assert not any(grad.any() for grad in gradients(model))


def test_results_survive_the_next_call():
    model, loss_fn = build(3, 8, 2), nn.MSE()
    kept = []
    for x, y in batches(3, 2, count=3):
        pred = model(x)
        loss_fn(pred, y)
        grad = loss_fn.backward()
        arrays = [pred, grad, model.backward(grad), model.graphs[0].input, model.graphs[1].activated, loss_fn.pred]
        kept.append((arrays, [a.tobytes() for a in arrays]))
    for arrays, bits in kept:
        assert [a.tobytes() for a in arrays] == bits


def test_writing_into_a_result_changes_no_state():
    models = build(3, 8, 2), build(3, 8, 2)
    ((x, g),) = batches(3, 2, count=1)
    for model, spoil in zip(models, (False, True), strict=True):
        y = model(x)
        if spoil:
            y[:] = np.nan
            model.graphs[0].input[:] = np.nan
            model.graphs[1].activated[:] = np.nan
        model.backward(g)
    assert_same_bits(gradients(models[0]), gradients(models[1]))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("n_in", [1, 3, 16, 33])
@pytest.mark.parametrize("n_out", [1, 15, 16, 17, 48, 70])
def test_a_rows_bits_do_not_depend_on_its_neighbours(numba, n_in, n_out, dtype):
    model = build(n_in, 20, n_out, dtype=dtype)
    x = np.random.default_rng(0).normal(size=(11, n_in))
    whole = model(x)
    for i in range(11):
        assert_same_bits([model(x[i : i + 1])[0]], [whole[i]])
    for size in 2, 3, 5, 7:
        assert_same_bits([model(x[:size])], [whole[:size]])
    x[1] = np.nan
    x[2] = np.inf
    spoilt = model(x)
    assert_same_bits([spoilt[0], spoilt[3:]], [whole[0], whole[3:]])
