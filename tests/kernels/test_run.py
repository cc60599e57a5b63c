"""Whole trainings in one call, against their steps one by one."""

import bounds
import numpy as np
import pytest
from calls import NAN
from cases import NETWORKS, build
from declared import LOSSES
from program_cases import DONE, buffer, kinds, linears, linked, penalty, plan, views
from references import check_pads
from rule_cases import RULES, plan_of
from sizes import Network
from twins import backends, dtypes, run_both

from fastnp.kernels.table import BEST, BETTER, BY_VALIDATION, MEAN, MIN_DELTA, PATIENCE, SUM, WAITS

trainable = pytest.mark.parametrize("network", [network for network in NETWORKS if network.trains], ids=str)
TRAININGS = [
    {},
    {"stride": 0, "epochs": 3, "rate": 0.001, "settings": {"momentum": 0.5, "weight_decay": 0.03}, "mean": False},
    {"rate": 0.05, "settings": {"weight_decay": 0.01, "l1": True}, "short": False, "apart": True},
    {"settings": {"weight_decay": 0.01}, "apart": True, "clip_norm": 0.1},
    {"settings": {"weight_decay": 0.01}, "apart": True, "told": True, "paced": True},
]
trainings = pytest.mark.parametrize(
    "options", TRAININGS, ids=["mean", "sum-l2", "mean-l1-apart", "clipped-apart", "told-paced"]
)


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
            of_batch = kernels.loss(loss, dpred, pred, target, call["loss_numbers"], reduction)
            call["losses"][epoch] += of_batch
            if len(call["each"]):
                call["each"][done] = of_batch, kernels.squares(penalty(call, kernels), params)
            dy = buffer(call, last, "dy", batch)
            dy[:] = 0
            dy[:, : last["n_out"]] = dpred[0]
            kernels.backward(work, params, grads, np.zeros(1, call.dtype), table, batch)
            clip_norm, squares = call["clip_norm"], 0.0
            if clip_norm:
                squares = kernels.squares(plan(call, kernels), grads)
            for op in linears(call):
                places = op["weights"], op["bias"]
                sets = [settings[done * call["settings_step"] :][i : i + 1] for i in (0, int(call.apart))]
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
    assert bounds.same_bits(whole["each"], steps["each"])
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


@backends
@dtypes
@pytest.mark.parametrize("mean", [True, False], ids=["mean", "sum"])
@pytest.mark.parametrize("network", [network for network in NETWORKS if network.trains], ids=str)
def test_loss_and_gradients_are_those_of_the_batches_added_up(network, mean, dtype, kernels):
    call = build("loss_and_gradients", network, dtype, mean=mean)
    work, params, numbers = call["work"].copy(), call["params"].copy(), call["loss_numbers"]
    table, char = linked(kernels, network, call["table"], call.dtype.char), call.dtype.char
    loss, grads, total = kernels.parts[f"{call.loss_part}.sum", char], np.zeros_like(params), 0.0
    first, last, size = call["table"][0], call["table"][-1], network.batch
    for start in range(0, call["rows"], size):
        batch = min(size, call["rows"] - start)
        at = {name: work[row[name] :][: batch * row[ld]].reshape(batch, -1) for row, name, ld in (
            (first, "x", "ld_in"), (last, "y", "ld_out"), (last, "dy", "ld_out"))}  # fmt: skip
        at["x"][:] = call["x"][start : start + batch]
        kernels.forward(work, params, table, batch)
        pred = at["y"][:, : last["n_out"]].copy()
        dpred = np.empty((1, *pred.shape), pred.dtype)
        total += kernels.loss(
            loss, dpred, pred, call["y"][start : start + batch].copy(), numbers, MEAN if mean else SUM
        )
        at["dy"][:] = 0
        at["dy"][:, : last["n_out"]] = dpred[0]
        kernels.backward(work, params, grads, np.full(1, start > 0, call.dtype), table, batch)
    assert call.run(kernels) == total
    for op in linears(call):
        for mine, theirs in zip(views(call["gradients"], op), views(grads, op), strict=True):
            assert bounds.same_bits(mine, theirs)
            assert mine.any()
            check_pads(mine, op["n_out"])


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


# --- train_and_watch ---


def _watched_at(call, kernels, epochs):
    """What so many epochs leave, step by step: the call, and the losses of the batches of validation data."""
    per_epoch = -(-call["rows"] // call["batch_size"])
    _step_by_step(call, kernels, epochs * per_epoch)
    table, last = linked(kernels, call.network, call["table"], call.dtype.char), call["table"][-1]
    part, losses, start = kernels.parts[f"{call.loss_part}.sum", call.dtype.char], [], 0
    for count in call["counts"].astype(int):
        here = slice(start, start + count)
        buffer(call, call["table"][0], "x", count)[:] = call["validation_x"][here]
        kernels.forward(call["work"], call["params"], table, count)
        pred = buffer(call, last, "y", count)[:, : last["n_out"]].copy()
        dpred, target = np.empty((1, *pred.shape), pred.dtype), call["validation_y"][here].copy()
        reduction = MEAN if call["mean"] else SUM
        losses.append(kernels.loss(part, dpred, pred, target, call["loss_numbers"], reduction))
        start += count
    return call, losses


def _of_all(call, losses):
    total = count = 0.0
    for loss, counted in zip(losses, call["counts"].tolist(), strict=True):
        total += loss * counted if call["mean"] and len(losses) > 1 else loss
        count += counted
    return total / count if call["mean"] and len(losses) > 1 else total


WATCHES = [
    {},
    {"looks": 1, "epochs": 6},
    {"looks": 1, "mean": False},
    {"looks": 4, "mean": False, "patience": 1},
    {"looks": 0, "by_validation": False},
    {"by_validation": False, "patience": 2, "min_delta": 1e9},
    {"patience": 1, "min_delta": 1e9, "apart": True, "clip_norm": 0.1},
    {"patience": 1, "min_delta": 1e9, "restores": False},
    {"patience": 0, "restores": False},
]


@pytest.mark.triples
@backends
@dtypes
@pytest.mark.parametrize("network", [NETWORKS[0], Network("", 3, (17, "relu", 5), 6)], ids=str)
@pytest.mark.parametrize("options", WATCHES, ids=str)
@pytest.mark.parametrize("rule", ["momentum", "adam"])
def test_train_and_watch_has_the_bits_of_looking_on(network, rule, options, dtype, kernels):
    options = {"rule": rule, "epochs": 4, "rate": 0.05} | options
    whole = build("train_and_watch", network, dtype, **options)
    done = whole.run(kernels)
    per_epoch = -(-whole["rows"] // whole["batch_size"])
    epochs = done // per_epoch
    best, waits, better = np.inf, 0, -1
    for epoch in range(epochs):
        seen, losses = _watched_at(build("train_and_watch", network, dtype, **options), kernels, epoch + 1)
        assert whole["losses"][epoch] == seen["losses"][epoch]
        value = seen["losses"][epoch] / per_epoch
        if losses:
            assert whole["validation_losses"][epoch] == _of_all(seen, losses)
            value = _of_all(seen, losses) if whole["stopping"][BY_VALIDATION] else value
        if value < best - whole["stopping"][MIN_DELTA]:
            best, waits, better, left = value, 0, epoch, seen
        else:
            waits += 1
    patience = whole["stopping"][PATIENCE]
    assert epochs == len(whole["losses"]) or waits == patience > 0
    assert all(bounds.same_bits(a, b) for a, b in zip(_parameters(whole), _parameters(seen), strict=True))
    if patience:
        assert whole["stopping"][[BEST, WAITS, BETTER]].tolist() == [best, waits, better]
    else:
        assert whole["stopping"][[BEST, WAITS, BETTER]].tolist() == [np.inf, 0, -1]
    if whole["best"].size:
        kept = kinds(whole, whole["best_kept"])
        copies = [view for op in linears(whole) for arena in (whole["best"], *kept) for view in views(arena, op)]
        assert all(bounds.same_bits(a, b) for a, b in zip(copies, _parameters(left), strict=True))


@backends
def test_train_and_watch_judges_a_loss_that_is_nan_no_better_and_goes_on(kernels):
    call = build("train_and_watch", NETWORKS[0], np.float64, patience=5)
    call["validation_y"][0] = NAN
    assert call.run(kernels) == 6
    assert np.isnan(call["validation_losses"]).all()
    assert call["stopping"][[BEST, WAITS, BETTER]].tolist() == [np.inf, 2, -1]
    assert np.isnan(call["best"]).all()


@backends
def test_batches_without_weight_come_to_nothing(kernels):
    call = build("train_and_watch", NETWORKS[0], np.float64)
    call["counts"][:] = 0
    call.run(kernels)
    assert call["validation_losses"].tolist() == [0, 0]


@backends
@dtypes
def test_train_and_watch_looks_at_no_epoch_that_is_broken_off(dtype, kernels):
    call = build("train_and_watch", NETWORKS[0], dtype)
    call["y"][call["rows"] + NETWORKS[0].batch] = np.inf  # in the second batch of the second epoch
    with np.errstate(all="ignore"):
        assert call.run(kernels) == 4
    assert call["validation_losses"][0] > 0 and call["validation_losses"][1] == 0
    assert call["stopping"][BETTER] == 0


@trainable
def test_train_and_watch_and_its_twin_stay_together(network):
    fast, twin = run_both("train_and_watch", network, np.float64)
    for name in "losses", "validation_losses", "stopping":
        np.testing.assert_allclose(fast[name], twin[name], rtol=1e-9)
