"""Training a part of a model: fine-tuning, frozen bodies, new heads, nested models, layers that come later."""

import copy
import pickle
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
from models import Scale, assert_same_bits, batches, build, sgd, train, values

import fastnp as nn

pytestmark = pytest.mark.usefixtures("backend")

DATA = batches(3, 2, count=20, size=7)
LOADER_X, LOADER_Y = (np.concatenate(arrays) for arrays in zip(*DATA, strict=True))
RATE, MOMENTUM = 0.05, 0.9


def linear(n_in, n_out, seed=5):
    rng = np.random.default_rng(seed)
    return nn.Linear(n_in, n_out, weight_attr=nn.HeNormal(rng=rng), dtype=np.float64)


def pretrained():
    """A model that has been trained, and is used in parts from here on."""
    model = build(3, 8, 8, 2, dtype=np.float64)
    train(model, sgd(model), DATA[:5])
    return model


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


def loader():
    return nn.DataLoader(nn.ArrayDataset(LOADER_X, LOADER_Y), batch_size=7)


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


# --- layers that nobody trains ---


def said(work):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        work()
    assert all(w.filename == __file__ or "models.py" in w.filename for w in caught), [w.filename for w in caught]
    return [str(w.message) for w in caught]


def fitting(model, optimizer):
    return lambda: nn.fit(model, nn.MSE(), optimizer, loader(), 2, progress=False)


def looping(model, optimizer):
    return lambda: train(model, optimizer, DATA[:2])


def add(model, layer):
    model.add(layer)


def append(model, layer):
    model.graphs.append(layer)


@pytest.mark.parametrize("how", [fitting, looping])
@pytest.mark.parametrize("put", [add, append])
@pytest.mark.parametrize("trained_before", [False, True])
@pytest.mark.parametrize(
    "layer", [lambda: nn.Linear(2, 2), Scale, lambda: build(2, 2)], ids=["built-in", "own", "nested"]
)
def test_a_layer_that_came_after_the_optimizer_is_said_once(how, put, trained_before, layer):
    model = build(3, 8, 2)
    optimizer = sgd(model)
    if trained_before:
        train(model, optimizer, DATA[:1])
    put(model, layer())
    (words,) = said(how(model, optimizer))
    assert "joined the model after its optimizer was made" in words and "optimizer.parameters.extend" in words
    assert said(how(model, optimizer)) == []


@pytest.mark.parametrize("how", [fitting, looping])
def test_a_layer_that_came_to_a_model_inside_is_said(how):
    inside = build(3, 4)
    model = nn.Sequential(inside, nn.ReLU(), nn.Linear(4, 2))
    optimizer = sgd(model)
    inside.add(nn.Linear(4, 4))
    assert len(said(how(model, optimizer))) == 1


def extended(model):
    optimizer = sgd(model)
    model.add(nn.Linear(2, 2))
    optimizer.parameters.extend(model.graphs[-1].parameters())
    return optimizer


def assigned(model):
    optimizer = sgd(model)
    model.add(nn.Linear(2, 2))
    optimizer.parameters = model.graphs[0].parameters()  # on purpose, after it came
    return optimizer


def made_anew(model):
    old = sgd(model)
    model.add(nn.Linear(2, 2))
    assert old.parameters
    return sgd(model, parameters=model.graphs[0].parameters())


def without_parameters(model):
    optimizer = sgd(model)
    model.add(nn.ReLU())
    return optimizer


def frozen_from_the_start(model):
    return sgd(model, parameters=model.graphs[-1].parameters())


def another_holds_it(model):
    optimizer = sgd(model)
    model.add(nn.Linear(2, 2))
    model.other = sgd(model, parameters=model.graphs[-1].parameters())
    return optimizer


@pytest.mark.parametrize("how", [fitting, looping])
@pytest.mark.parametrize(
    "make", [extended, assigned, made_anew, without_parameters, frozen_from_the_start, another_holds_it]
)
@pytest.mark.parametrize("through", [lambda *both: both, lambda *both: pickle.loads(pickle.dumps(both))])
def test_nothing_is_said_of_what_is_trained_or_left_out_on_purpose(how, make, through):
    model = build(3, 8, 2)
    model, optimizer = through(model, make(model))
    assert said(how(model, optimizer)) == []


def test_a_body_that_another_model_looks_at_is_no_news():
    model = build(3, 8, 2)
    optimizer = sgd(model, parameters=model.graphs[-1].parameters())
    extractor = nn.Sequential(*model.graphs[:-1])
    assert said(fitting(model, optimizer)) == [] and extractor(LOADER_X).shape[1] == 8


def test_a_head_that_came_with_its_optimizer_is_no_news():
    model, head = nn.Sequential(), linear(8, 2)
    optimizer = nn.SGD(parameters=head.parameters())
    for layer in (*pretrained().graphs[:-1], head):
        model.add(layer)
    assert said(fitting(model, optimizer)) == []


def test_a_layer_put_into_a_copy_is_said():
    model, optimizer = copy.deepcopy((old := build(3, 8, 2), sgd(old)))
    model.graphs.append(nn.Linear(2, 2))
    assert len(said(looping(model, optimizer))) == 1


def test_many_models_that_are_kept_cost_no_more_each():
    """Who trains a layer is asked of its tensors, not of all optimizers that there are."""
    asked = []

    class Asked(nn.SGD):
        def __getattribute__(self, name):
            if name == "parameters":
                asked.append(self)
            return super().__getattribute__(name)

    models = [build(3, 4, 2) for _ in range(20)]
    kept = [Asked(parameters=model.parameters()) for model in models]
    asked.clear()
    models[0].warn_of_newcomers()
    assert set(map(id, asked)) <= {id(kept[0])}


def test_a_model_made_of_trained_layers_is_no_news():
    """The body joins a new model after an optimizer for the head was made."""
    old, head = pretrained(), linear(8, 2)
    optimizer = nn.SGD(parameters=head.parameters())
    model = nn.Sequential(*old.graphs[:-1], head)
    assert said(fitting(model, optimizer)) == []


# --- optimizers whose parameters change ---


def test_parameters_can_be_extended_keeping_velocities():
    model, other = build(3, 8, 2, dtype=np.float64), build(3, 8, 2, dtype=np.float64)
    part = nn.SGD(MOMENTUM, model.parameters()[:2], RATE)
    train(model, part, DATA[:3])
    velocity = [v.copy() for v in part.velocity]
    part.parameters.extend(model.parameters()[2:])
    assert_same_bits(part.velocity[:2], velocity)
    assert not any(v.any() for v in part.velocity[2:])

    old = nn.SGD(MOMENTUM, other.parameters()[:2], RATE)
    train(other, old, DATA[:3])
    whole = nn.SGD(MOMENTUM, other.parameters(), RATE)
    whole.velocity = [*old.velocity, *(np.zeros(p.shape) for p in other.parameters()[2:])]
    for tensor in [*model.parameters(), *other.parameters()]:
        tensor.clear_grad()
    assert train(model, part, DATA[3:]) == train(other, whole, DATA[3:])
    assert_same_bits(values(model), values(other))


@pytest.mark.parametrize("clone", [copy.deepcopy, lambda optimizer: pickle.loads(pickle.dumps(optimizer))])
def test_an_optimizer_copied_alone_is_bound_to_a_model_again(clone):
    model = build(3, 8, 2)
    optimizer = sgd(model)
    train(model, optimizer, DATA[:5])
    saved_model, saved_optimizer = copy.deepcopy(model), clone(optimizer)
    losses = train(model, optimizer, DATA[5:])
    with pytest.raises(ValueError, match=r"bind\(model\.parameters\(\)\)"):
        nn.fit(saved_model, nn.MSE(), saved_optimizer, loader(), 1, progress=False)
    saved_optimizer.bind(saved_model.parameters())
    assert train(saved_model, saved_optimizer, DATA[5:]) == losses
    assert_same_bits(values(saved_model), values(model))
    assert_same_bits(saved_optimizer.velocity, optimizer.velocity)


@pytest.mark.parametrize("parameters", [
    lambda: build(3, 8, 2).parameters()[:3], lambda: build(3, 9, 2).parameters(),
    lambda: build(3, 8, 2, dtype=np.float64).parameters(), lambda: build(3, 8, 2).parameters()[::-1],
])  # fmt: skip
def test_bind_refuses_other_shapes_and_changes_nothing(parameters):
    model = build(3, 8, 2)
    optimizer = sgd(model)
    train(model, optimizer, DATA[:2])
    velocity = [v.copy() for v in optimizer.velocity]
    with pytest.raises(ValueError, match="bind needs tensors of the shapes"):
        optimizer.bind(parameters())
    assert optimizer.parameters == model.parameters()
    assert_same_bits(optimizer.velocity, velocity)


def test_an_optimizer_of_the_users_own_can_be_bound():
    class Heavy(nn.Optimizer):
        def __init__(self, parameters):
            super().__init__(parameters)
            self.sums = [np.zeros(p.shape) for p in self.parameters]

        def step(self):
            for p, s in zip(self.parameters, self.sums, strict=True):
                s += p.grad
                p.data = p.data - self.learning_rate * s

    model = build(3, 8, 2)
    optimizer = Heavy(model.parameters())
    train(model, optimizer, DATA[:3])
    other = copy.deepcopy(model)
    sums = copy.deepcopy(optimizer.sums)
    optimizer.bind(other.parameters())
    train(other, optimizer, DATA[3:5])
    train(model, again := Heavy(model.parameters()), [])
    again.sums = sums
    train(model, again, DATA[3:5])
    assert_same_bits(values(other), values(model))


def test_velocities_can_be_set_to_each_other():
    model = build(2, 2, 2)
    optimizer = sgd(model)
    optimizer.velocity = [np.full(p.shape, float(i)) for i, p in enumerate(model.parameters())]
    v = optimizer.velocity
    optimizer.velocity = [v[2], v[3], v[0], v[1]]
    assert [float(v.flat[0]) for v in optimizer.velocity] == [2, 3, 0, 1]


def test_an_extension_that_breaks_off_is_noticed():
    model = build(3, 8, 2)
    optimizer = sgd(model, parameters=model.parameters()[:2])
    train(model, optimizer, DATA[:1])

    def breaking():
        yield from model.parameters()[2:]
        raise OSError

    with pytest.raises(OSError):
        optimizer.parameters.extend(breaking())
    before = values(model)
    train(model, optimizer, DATA[1:3])
    assert all((a != b).any() for a, b in zip(before, values(model), strict=True))


def reverse(optimizer):
    optimizer.parameters.reverse()


def sort(optimizer):
    optimizer.parameters.sort(key=lambda tensor: tensor.data.size)


def rotate(optimizer):
    optimizer.parameters.append(optimizer.parameters.pop(0))


def slice_away(optimizer):
    del optimizer.parameters[1:3]


def assign_one(optimizer):
    optimizer.parameters[0] = nn.Tensor((3, 8))


def keep_none(optimizer):
    optimizer.parameters *= 0


@pytest.mark.parametrize("change", [reverse, sort, rotate, slice_away, assign_one, keep_none])
def test_a_changed_list_of_parameters_is_followed(change):
    model = build(3, 8, 2)
    optimizer = sgd(model)
    train(model, optimizer, DATA[:2])
    before = {id(p): v.copy() for p, v in zip(optimizer.parameters, optimizer.velocity, strict=True)}
    change(optimizer)
    velocity = optimizer.velocity
    assert len(velocity) == len(optimizer.parameters)
    for p, v in zip(optimizer.parameters, velocity, strict=True):
        assert v.shape == p.shape and np.array_equal(v, before.get(id(p), np.zeros(p.shape)))


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


def test_a_tensor_whose_method_is_replaced_is_asked_from_then_on():
    model, cleared = build(3, 8, 2), []
    optimizer = sgd(model)
    train(model, optimizer, DATA[:2])
    bias = model.graphs[0].bias
    bias.clear_grad = lambda: cleared.append(1)
    optimizer.clear_grad()
    assert cleared


def test_layers_that_come_and_go_leave_nothing():
    model = build(3, 8, 2)
    model(LOADER_X)
    for _ in range(300):
        model.graphs.pop()
        model.add(nn.Linear(8, 2))
        model(LOADER_X[:1])
    arena = model.graphs[0].weights._arena
    assert arena.room < 5 * sum(tensor._size for tensor in model.parameters())
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


def test_velocities_can_be_set_and_nothing_else_put_there():
    model = build(3, 8, 2)
    optimizer = sgd(model)
    new = [np.full(p.shape, 0.5) for p in model.parameters()]
    optimizer.velocity = new
    assert all((v == 0.5).all() for v in optimizer.velocity)
    assert all(v.dtype == np.float32 for v in optimizer.velocity)
    for bad, error in (new[:-1], ValueError), (new[::-1], ValueError), (1.0, TypeError), ([["a"]] * 4, TypeError):
        with pytest.raises(error, match="velocity"):
            optimizer.velocity = bad
        assert all((v == 0.5).all() for v in optimizer.velocity)


def test_many_additions_move_the_tensors_seldom():
    """Each addition would otherwise move all that are there: 800 of them took seven seconds."""
    model, moved = nn.Sequential(nn.Linear(4, 4)), 0
    for _ in range(200):
        first = model.graphs[0].weights.data
        model.add(nn.Linear(4, 4))
        moved += not np.shares_memory(first, model.graphs[0].weights.data)
    assert moved < 10
    optimizer = sgd(model)
    (r,) = optimizer.ranges()
    assert r.whole_arena


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
