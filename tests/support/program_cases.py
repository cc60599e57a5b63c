"""Cases of programs: a table of operations, its workspace and arena, and what runs through it."""

from typing import Any

import numpy as np
from calls import NAN, fill
from declared import LOSSES, activation
from loss_cases import targets
from rule_cases import RULES, plan_of

from fastnp.kernels import SCRATCH_ROW_BYTES, padded
from fastnp.kernels.table import (
    BATCHES,
    BEST,
    BETTER,
    BY_VALIDATION,
    MEAN,
    MIN_DELTA,
    PATIENCE,
    ROW,
    ROWS,
    RULE_NUMBERS,
    STOPPING_COLUMNS,
    STRIDE,
    SUM,
    as_integers,
    rows,
)

DONE = 3  # updates before those of a training


def is_linear(layer: Any) -> bool:
    return not isinstance(layer, str)


def _table(network, itemsize, capacity, gap, fused=True):
    """The table of a network, with `gap` numbers between all buffers; sizes of the workspace and the arena."""
    layers = network.layers
    table = np.zeros(len(layers), ROW)
    widths = [network.n_in]
    for layer in layers:
        widths.append(layer if is_linear(layer) else widths[-1])
    lds = [padded(n, itemsize) for n in widths]
    table["scratch"] = gap
    work = 2 * gap + max(lds) * (SCRATCH_ROW_BYTES // itemsize)
    arena = gap
    x, dx, work = work, work + capacity * lds[0] + gap, work + 2 * (capacity * lds[0] + gap)
    for i, layer in enumerate(layers):
        row, size = table[i], capacity * lds[i + 1] + gap
        before, behind = layers[i - 1] if i else None, layers[i + 1] if i + 1 < len(layers) else None
        y, dy = x, dx
        if is_linear(layer):
            dy, work = work, work + size
        if is_linear(layer) or not i or not is_linear(before) or activation(layer, 0.25)._kernel_kind.needs_input:
            y, work = work, work + size
        for name, value in zip(
            ("n_in", "n_out", "ld_in", "ld_out"), (*widths[i : i + 2], *lds[i : i + 2]), strict=True
        ):
            row[name] = value
        row["x"], row["y"], row["dx"], row["dy"], row["setting"] = x, y, dx, dy, 0.25
        if is_linear(layer):
            row["rectified"], row["masked"] = fused and behind == "relu", fused and before == "relu"
            row["weights"], arena = arena, arena + widths[i] * lds[i + 1] + gap
            row["bias"], arena = arena, arena + lds[i + 1] + gap
        x, dx = y, dy
    return table, work, arena


def linked(kernels, network, table, char, rule="gradients"):
    """The table as a kernel takes it, with all that its rows call."""
    table = table.copy()
    for i, layer in enumerate(network.layers):
        name = "linear.linear" if is_linear(layer) else f"activations.{layer}"
        if not (i and table["rectified"][i - 1]):
            table["forward"][i] = kernels.parts[f"{name}.forward", char]
        if not (i + 1 < len(table) and table["masked"][i + 1]):
            table["input"][i] = kernels.parts[f"{name}.input", char]
        if is_linear(layer):
            table["parameters"][i] = kernels.parts[f"{name}.parameters.{rule}", char]
    return as_integers(table)


def views(arena, op):
    """Views (n_in, ld), (1, ld) of one Linear's weights and bias in an arena."""
    return rows(arena, op["weights"], op["n_in"], op["ld_out"]), rows(arena, op["bias"], 1, op["ld_out"])


def buffer(call, op, name, batch=None):
    """One of the buffers x, y, dx, dy of a row, with its pads."""
    ld = op["ld_in"] if name in ("x", "dx") else op["ld_out"]
    return rows(call["work"], op[name], call["batch"] if batch is None else batch, ld)


def kinds(call, kept):
    """What a rule keeps, cut into its kinds: each is laid out as the arena."""
    return kept.reshape(-1, call["params"].size)


def linears(call):
    """The rows that have parameters."""
    return [op for op, layer in zip(call["table"], call.network.layers, strict=True) if is_linear(layer)]


def _program(call, network, rng, draw, odd=1, fused=True):
    """Table, a workspace of NaN, and an arena with values in it; buffers start `odd` numbers past their row lengths."""
    itemsize = call.dtype.itemsize
    call.network = network
    table, work_size, arena_size = _table(network, itemsize, network.batch + 2, 64 // itemsize + odd, fused)
    call.arguments.update(work=call.flat(work_size), params=call.flat(arena_size), table=table, batch=network.batch)
    for op in linears(call):
        for view in views(call["params"], op):
            fill(view, draw(rng, (len(view), op["n_out"])), 0)


def _allow_scratch(call):
    if linears(call):
        table = call["table"]
        start, size = table["scratch"][0], max(table["ld_out"]) * (SCRATCH_ROW_BYTES // call.dtype.itemsize)
        call.allow(call["work"][start : start + size])


def forward(call, network, rng, draw, fused=True):
    _program(call, network, rng, draw, fused=fused)
    fill(buffer(call, call["table"][0], "x"), draw(rng, (network.batch, network.n_in)))
    for op in call["table"]:
        call.allow(buffer(call, op, "y"))

    def make(kernels):
        table = linked(kernels, network, call["table"], call.dtype.char)
        kernels.forward(call["work"], call["params"], table, call["batch"])

    call.make = make


def backward(call, network, rng, draw, add_to=False, fused=True):
    _program(call, network, rng, draw, fused=fused)
    call.arguments.update(grads=call.flat(call["params"].size), add_to=add_to)
    for i, (op, layer) in enumerate(zip(call["table"], network.layers, strict=True)):  # a state as forward leaves it
        if not i:
            fill(buffer(call, op, "x"), draw(rng, (network.batch, network.n_in)))
        y = buffer(call, op, "y")
        if is_linear(layer):
            fill(y, draw(rng, (network.batch, op["n_out"])))
            for view in views(call["grads"], op):
                fill(view, draw(rng, (len(view), op["n_out"])) if add_to else np.full((len(view), op["n_out"]), NAN), 0)
                call.allow(view)
        else:
            with np.errstate(invalid="ignore"):  # pads are NaN
                y[:, : op["n_out"]] = activation(layer, 0.25)._exact_value(buffer(call, op, "x")[:, : op["n_out"]])
        call.allow(buffer(call, op, "dx"))
    last = call["table"][-1]
    fill(buffer(call, last, "dy"), draw(rng, (network.batch, last["n_out"])), 0)
    _allow_scratch(call)

    def make(kernels):
        table = linked(kernels, network, call["table"], call.dtype.char)
        numbers = np.array([call["add_to"]], call.dtype)
        kernels.backward(call["work"], call["params"], call["grads"], numbers, table, call["batch"])

    call.make = make


def train(
    call, network, rng, draw, epochs=2, stride=None, rule="momentum", settings=None, rate=0.01, mean=True, short=True,
    of="mse", apart=False, clip_norm=0.0, told=False, paced=False,
):  # fmt: skip
    """Two batches an epoch, and a shorter third where `short`; every epoch on the same rows where `stride` is 0.

    The rate falls to half from each update to the next but one. Where it is `apart`, biases do not decay. Each batch
    may be `told` of, with the squares of all weights; where settings are `paced`, the decay grows with every update.
    """
    _program(call, network, rng, draw, odd=0)
    batch, n_out = network.batch, int(call["table"][-1]["n_out"])
    count = 2 * batch + (batch // 2 if short else 0)
    stride = count if stride is None else stride
    total = count + (epochs - 1) * stride
    kept = call.flat(call["params"].size * len(RULES[rule].kept))
    for op in call["table"]:
        for name in "y", "dx", "dy":
            call.allow(buffer(call, op, name))
        buffer(call, op, "dy")[:] = 0  # kernels keep the pads zero
    for op in linears(call):
        for field, p in enumerate(views(call["params"], op)):
            p /= np.sqrt(op["n_in"])  # or the training would diverge
            call.allow(p)
            for made, kind in zip(RULES[rule].kept.values(), kinds(call, kept), strict=True):
                kind = views(kind, op)[field]
                fill(kind, made(draw(rng, (len(kind), op["n_out"])) / 100), 0)
                call.allow(kind)
    _allow_scratch(call)
    call.arguments.update(
        losses=np.arange(1.0, epochs + 1), kept=kept, mean=mean,
        x=call.array(draw(rng, (total, network.n_in)), int(call["table"][0]["ld_in"]), pad=NAN, spare=3),
        y=call.array(targets(of, rng, draw, (total, n_out)), spare=3),
        settings=_sets(rule, settings or {}, apart, epochs * -(-count // batch) if paced else 1), clip_norm=clip_norm,
        rates=rate * 0.5 ** (np.arange(epochs * -(-count // batch)) // 2), gradients=call.flat(0),
        batch_size=batch, rows=count, stride=stride, settings_step=(1 + apart) * paced,
        each=np.full((epochs * -(-count // batch) * told, 2), NAN),
    )  # fmt: skip

    cls, part = LOSSES[of]
    loss_numbers = cls()._numbers_as(call.dtype, n_out)
    call.loss_part, call.rule, call.arguments["loss_numbers"] = part, rule, loss_numbers
    if clip_norm:
        call.arguments["gradients"] = call.flat(call["params"].size)
        for op in linears(call):
            for g in views(call["gradients"], op):
                g[:] = 0  # kernels keep the pads zero
                call.allow(g)

    def arguments(kernels):
        names = "losses", "work", "params", "kept", "gradients", "settings", "rates"
        losses, *arguments = (call[name] for name in names)
        arguments += [DONE, *(call[name] for name in ("clip_norm", "loss_numbers", "x", "y", "each"))]
        sizes = [call[name] for name in ("batch_size", "rows", "stride")]
        job = [
            kernels.parts[f"{part}.sum", call.dtype.char],
            *sizes,
            MEAN if call["mean"] else SUM,
            1,
            call["settings_step"],
        ]
        table = linked(kernels, network, call["table"], call.dtype.char, "gradients" if clip_norm else rule).copy()
        first = next(i for i, layer in enumerate(network.layers) if is_linear(layer))
        rows = table.view(ROW)
        rows["input"][: first + 1] = 0  # nobody asks for these
        rows["bias_numbers"] = RULE_NUMBERS if apart and not clip_norm else 0
        return losses, np.array(job, np.int64), plan(call, kernels), table, *arguments, penalty(call, kernels)

    def make(kernels):
        return kernels.train(*arguments(kernels))

    call.apart, call.train_arguments, call.make = apart, arguments, make


def train_and_watch(
    call, network, rng, draw, patience=10**6, min_delta=0.0, by_validation=True, restores=True, looks=3, **options
):
    """As `train`, and so many batches of validation data, the last of which is shorter where there are others."""
    train(call, network, rng, draw, **options)
    batch, last = network.batch, call["table"][-1]
    counts = np.array([batch] * (looks - 1) + [1 if looks > 1 else batch] * (looks > 0), float)
    total, n_out = int(counts.sum()), int(last["n_out"])
    call.arguments.update(
        stopping=np.zeros(STOPPING_COLUMNS), validation_losses=np.zeros(len(call["losses"]) * (looks > 0)),
        best=call.flat(call["params"].size * restores), best_kept=call.flat(call["kept"].size * restores),
        validation_work=call.flat(call["work"].size), counts=counts,
        validation_x=call.array(draw(rng, (total, network.n_in)), call["x"].shape[1], pad=NAN, spare=3),
        validation_y=call.array(targets(options.get("of", "mse"), rng, draw, (total, n_out)), spare=3),
    )  # fmt: skip
    call["stopping"][[PATIENCE, MIN_DELTA, BY_VALIDATION, BEST, BETTER]] = (
        patience,
        min_delta,
        by_validation,
        np.inf,
        -1,
    )
    call["stopping"][BATCHES] = -(-call["rows"] // batch)
    for op in call["table"]:
        for name, ld in ("y", op["ld_out"]), ("dy", op["ld_out"]):
            call.allow(rows(call["validation_work"], op[name], batch, ld))
    for op in linears(call) if restores else ():
        for i, of_params in enumerate(views(call["best"], op)):
            call.allow(of_params)
            for kind in kinds(call, call["best_kept"]):
                call.allow(views(kind, op)[i])

    def make(kernels):
        arguments = call.train_arguments(kernels)
        job = arguments[1].copy()
        job[ROWS], job[STRIDE] = total, 0
        rule = (call[name] for name in ("stopping", "best", "best_kept", "validation_losses"))
        table = linked(kernels, network, call["table"], call.dtype.char)
        data = (call[name] for name in ("validation_work", "counts", "validation_x", "validation_y"))
        return kernels.train_and_watch(*arguments, *rule, job, table, *data)

    call.make = make


def _sets(rule, settings, apart, updates):
    """The settings of a rule for so many updates, and those for what does not decay."""
    decay, sets = settings.get("weight_decay", 0.0), []
    for update in range(updates):
        sets += [{**settings, "weight_decay": decay * (1 + update)}] + [{**settings, "weight_decay": 0.0}] * apart
    return np.array([RULES[rule].settings(**each) for each in sets], float)


def plan(call, kernels):
    """The plan of a training: a range for each weights and bias, in their order."""
    size, places = call["params"].size, []
    for op in linears(call):
        for i, view in enumerate(views(call["params"], op)):
            places.append((int(op["bias" if i else "weights"]), view.size, RULE_NUMBERS if i and call.apart else 0))
    tensors = [place[:2] for place in places] if call["clip_norm"] else None
    return plan_of(kernels, call.rule, call.dtype.char, size, places, tensors)


def penalty(call, kernels):
    """The plan by which the squares of all weights are summed up."""
    tensors = [(int(op["weights"]), views(call["params"], op)[0].size) for op in linears(call)]
    return plan_of(kernels, call.rule, call.dtype.char, 0, (), tensors)


def loss_and_gradients(call, network, rng, draw, of="mse", mean=False):
    """Over two batches and a half."""
    _program(call, network, rng, draw, odd=0)
    n_out, total = int(call["table"][-1]["n_out"]), 2 * network.batch + network.batch // 2
    for op in call["table"]:
        for name in "y", "dx", "dy":
            call.allow(buffer(call, op, name))
        buffer(call, op, "dy")[:] = 0  # kernels keep the pads zero
    _allow_scratch(call)
    cls, part = LOSSES[of]
    call.arguments.update(
        gradients=call.flat(call["params"].size), mean=mean, rows=total, batch_size=max(network.batch, 1),
        x=call.array(draw(rng, (total, network.n_in)), int(call["table"][0]["ld_in"]), pad=NAN, spare=3),
        y=call.array(targets(of, rng, draw, (total, n_out)), spare=3),
        loss_numbers=cls()._numbers_as(call.dtype, n_out),
    )  # fmt: skip
    for op in linears(call):
        for view in views(call["gradients"], op):
            fill(view, np.full((len(view), op["n_out"]), NAN), 0)
            call.allow(view)

    def make(kernels):
        sizes = call["batch_size"], total, 0, MEAN if mean else SUM, 0, 0
        job = np.array([kernels.parts[f"{part}.sum", call.dtype.char], *sizes])
        arrays = linked(kernels, network, call["table"], call.dtype.char), call["work"], call["params"]
        data = (call[name] for name in ("loss_numbers", "x", "y"))
        return kernels.loss_and_gradients(call["gradients"], job, *arrays, *data)

    call.loss_part, call.make = part, make


ON_NETWORKS = {
    "forward": forward,
    "backward": backward,
    "loss_and_gradients": loss_and_gradients,
    "train": train,
    "train_and_watch": train_and_watch,
}
