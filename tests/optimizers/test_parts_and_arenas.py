"""Several optimizers for one model, one for several models, and tensors wherever they lie: the same bits."""

import copy
import pickle
from functools import partial

import numpy as np
import pytest
from fits import Double, assert_same, fit, kept, loop, setup
from fits import backend as backend
from fits import kernel_calls as kernel_calls
from models import Scale, assert_same_bits
from optimizing import WAYS, clearing_all
from public import optimizers

import fastnp as nn
from fastnp.arena import gather

every_optimizer = pytest.mark.parametrize("cls", optimizers(), ids=lambda cls: cls.__name__)
ALL = {"weight_decay": 0.1, "decay_bias": False, "learning_rate": nn.schedules.Linear(0.02, 0.01, 20)}


class Both:
    """Two optimizers where a loop expects one."""

    def __init__(self, *both):
        self.both = both

    def step(self):
        for optimizer in self.both:
            optimizer.step()

    def clear_grad(self):
        for optimizer in self.both:
            optimizer.clear_grad()


@every_optimizer
@pytest.mark.parametrize("clip_norm", [None, 0.5])
def test_two_optimizers_over_parts_and_each_alone(cls, clip_norm):
    """Without clipping over all, two optimizers of one kind are one over both parts."""
    runs = [setup(optimizer_of=cls, sgd=ALL | {"clip_norm": clip_norm}) for _ in range(2)]
    tensors = runs[1].model.parameters()
    head, body = (cls(parameters=part, **ALL | {"clip_norm": clip_norm}) for part in (tensors[4:], tensors[:4]))
    both, runs[1].optimizer = runs[1].optimizer, Both(head, body)
    losses = loop(runs[0], 3), loop(runs[1], 3)
    assert head.updates == body.updates == 15 and both.updates == 0
    assert (losses[0] == losses[1]) == (clip_norm is None)
    if clip_norm is None:
        assert_same_bits([t.data for t in runs[0].model.parameters()], [t.data for t in tensors])
        for name, arrays in kept(runs[0].optimizer).items():
            assert_same_bits(arrays, kept(body)[name] + kept(head)[name])


def test_adam_on_the_head_and_sgd_on_the_body():
    """Each parameter moves by the rule of its own optimizer, in every order of the steps."""
    results = []
    for turned in False, True:
        run = setup()
        tensors = run.model.parameters()
        both = nn.Adam(tensors[4:], 0.01, clip_norm=1.0), nn.SGD(parameters=tensors[:4], learning_rate=0.02)
        run.optimizer = Both(*both[::-1] if turned else both)
        results.append((loop(run, 4), [t.data.tobytes() for t in tensors], kept(both[0])["second_moment"][0].any()))
    assert results[0] == results[1] and results[0][2]


@every_optimizer
@pytest.mark.parametrize("held", [slice(2), slice(2, 4), slice(2, None)])
@pytest.mark.parametrize("way", ["apart", "all"])
def test_one_over_a_part_in_fit(cls, held, way, kernel_calls):
    runs = [setup() for _ in range(2)]
    for run in runs:
        run.optimizer = cls(parameters=run.model.parameters()[held], **WAYS[way])
    frozen = [t.data.copy() for t in runs[0].model.parameters() if t not in runs[0].optimizer.parameters]
    losses = fit(runs[0], 3)
    expected = loop(*clearing_all(runs[1]))
    assert losses == expected and kernel_calls
    assert_same(*runs)
    assert_same_bits(frozen, [t.data for t in runs[0].model.parameters() if t not in runs[0].optimizer.parameters])


@every_optimizer
def test_another_optimizer_in_mid_training(cls):
    runs, others = [setup(optimizer_of=cls, sgd=ALL) for _ in range(2)], [nn.Adam, nn.SGD, cls]
    for run, train in zip(runs, (fit, loop), strict=True):
        train(run, 2)
        for other in others:
            run.optimizer = other(parameters=run.model.parameters(), learning_rate=0.01, clip_norm=0.7)
            train(run, 2)
    assert_same(*runs)


@every_optimizer
def test_parameters_that_come_later_go_in_any_order_and_may_leave(cls):
    """In `fit` as in the loop; what is kept goes along."""
    runs = [setup(optimizer_of=cls, sgd=ALL | {"clip_norm": 0.7}) for _ in range(2)]
    for run, train in zip(runs, (fit, loop), strict=True):
        tensors = run.model.parameters()
        del run.optimizer.parameters[:2]
        train(*clearing_all(run, 2))
        before = {name: [array.copy() for array in arrays] for name, arrays in kept(run.optimizer).items()}
        run.optimizer.parameters.reverse()
        run.optimizer.parameters.extend(tensors[:2])
        for name, arrays in kept(run.optimizer).items():
            assert_same_bits(arrays[3::-1], before[name])
            assert not arrays[4].any() and not arrays[5].any()
        train(run, 2)
        run.optimizer.parameters.pop(0)
        train(run, 1)
    assert_same(*runs)


# --- tensors in several arenas ---

SHAPES = [(5, 7), (1, 7), (7, 19), (1, 19), (19, 3), (1, 3)]
SPREADS = {
    "one": [[0, 1, 2, 3, 4, 5]],
    "layers": [[0, 1], [2, 3], [4, 5]],
    "each": [[0], [1], [2], [3], [4], [5]],
    "across": [[5, 0], [3, 1, 4], [2]],
    "with a gap": [[0, 1, 2, 6, 3, 4, 5]],
    "singly": [[0, 1, 2, 3, 4, 5]],
}


def spread(dtypes, how):
    tensors = [nn.Tensor(shape, dtype) for shape, dtype in zip([*SHAPES, (2, 2)], dtypes * 7, strict=False)]
    for together in SPREADS[how]:
        for dtype in set(dtypes):
            gather([tensors[i] for i in together if tensors[i].dtype == dtype])
    if how == "singly":
        tensors[1].clear_grad = partial(nn.Tensor.clear_grad, tensors[1])
    return tensors[:6]


@every_optimizer
@pytest.mark.parametrize("dtypes", [[np.float64], [np.float64, np.float32]], ids=["one dtype", "both"])
def test_bits_do_not_depend_on_where_tensors_lie(cls, dtypes):
    results = {}
    for how in SPREADS:
        rng, tensors = np.random.default_rng(0), spread(dtypes, how)
        optimizer = cls(parameters=tensors, clip_norm=7.0, **ALL)
        assert optimizer.parameters == tensors
        for _ in range(12):
            for tensor in tensors:
                tensor.grad = rng.normal(size=tensor.shape)
            optimizer.step()
        assert optimizer._by_kernel == (how != "singly")
        results[how] = [tensor.data for tensor in tensors] + [a for arrays in kept(optimizer).values() for a in arrays]
    for result in results.values():
        assert_same_bits(result, results["one"])


@every_optimizer
def test_the_norm_is_that_of_all_together(cls):
    """Also of both dtypes; against the same step by gradients that NumPy has made smaller."""
    rng, runs = np.random.default_rng(0), []
    gradients = [rng.normal(size=shape) for shape in SHAPES]
    for clip_norm in 2.0, None:
        tensors = spread([np.float64, np.float32], "layers")
        optimizer = cls(parameters=tensors, clip_norm=clip_norm)
        norm = np.sqrt(sum(np.sum(np.square(gradient)) for gradient in gradients))
        for tensor, gradient in zip(tensors, gradients, strict=True):
            tensor.grad = gradient if clip_norm else gradient * 2 / norm
        optimizer.step()
        runs.append([t.data for t in tensors] + [a for arrays in kept(optimizer).values() for a in arrays])
    for mine, theirs in zip(*runs, strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-6)


@every_optimizer
@pytest.mark.parametrize(
    "clone", [copy.deepcopy, lambda both: pickle.loads(pickle.dumps(both))], ids=["copy", "pickle"]
)
def test_a_copy_between_backward_and_step_takes_the_same_step(cls, clone):
    """Of layers that stand in no model: each has an arena of its own, and in the copy each tensor."""
    rng = np.random.default_rng(0)
    layers = [nn.Linear(5, 7, weight_attr=nn.HeNormal(rng=rng), dtype=np.float64)]
    layers += [nn.Linear(7, n, weight_attr=nn.HeNormal(rng=rng), dtype=np.float64) for n in (7, 2)]
    parameters = [tensor for layer in layers for tensor in layer.parameters()]
    optimizer = cls(parameters=parameters, clip_norm=0.1, **ALL)
    for _ in range(5):
        x = rng.normal(size=(4, 5))
        for layer in layers:
            x = layer(x)
        g = rng.normal(size=(4, 2))
        for layer in layers[::-1]:
            g = layer.backward(g)
        other, other_layers = clone((optimizer, layers))
        other.step()
        optimizer.step()
        assert_same_bits([t.data for t in optimizer.parameters], [t.data for t in other.parameters])
        assert other.parameters[0] is other_layers[0].weights
        optimizer.clear_grad()


@every_optimizer
def test_a_model_cut_in_two_by_a_layer_of_ones_own(cls):
    """Whose tensor is of another dtype, and lies elsewhere."""

    def make(copied):
        run = setup([(3, 20), Scale, Double, (20, 2)], optimizer_of=cls, sgd=ALL | {"clip_norm": 0.7})
        parts = run.model, run.optimizer, run.loss_fn, run.loader, run.rng
        loop(run, 1)
        if copied:
            run.model, run.optimizer, run.loss_fn, run.loader, run.rng = copy.deepcopy(parts)
        return run, fit(run, 2) if copied is None else loop(run, 2)

    results = [make(copied) for copied in (False, True, None)]
    for run, losses in results[1:]:
        assert losses == results[0][1]
        assert_same_bits([t.data for t in run.model.parameters()], [t.data for t in results[0][0].model.parameters()])
    assert {t.dtype.char for t in results[0][0].model.parameters()} == {"f", "d"}


@pytest.mark.parametrize("clear", ["optimizer", "tensor"])
def test_gradients_that_were_cleared_are_no_part_of_the_norm(clear):
    """Where clearing wrote no zero yet, too."""
    first, second = nn.Tensor(3), nn.Tensor(3)
    optimizer = nn.SGD(0.0, [first, second], 1.0, clip_norm=4.0)
    for _ in range(2):
        first.grad, second.grad = [100.0, 0, 0], [0, 3.0, 0]
        (nn.SGD(parameters=[first]) if clear == "optimizer" else first).clear_grad()
        second.data = np.zeros(3)
        optimizer.step()
        assert second.data.tolist() == [0, -3, 0] and not first.data.any()


def test_an_optimizer_without_parameters_counts():
    for cls in optimizers():
        optimizer = cls(parameters=[], clip_norm=1.0)
        optimizer.step()
        assert optimizer.updates == 1 and set(map(len, kept(optimizer).values())) == {0}
