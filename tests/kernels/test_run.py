"""Whole trainings in one call, against their steps one by one."""

import bounds
import numpy as np
import pytest
from calls import NAN
from cases import NETWORKS, build
from declared import LOSSES
from program_cases import DONE, buffer, kinds, linears, linked, plan, views
from references import check_pads
from rule_cases import RULES, plan_of
from sizes import Network
from twins import backends, dtypes, run_both

from fastnp.kernels.table import MEAN, SUM

trainable = pytest.mark.parametrize("network", [network for network in NETWORKS if network.trains], ids=str)
TRAININGS = [
    {},
    {"stride": 0, "epochs": 3, "rate": 0.001, "settings": {"momentum": 0.5, "weight_decay": 0.03}, "mean": False},
    {"rate": 0.05, "settings": {"weight_decay": 0.01, "l1": True}, "short": False, "apart": True},
    {"settings": {"weight_decay": 0.01}, "apart": True, "clip_norm": 0.1},
]
trainings = pytest.mark.parametrize("options", TRAININGS, ids=["mean", "sum-l2", "mean-l1-apart", "clipped-apart"])


def _step_by_step(call, kernels, steps=None):
    """What `train` does, one kernel call a phase; at most so many steps."""
    work, params, kept, settings = (call[name] for name in ("work", "params", "kept", "settings"))
    char = call.dtype.char
    table = linked(kernels, call.network, call["table"], char)
    loss = kernels.parts[f"{call.loss_part}.sum", char]
    first, last = call["table"][0], call["table"][-1]
    grads = np.zeros_like(params)
    count, size, done = call["rows"], call["batch_size"], 0
    for epoch in range(len(call["losses"])):
        for start in range(epoch * call["stride"], epoch * call["stride"] + count, size):
            if done == steps:
                return done
            batch = min(size, epoch * call["stride"] + count - start)
            buffer(call, first, "x", batch)[:] = call["x"][start : start + batch]
            kernels.forward(work, params, table, batch)
            pred = buffer(call, last, "y", batch)[:, : last["n_out"]].copy()
            dpred = np.empty((1, *pred.shape), pred.dtype)
            target = call["y"][start : start + batch].copy()
            reduction = MEAN if call["mean"] else SUM
            call["losses"][epoch] += kernels.loss(loss, dpred, pred, target, call["loss_numbers"], reduction)
            dy = buffer(call, last, "dy", batch)
            dy[:] = 0
            dy[:, : last["n_out"]] = dpred[0]
            kernels.backward(work, params, grads, np.zeros(1, call.dtype), table, batch)
            clip_norm, squares = call["clip_norm"], 0.0
            if clip_norm:
                squares = kernels.squares(plan(call, kernels), grads)
            for op in linears(call):
                places = op["weights"], op["bias"]
                sets = settings[:1], settings[-1:]
                for at, p, g, each in zip(places, views(params, op), views(grads, op), sets, strict=True):
                    of_p = kept[at : kept.size - params.size + at + p.size]
                    alone = plan_of(kernels, call.rule, char, params.size, [(0, p.size, 0)])
                    rate = call["rates"][done]
                    kernels.update(
                        alone, p.reshape(-1), of_p, g.reshape(-1), each, rate, DONE + done, squares, clip_norm
                    )
            done += 1
    return done


def _parameters(call):
    """The parameters and what is kept of them, with their pads."""
    arenas = [call["params"], *kinds(call, call["kept"])]
    return [view for op in linears(call) for arena in arenas for view in views(arena, op)]


def check_all_pads(call):
    for op in linears(call):
        for arena in call["params"], *kinds(call, call["kept"]):
            for view in views(arena, op):
                check_pads(view, op["n_out"])


@pytest.mark.pairs
@backends
@dtypes
@trainable
@trainings
def test_train_has_the_bits_of_the_steps_one_by_one(network, dtype, kernels, options):
    whole, steps = (build("train", network, dtype, **options) for _ in range(2))
    before = [view.copy() for view in _parameters(whole)]
    assert whole.run(kernels) == _step_by_step(steps, kernels)
    assert bounds.same_bits(whole["losses"], steps["losses"])
    assert np.isfinite(whole["losses"]).all()
    for mine, theirs in zip(_parameters(whole), _parameters(steps), strict=True):
        assert bounds.same_bits(mine, theirs)
        assert np.isfinite(mine).all()
    assert not all(bounds.same_bits(a, b) for a, b in zip(before, _parameters(whole), strict=True))
    check_all_pads(whole)


@pytest.mark.triples
@backends
@dtypes
@pytest.mark.parametrize("mean", [True, False], ids=["mean", "sum"])
@pytest.mark.parametrize("of", LOSSES)
@pytest.mark.parametrize("n_out", [1, 5, 16, 35])
def test_train_with_each_loss_has_the_bits_of_the_steps(n_out, of, mean, dtype, kernels):
    """Predictions stand there in padded rows, whose pads are NaN."""
    options = {"of": of, "mean": mean, "rate": 0.001}
    whole, steps = (build("train", Network("", 3, (17, "relu", n_out), 6), dtype, **options) for _ in range(2))
    assert whole.run(kernels) == _step_by_step(steps, kernels) > 0
    assert bounds.same_bits(whole["losses"], steps["losses"])
    for mine, theirs in zip(_parameters(whole), _parameters(steps), strict=True):
        assert bounds.same_bits(mine, theirs)
    check_all_pads(whole)


@backends
@dtypes
@pytest.mark.parametrize("clip_norm", [0.0, 0.1])
@pytest.mark.parametrize("rule", RULES)
def test_train_by_each_rule_has_the_bits_of_the_steps(rule, clip_norm, dtype, kernels):
    options = {"rule": rule, "settings": {"weight_decay": 0.03}, "apart": True, "clip_norm": clip_norm}
    whole, steps = (build("train", Network("", 3, (17, "relu", 5), 6), dtype, **options) for _ in range(2))
    assert whole.run(kernels) == _step_by_step(steps, kernels) > 0
    for mine, theirs in zip(_parameters(whole), _parameters(steps), strict=True):
        assert bounds.same_bits(mine, theirs)
    check_all_pads(whole)


@backends
@dtypes
@pytest.mark.parametrize("given", [0, 1, 4])
def test_train_stops_where_the_rates_end(given, dtype, kernels):
    """After that batch was seen, and before it changes a parameter."""
    whole, steps = (build("train", NETWORKS[0], dtype) for _ in range(2))
    whole.arguments["rates"] = whole["rates"][:given]
    assert whole.run(kernels) == _step_by_step(steps, kernels, steps=given) == given
    assert all(bounds.same_bits(a, b) for a, b in zip(_parameters(whole), _parameters(steps), strict=True))
    assert np.isfinite(whole["losses"]).all()


@trainable
@trainings
def test_train_and_its_twin_stay_together(network, options):
    """In float64, over a few steps: each is off by some 1e-14 of its numbers."""
    fast, twin = run_both("train", network, np.float64, **options)
    np.testing.assert_allclose(fast["losses"], twin["losses"], rtol=1e-9)
    for a, b in zip(_parameters(fast), _parameters(twin), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-9 * max(np.abs(b).max(), 1e-300))


@backends
@dtypes
@pytest.mark.parametrize("value", [NAN, np.inf, -np.inf])
def test_train_stops_before_a_loss_that_is_not_finite(dtype, kernels, value):
    network = NETWORKS[0]
    whole, steps = (build("train", network, dtype) for _ in range(2))
    row = whole["rows"] + network.batch  # in the second batch of the second epoch
    whole["y"][row] = value
    with np.errstate(all="ignore"):
        assert whole.run(kernels) == 4
    assert _step_by_step(steps, kernels, steps=4) == 4
    assert all(bounds.same_bits(a, b) for a, b in zip(_parameters(whole), _parameters(steps), strict=True))
    assert whole["losses"][0] == steps["losses"][0]
    assert np.array_equal(whole["losses"][1], abs(value), equal_nan=True)


@backends
@dtypes
def test_train_keeps_pads_zero_when_an_input_is_not_finite(dtype, kernels):
    """Behind weights below 0, a ReLU turns an infinite input into a finite loss; its gradient is NaN."""
    call = build("train", Network("", 1, (3, "relu", 2), 2), dtype)
    weights, _ = views(call["params"], linears(call)[0])
    weights[0, :3] = -1
    call["x"][0, 0] = np.inf
    with np.errstate(all="ignore"):
        assert call.run(kernels) == 1
    assert np.isnan(weights[0, :3]).all()
    check_all_pads(call)
