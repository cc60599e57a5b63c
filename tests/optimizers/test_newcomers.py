"""Layers that came to a model after its optimizer was made, and that nobody trains: said once."""

import copy
import pickle
import warnings

import pytest
from models import Scale, build, sgd, train
from parts import DATA, LOADER_X, linear, loader, pretrained

import fastnp as nn

pytestmark = pytest.mark.usefixtures("backend")


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
