"""Where the tensors of a model stand while layers come and go: what is seen there, and how seldom it moves."""

import sys
from pathlib import Path

import numpy as np
import pytest
from models import build, sgd, train
from parts import DATA, LOADER_X, linear

import fastnp as nn
from fastnp import overrides

pytestmark = pytest.mark.usefixtures("backend")


@pytest.mark.parametrize("change", ["reverse", "sort"])
def test_a_changed_list_of_layers_is_followed(change):
    model = nn.Sequential(*(linear(3, 3, seed) for seed in (1, 2, 3)))
    model(LOADER_X)
    model.graphs.sort(key=id, reverse=True) if change == "sort" else model.graphs.reverse()
    x = LOADER_X
    for layer in model.graphs:
        x = layer(x)
    np.testing.assert_array_equal(model(LOADER_X), x)


def test_cleared_gradients_stay_cleared_when_a_layer_joins_in_place():
    model = build(3, 8, 2, dtype=np.float64)
    model.add(linear(2, 2))
    optimizer = sgd(model)
    train(model, optimizer, DATA[:2])
    optimizer.clear_grad()  # only noted
    model.add(linear(2, 2))  # where there is room
    assert not any(tensor.grad.any() for tensor in model.parameters())


def test_layers_that_come_and_go_leave_nothing():
    model = build(3, 8, 2)
    model(LOADER_X)
    for _ in range(300):
        model.graphs.pop()
        model.add(nn.Linear(8, 2))
        model(LOADER_X[:1])
    arena = model.graphs[0].weights._place.arena
    assert arena.room < 5 * sum(tensor._layout.size for tensor in model.parameters())
    assert len(arena._tensors) <= 8


def gradients_by_hand(model, x, g):
    weights = [layer.weights.data for layer in model.graphs]
    biases = [layer.bias.data for layer in model.graphs]
    inputs = [np.asarray(x, np.float64)]
    for w, b in zip(weights, biases, strict=True):
        inputs.append(np.einsum("ik,kj->ij", inputs[-1], w) + b)
    found = []
    for w, a in zip(weights[::-1], inputs[-2::-1], strict=True):
        found[:0] = [np.einsum("ki,kj->ij", a, g), g.sum(0, keepdims=True)]
        g = np.einsum("ik,jk->ij", g, w)
    return found


@pytest.mark.parametrize(
    "backend", ["numba", pytest.param("numpy", marks=pytest.mark.slow)], indirect=True
)  # both alike
@pytest.mark.filterwarnings("ignore:the layer .* joined the model after")
def test_ctrl_c_at_every_line_while_a_layer_is_added():
    """Wherever it comes, what is there afterwards computes and differentiates right."""
    x, g = np.ones((2, 3)), np.ones((2, 3))
    package = str(Path(nn.__file__).parent)

    def interrupted(work, line):
        count = 0

        def trace(frame, event, argument):
            nonlocal count
            if not frame.f_code.co_filename.startswith(package):
                return None
            if event == "line":
                count += 1
                if count == line:
                    raise KeyboardInterrupt
            return trace

        before = sys.gettrace()
        sys.settrace(trace)
        try:
            work()
        except KeyboardInterrupt:
            return True
        finally:
            sys.settrace(before)
        return False

    line, came = 0, True
    while came:
        line += 1
        model = nn.Sequential(linear(3, 3, 1), linear(3, 3, 2))
        optimizer = sgd(model)
        train(model, optimizer, [(x, g)])

        def work(model=model):
            model.add(linear(3, 3, 3))
            model(x)

        came = interrupted(work, line)
        for tensor in model.parameters():
            tensor.clear_grad()
        model(x)
        model.backward(g)
        for tensor, wanted in zip(model.parameters(), gradients_by_hand(model, x, g), strict=True):
            np.testing.assert_allclose(tensor.grad, wanted, rtol=1e-9, atol=1e-12, err_msg=f"line {line}")
        held = optimizer.parameters
        wanted = [
            p.data - optimizer.learning_rate * (0.9 * v + p.grad) for p, v in zip(held, optimizer.velocity, strict=True)
        ]
        optimizer.step()
        optimizer.clear_grad()
        assert not any(p.grad.any() for p in held)
        for p, value in zip(held, wanted, strict=True):
            np.testing.assert_allclose(p.data, value, rtol=1e-9, atol=1e-12, err_msg=f"line {line}")
    assert line > 100


def test_many_additions_move_the_tensors_seldom():
    """Each addition would otherwise move all that are there: 800 of them took seven seconds."""
    model, moved = nn.Sequential(nn.Linear(4, 4)), 0
    for _ in range(200):
        first = model.graphs[0].weights.data
        model.add(nn.Linear(4, 4))
        moved += not np.shares_memory(first, model.graphs[0].weights.data)
    assert moved < 10
    optimizer = sgd(model)
    (held,) = optimizer._kernel_held()
    assert held.is_all


def test_a_view_taken_before_an_addition_that_moves_nothing_stays_live():
    model = nn.Sequential(*(nn.Linear(4, 4, weight_attr=nn.Constant(1)) for _ in range(2)))
    model.add(nn.Linear(4, 4, weight_attr=nn.Constant(1)))  # moves them, to where there is room for more
    optimizer, view, x = sgd(model), model.graphs[0].weights.data, np.ones((2, 4))
    model(x)
    model.add(nn.Linear(4, 4, weight_attr=nn.Constant(1)))
    optimizer.parameters.extend(model.graphs[-1].parameters())
    view[...] = 2
    assert (model.graphs[0].weights.data == 2).all()
    assert (model(x) == 2 * 4**4).all()
    model.backward(np.ones((2, 4)))
    optimizer.step()
    assert (view < 2).all()


# --- at rest ---

WAYS = {
    "all at once": lambda layers: nn.Sequential(*layers),
    "added": lambda layers: added(nn.Sequential(), layers),
    "listed": lambda layers: listed(nn.Sequential(), layers),
    "nested": lambda layers: nn.Sequential(nn.Sequential(*layers[:2]), nn.Sequential(*layers[2:])),
    "added nested": lambda layers: added(nn.Sequential(), [nn.Sequential(*layers[:3]), *layers[3:]]),
    "on an old body": lambda layers: nn.Sequential(*OLD.setdefault(id(layers), nn.Sequential(*layers)).graphs[:-1],
                                                   nn.Linear(4, 2)),
}  # fmt: skip
OLD: dict[int, nn.Sequential] = {}


def added(model, layers):
    for layer in layers:
        model.add(layer)
    return model


def listed(model, layers):
    model.graphs.extend(layers)
    return model


@pytest.mark.parametrize("early", [True, False], ids=["optimizer first", "model first"])
@pytest.mark.parametrize("way", WAYS)
def test_nothing_moves_once_a_model_runs(way, early, backend):
    """Whatever was decided of it stays decided: the counter of changes stands still, and so does every array."""
    model = WAYS[way]([nn.Linear(3, 8), nn.ReLU(), nn.Linear(8, 4), nn.Tanh(), nn.Linear(4, 2)])
    x, y = np.ones((8, 3)), np.ones((8, 2))
    if not early:
        model(x)
    optimizer, loss_fn = nn.SGD(parameters=model.parameters()), nn.MSE()
    loader = nn.DataLoader(nn.ArrayDataset(x, y), batch_size=4)

    def train():
        for a, b in loader:
            loss_fn(model(a), b)
            model.backward(loss_fn.backward())
            optimizer.step()
            optimizer.clear_grad()
        nn.fit(model, loss_fn, optimizer, loader, 1, progress=False)
        model.predict(x)

    train()
    before = overrides.changes, [tensor.data for tensor in model.parameters()]
    train()
    assert overrides.changes == before[0]
    assert all(tensor.data is data for tensor, data in zip(model.parameters(), before[1], strict=True))


@pytest.mark.parametrize("backend", ["numba", "numpy"])
def test_tensors_whose_neighbours_were_converted_are_updated(backend):
    first, second = nn.Linear(2, 3, weight_attr=nn.Constant(1.0)), nn.Linear(3, 1, weight_attr=nn.Constant(1.0))
    model = nn.Sequential(first, second)
    optimizer = nn.SGD(momentum=0.0, parameters=model.parameters(), learning_rate=0.5)
    with nn.use_backend(backend):
        model.backward(np.ones_like(model(np.ones((1, 2)))))
        for tensor in first.parameters():
            tensor.convert(np.float64)
        optimizer.step()
    assert (second.weights.data == 0).all() and (second.bias.data == -0.5).all()
    assert (first.weights.data == 0.5).all() and first.weights.dtype == np.float64
    assert not any(tensor._place.arena.dead for tensor in model.parameters())
