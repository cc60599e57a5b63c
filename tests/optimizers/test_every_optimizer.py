"""Every optimizer in every way: `fit` is the loop, to the bit, also in what is kept; and training learns."""

import itertools

import numpy as np
import pytest
from fits import assert_same, compare, data, fit, kept, loop, setup, state
from fits import backend as backend
from fits import kernel_calls as kernel_calls
from optimizing import CASES, WAYS, gradient_norm, shapes, ways, weighted
from public import optimizers

import fastnp as nn
from fastnp.training import compiled

every_optimizer = pytest.mark.parametrize("cls", optimizers(), ids=lambda cls: cls.__name__)
every_case = pytest.mark.parametrize("case", CASES)


def training_of(case):
    """The arguments of `setup` for a case: networks, dtypes and orders take turns."""
    cls, settings = CASES[case]
    i = list(CASES).index(case)
    dtype = (np.float32, np.float64)[i % 2]
    layers = list(shapes(dtype).values())[i // 2 % 4]
    arrays = weighted(layers)[: 2 + i // 3 % 2]
    return {
        "layers": layers, "arrays": arrays, "dtype": dtype, "optimizer_of": cls, "sgd": settings,
        "reshuffle": i // 4 % 2 == 0,
    }  # fmt: skip


@every_case
def test_fit_is_the_loop(case, kernel_calls):
    compare(**training_of(case))
    assert kernel_calls


@every_optimizer
def test_every_rule_has_a_case(cls):
    rule = cls._kernel_rule
    found = {cls(parameters=[nn.Tensor(1)], **settings)._rule_name() for settings in ways(cls).values()}
    assert found == {rule.name, *rule.variants}


@every_optimizer
@pytest.mark.parametrize("way", ["plain", "all"])
def test_in_long_epochs(cls, way, kernel_calls, monkeypatch):
    """Which take several calls each."""
    monkeypatch.setattr(compiled, "STAGED_BYTES", 23 * (16 + 2) * 4 // 2)
    compare(optimizer_of=cls, sgd=WAYS[way], reshuffle=way == "all")
    assert {rows < 23 for _, rows in kernel_calls} == {True}


@every_optimizer
def test_over_many_updates_in_a_call(cls, kernel_calls, monkeypatch):
    """In which powers are made one from the other, and now and then anew."""
    monkeypatch.setattr(compiled, "SECONDS_PER_BATCH", 1e-7)
    compare(arrays=data(300), batch_size=1, dtype=np.float64, optimizer_of=cls, sgd={"learning_rate": 1e-3})
    assert max(rows for _, rows in kernel_calls) > 3 * 64


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_normalization_of_which_only_the_weights_decay(dtype, kernel_calls):
    settings, runs = WAYS["apart"], []
    for train in loop, fit:
        run = setup(shapes(dtype)["norm"], dtype=dtype, optimizer_of=nn.AdamW, sgd=settings)
        (norm,) = (layer for layer in run.model.graphs if isinstance(layer, nn.LayerNorm))
        norm.weights.decays = True
        train(run, 3)
        runs.append(run)
    assert_same(*runs)
    assert kernel_calls


@every_optimizer
def test_several_epochs_in_a_call(cls, kernel_calls, monkeypatch):
    monkeypatch.setattr(compiled, "SECONDS_PER_BATCH", 1e-6)
    compare(optimizer_of=cls, sgd=WAYS["all"])
    assert max(epochs for epochs, _ in kernel_calls) > 1


@every_optimizer
@pytest.mark.parametrize("before", [60, 1000, 10**6])
def test_from_any_number_of_updates_on(cls, before, monkeypatch):
    """In one call, in several calls, and one by one."""
    runs = [setup(optimizer_of=cls, sgd={"learning_rate": 0.01}, batch_size=2) for _ in range(3)]
    for run in runs:
        run.optimizer.updates = before
    losses = [fit(runs[0], 3), loop(runs[1], 3)]
    monkeypatch.setattr(compiled, "STAGED_BYTES", 23 * (16 + 2) * 4 // 3)
    losses.append(fit(runs[2], 3))
    assert losses[0] == losses[1] == losses[2]
    assert_same(runs[0], runs[1])
    assert_same(runs[0], runs[2])
    assert runs[0].optimizer.updates == before + 36


@every_optimizer
def test_clipping_that_comes_and_goes(cls):
    def noted(clip_norm):
        run, norms = setup(optimizer_of=cls, sgd={"clip_norm": clip_norm, "learning_rate": 0.01}), []
        step = run.optimizer.step
        run.optimizer.step = lambda: (norms.append(gradient_norm(run.optimizer)), step())
        loop(run, 4)
        return run, norms

    clip_norm = float(np.median(noted(1e9)[1]))
    run, norms = noted(clip_norm)
    assert 0 < sum(norm > clip_norm for norm in norms) < len(norms) == 20
    other = setup(optimizer_of=cls, sgd={"clip_norm": clip_norm, "learning_rate": 0.01})
    fit(other, 4)
    assert_same(run, other)


@every_optimizer
def test_a_clipped_step_is_that_of_smaller_gradients(cls):
    """The norm of four gradients ±16 is 32, and the factor 1 / 16: exact."""
    runs = [setup(optimizer_of=cls, sgd={"weight_decay": 0.1, "clip_norm": clip}) for clip in (2.0, None)]
    for run, gradient in zip(runs, (16, 1), strict=True):
        for i, tensor in enumerate(run.optimizer.parameters):
            tensor.grad.flat[0] = gradient * (-1) ** i
        del run.optimizer.parameters[4:]
        run.optimizer.step()
    for mine, theirs in zip(*(run.model.parameters() for run in runs), strict=True):
        assert np.array_equal(mine.data, theirs.data)
    mine, theirs = (list(itertools.chain(*kept(run.optimizer).values())) for run in runs)
    assert all(map(np.array_equal, mine, theirs)) and any(array.any() for array in mine)


# --- what decays ---


@every_optimizer
@pytest.mark.parametrize(("decay_bias", "clip_norm"), [(False, None), (False, 1.0), (True, None)])
@pytest.mark.parametrize("flipped", [False, True])
def test_exactly_what_decays_changes_without_gradients(cls, decay_bias, clip_norm, flipped):
    options = {"weight_decay": 0.5, "decay_bias": decay_bias, "clip_norm": clip_norm}
    run = setup(shapes(np.float32)["norm"], optimizer_of=cls, sgd=options)
    tensors = run.model.parameters()
    assert [tensor.decays for tensor in tensors] == [True, False, False, False, True, False]
    for tensor in tensors:
        tensor.data = np.full(tensor.shape, 0.5)
        if flipped:
            tensor.decays = not tensor.decays
    run.optimizer.step()
    for tensor in tensors:
        moved = tensor.data != 0.5
        assert moved.all() if decay_bias or tensor.decays else not moved.any()


@every_optimizer
@pytest.mark.parametrize("clip_norm", [None, 0.8])
def test_decays_assigned_in_mid_training(cls, clip_norm):
    options = {"weight_decay": 0.3, "decay_bias": False, "clip_norm": clip_norm, "learning_rate": gentle_rate}
    runs = [setup(shapes(np.float32)["odd"], optimizer_of=cls, sgd=options) for _ in range(3)]

    def flip(run, epoch):
        for tensor in run.model.parameters()[: 3 if epoch == 1 else None]:
            tensor.decays = not tensor.decays

    losses = fit(runs[0], 4, callback=lambda epoch, loss: flip(runs[0], epoch))
    assert losses == loop(runs[1], 4, lambda epoch: flip(runs[1], epoch))
    assert_same(runs[0], runs[1])
    assert losses != fit(runs[2], 4)


def gentle_rate(update):
    return 0.02 / (1 + update)


# --- learning ---


@every_optimizer
@pytest.mark.parametrize(
    "options", [{}, {"clip_norm": 0.5, "decay_bias": False, "weight_decay": 1e-3}], ids=["", "all"]
)
def test_training_learns(cls, options):
    x = np.random.default_rng(0).normal(size=(64, 3))
    run = setup([(3, 16), nn.Tanh, (16, 1)], (x, np.sin(x[:, :1])), optimizer_of=cls, sgd=options, batch_size=16)
    losses = fit(run, 40)
    assert losses[-1] < 0.2 * losses[0]


@every_case
def test_a_learning_rate_of_0_changes_no_parameter(case):
    cls, settings = CASES[case]
    run = setup(optimizer_of=cls, sgd=settings | {"learning_rate": 0})
    before = [tensor.data.copy() for tensor in run.model.parameters()]
    run.optimizer.learning_rate = 0
    loop(run, 1)
    fit(run, 1)
    assert all(map(np.array_equal, before, [tensor.data for tensor in run.model.parameters()]))
    assert run.optimizer.updates == 10


@every_optimizer
def test_the_callers_arrays_are_unchanged_and_his_own(cls):
    arrays = data()
    before = [array.copy() for array in arrays]
    run = setup(arrays=arrays, optimizer_of=cls, sgd=WAYS["all"])
    mine = {name: [np.full(t.shape, 0.25) for t in run.optimizer.parameters] for name in kept(run.optimizer)}
    for name, values in mine.items():
        setattr(run.optimizer, name, values)
    parameters = run.model.parameters()
    run.optimizer.parameters = parameters
    fit(run, 2)
    loop(run, 1)
    assert all(map(np.array_equal, before, arrays))
    assert all((value == 0.25).all() for values in mine.values() for value in values)
    assert parameters == run.model.parameters()
    seen = itertools.chain(*kept(run.optimizer).values())
    assert not all((array == 0.25).all() for array in seen) and state(run)
