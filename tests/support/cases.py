"""One table of cases: the equality tests and the benchmarks take sizes, networks and arguments from here.

`build(name, case, dtype, …)` gives a `Call` of one part or kernel, its arrays cut out of larger buffers full of NaN.
What the contract in `fastnp.kernels` leaves open is filled with NaN, too: the pads of activations, rows past the
batch, outputs before they are written. A kernel that reads there returns NaN, and `Call.run` finds one that writes
there. Activations, losses and optimizers are those of the public classes.
"""

import inspect
from functools import partial
from typing import Any

import numpy as np
from sizes import PLAIN_NETWORKS, Network

import fastnp
from fastnp.kernels import SCRATCH_ROW_BYTES, padded
from fastnp.kernels.alone import Alone
from fastnp.kernels.table import EACH, MEAN, ROW, SUM, as_integers, rows
from fastnp.layers.activation import Activation
from fastnp.losses.built_in import BuiltInLoss

DTYPES = (np.float32, np.float64)
NAN = float("nan")


def classes(attribute, base=object):
    """The public classes that declare an attribute of their own, such as their kind."""
    public = (getattr(fastnp, name) for name in fastnp.__all__)
    return [cls for cls in public if inspect.isclass(cls) and issubclass(cls, base) and attribute in vars(cls)]


VARIANTS = {"gelu_tanh": {"approximate": True}}  # by which settings a class stands for them
ACTIVATIONS = {
    name.split(".")[1]: partial(cls, **VARIANTS[name.split(".")[1]]) if name != cls._kernel_kind.name else cls
    for cls in classes("_kernel_kind", Activation)
    for name in (cls._kernel_kind.name, *cls._kernel_kind.variants)
}
LOSSES = {  # the class and the part of each, and of each variant of it, for other targets
    part.removeprefix("losses.").replace(".", "_"): (cls, part)
    for cls in classes("_kernel_kind", BuiltInLoss)
    for part in (cls._kernel_kind.name, *cls._kernel_kind.variants)
}

NETWORKS = PLAIN_NETWORKS + [
    Network(f"{name}-{place}", *network)
    for name in ACTIVATIONS
    if name != "relu"  # which the others have
    for place, network in (
        ("between", (3, (17, name, 20, name, 2), 5)),
        ("around", (4, (name, name, 9, name, name, "relu", 6, name), 3)),
        ("alone", (6, (name,), 4)),
    )
]


def _nans(size: int, dtype: np.dtype, seed: int) -> np.ndarray:
    """NaNs that differ in their payloads, so that one written over another shows."""
    bits = np.random.default_rng(seed).integers(1, 2**22, size, dtype=f"u{dtype.itemsize}")
    quiet = np.array(NAN, dtype).view(bits.dtype)
    return (bits | quiet).view(dtype).copy()  # an owner: views of it have it as their base


class Call:
    """One call: `arguments` by name, the arrays among them in guarded memory; `run` makes it.

    Memory starts `offset` numbers past a cache line.
    """

    def __init__(self, name: str, dtype: Any, offset: int):
        self.name = name
        self.dtype = np.dtype(dtype)
        self.arguments: dict[str, Any] = {}
        self.make: Any = None  # what makes the call, given the kernels of a backend
        self._offset = offset
        self._buffers: list[tuple[np.ndarray, np.ndarray]] = []  # each with a mask of what may be written

    def __getitem__(self, name: str) -> Any:
        return self.arguments[name]

    def flat(self, size: int) -> np.ndarray:
        """So many numbers: NaN, as are those around them."""
        guard = padded(256, self.dtype.itemsize)
        raw = _nans(guard + size + guard + 64, self.dtype, seed=len(self._buffers))
        start = guard + -raw.ctypes.data // self.dtype.itemsize % (64 // self.dtype.itemsize) + self._offset
        self._buffers.append((raw, np.zeros(raw.size, bool)))
        return raw[start : start + size]

    def array(self, values: Any, ld: int | None = None, *, pad: float = 0.0, spare: int = 0, written: int = 0):
        """A 2-D array with `values` in its top left corner, `pad` to their right and `spare` rows of NaN below.

        The first `written` rows may be written.
        """
        values = np.asarray(values, self.dtype)
        ld = values.shape[1] if ld is None else ld
        array = self.flat((len(values) + spare) * ld).reshape(len(values) + spare, ld)
        fill(array[: len(values)], values, pad)
        self.allow(array[:written])
        return array

    def allow(self, array: np.ndarray) -> None:
        """These numbers of an array of this call may be written."""
        raw, may_write = next(pair for pair in self._buffers if np.shares_memory(pair[0], array) or not array.size)
        start = (array.ctypes.data - raw.ctypes.data) // self.dtype.itemsize
        may_write[start : start + array.size] = True

    def run(self, kernels: Any) -> Any:
        """Make the call; AssertionError where it wrote what it may not. Returns what it returns."""
        before = [raw.copy() for raw, _ in self._buffers]
        result = self.make(kernels)
        for (raw, may_write), old in zip(self._buffers, before, strict=True):
            changed = (raw.view(np.uint8) != old.view(np.uint8)).reshape(raw.size, -1).any(axis=1)
            where = np.flatnonzero(changed & ~may_write)
            assert not where.size, f"{self.name} wrote outside its outputs, at {where[:9]} of {raw.size} numbers"
        return result

    def prepared(self, kernels: Any) -> Any:
        """The call as a function without arguments, for timing."""
        return partial(self.make, kernels)


def fill(view: np.ndarray, values: Any, pad: float = NAN) -> None:
    """Write values that are not NaN into the first columns of a view, and `pad` into the others where it is not NaN."""
    values = np.asarray(values, view.dtype)
    np.copyto(view[:, : values.shape[1]], values, where=~np.isnan(values))
    if not np.isnan(pad):
        view[:, values.shape[1] :] = pad


def normal(rng: np.random.Generator, shape: Any) -> np.ndarray:
    return rng.standard_normal(shape)


def exact(rng: np.random.Generator, shape: Any) -> np.ndarray:
    """Integers within ±7: sums of their products have the same bits in any order."""
    return rng.integers(-7, 8, shape).astype(np.float64)


# --- operations, one part at a time ---


def _alone(call, name, case, **settings):
    """An operation with its buffers in guarded memory; views of them become the arguments."""
    gap = 64 // call.dtype.itemsize + call._offset
    op = Alone(name, *case, call.dtype, gap=gap, **settings)
    op.work, op.params, op.target = (call.flat(array.size) for array in (op.work, op.params, op.target))
    call.arguments.update({field: op.padded(field) for field in ("x", "y", "dx", "dy")})
    call.arguments.update(w=op.padded("weights"), b=op.padded("bias"))
    call.arguments.update(batch=case.batch, n_in=case.n_in, n_out=case.n_out, **settings)
    call.op = op
    return op


def _run_alone(call, role, rule, kernels):
    call.op.batch = call["batch"]
    call.op.call(kernels, role, rule, call.arguments.get("numbers", (0.0,)))


def _prepared(call, role, rule, kernels):
    function, arguments = call.op.prepared(kernels, role, rule, call.arguments.get("numbers", (0.0,)))
    return partial(function, *arguments)


def _of_operation(call, role, rule=None):
    call.make = partial(_run_alone, call, role, rule)
    call.prepared = partial(_prepared, call, role, rule)


def linear_forward(call, case, rng, draw, rectified=False):
    _alone(call, "linear.linear", case, rectified=rectified)
    fill(call["x"], draw(rng, (case.batch, case.n_in)))
    fill(call["w"], draw(rng, (case.n_in, case.n_out)), 0)
    fill(call["b"], draw(rng, (1, case.n_out)), 0)
    call.allow(call["y"])
    _of_operation(call, "forward")


def linear_input(call, case, rng, draw, masked=False):
    op = _alone(call, "linear.linear", case, masked=masked)
    fill(call["dy"], draw(rng, (case.batch, case.n_out)), 0)
    fill(call["w"], draw(rng, (case.n_in, case.n_out)), 0)
    fill(call["x"], draw(rng, (case.batch, case.n_in)))
    numbers = SCRATCH_ROW_BYTES // call.dtype.itemsize
    call.allow(op.work[op.row["scratch"] : op.row["scratch"] + call["dy"].shape[1] * numbers])
    call.allow(call["dx"])
    _of_operation(call, "input")


def linear_parameters(call, case, rng, draw, add_to=False):
    op = _alone(call, "linear.linear", case)
    call.arguments.update(dw=op.padded("weights_kept")[0], db=op.padded("bias_kept")[0], numbers=(float(add_to),))
    dw, db = draw(rng, (case.n_in, case.n_out)), draw(rng, (1, case.n_out))
    fill(call["dw"], dw if add_to else np.full_like(dw, NAN), 0)
    fill(call["db"], db if add_to else np.full_like(db, NAN), 0)
    fill(call["dy"], draw(rng, (case.batch, case.n_out)), 0)
    fill(call["x"], draw(rng, (case.batch, case.n_in)))
    call.allow(call["dw"])
    call.allow(call["db"])
    _of_operation(call, "parameters", "gradients")


def linear_momentum(call, case, rng, draw, numbers=(0.01, 0.9, 0.0, 0.0)):
    """As `linear_parameters`, and the update of w and b by these gradients at once."""
    op = _alone(call, "linear.linear", case)
    call.arguments.update(vw=op.padded("weights_kept")[0], vb=op.padded("bias_kept")[0], numbers=numbers)
    for name, shape in ("w", (case.n_in, case.n_out)), ("b", (1, case.n_out)):
        for field in name, f"v{name}":
            fill(call[field], draw(rng, shape), 0)
            call.allow(call[field])
    fill(call["dy"], draw(rng, (case.batch, case.n_out)), 0)
    fill(call["x"], draw(rng, (case.batch, case.n_in)))
    _of_operation(call, "parameters", "momentum")


def activation_forward(call, case, rng, draw, of="relu", in_place=False, setting=0.25):
    op = _alone(call, f"activations.{of}", case._replace(n_in=case.n_out), setting=setting)
    fill(call["x"], draw(rng, (case.batch, case.n_out)))
    if in_place:
        op.row["y"] = op.row["x"]
        call.arguments["y"] = call["x"]
    call.allow(call["y"])
    _of_operation(call, "forward")


def activation_input(call, case, rng, draw, of="relu", in_place=False, setting=0.25):
    """y is what the activation makes of x."""
    op = _alone(call, f"activations.{of}", case._replace(n_in=case.n_out), setting=setting)
    layer = activation(of, setting)
    with np.errstate(all="ignore"):
        x = draw(rng, (case.batch, case.n_out)).astype(call.dtype)
        fill(call["x"], x)
        fill(call["y"], layer._exact_value(x))
    fill(call["dy"], draw(rng, (case.batch, case.n_out)), 0)
    if in_place:
        op.row["dx"] = op.row["dy"]
        call.arguments["dx"] = call["dy"]
    call.allow(call["dx"])
    _of_operation(call, "input")


def activation(name, setting):
    """The layer of an activation, with that setting where it has one."""
    layer = ACTIVATIONS[name]()
    for attribute in layer._kernel_settings():
        setattr(layer, attribute, setting)
    return layer


def dropout_forward(call, case, rng, draw, p=0.3, in_place=False, drawn_by=2**62 + 5, count=(4, 2)):
    """`count` is how often it has drawn before, in two numbers; it counts on where it draws."""
    op = _alone(call, "dropout.dropout", case._replace(n_in=case.n_out), remembered=3, seed=drawn_by)
    fill(call["x"], draw(rng, (case.batch, case.n_out)))
    if in_place:
        op.row["y"] = op.row["x"]
        call.arguments["y"] = call["x"]
    _remember(call, (p, *count))
    call.allow(call["y"])
    call.allow(op.memory)
    _of_operation(call, "forward")


def dropout_input(call, case, rng, draw, p=0.3, in_place=False, drawn_by=2**62 + 5, count=(4, 2)):
    """`count` is what it was after forward."""
    op = _alone(call, "dropout.dropout", case._replace(n_in=case.n_out), remembered=3, seed=drawn_by)
    fill(call["dy"], draw(rng, (case.batch, case.n_out)), 0)
    if in_place:
        op.row["dx"] = op.row["dy"]
        call.arguments["dx"] = call["dy"]
    else:
        call["dx"][...] = 0  # kernels keep the pads zero
    _remember(call, (p, *count))
    call.allow(call["dx"])
    _of_operation(call, "input")


def _remember(call, numbers):
    """Put these where the operation remembers."""
    memory = call.op.memory
    memory[: np.size(numbers)] = np.ravel(numbers)
    call.arguments["memory"] = memory


def _layer_norm(call, case, rng, draw, far):
    """Rows as far from 0, with weights and bias."""
    op = _alone(
        call, "normalization.layer_norm", case._replace(n_in=case.n_out), remembered=3, weight_rows=1, setting=1e-5
    )
    shape = case.batch, case.n_out
    fill(call["x"], draw(rng, shape) + far)
    fill(call["w"], draw(rng, (1, case.n_out)), 0)
    fill(call["b"], draw(rng, (1, case.n_out)), 0)
    return op, shape


def layer_norm_forward(call, case, rng, draw, far=1.0):
    op, _ = _layer_norm(call, case, rng, draw, far)
    _remember(call, np.zeros(op.remembered))
    call.allow(call["y"])
    call.allow(op.memory)
    _of_operation(call, "forward")


def _after_forward(call, case):
    """What forward leaves of each row: the mean, as a sum of two numbers, and 1 / √(var + ε)."""
    x = call["x"][:, : case.n_out].astype(np.longdouble)
    if case.batch:
        high = x.mean(1).astype(call.dtype)
        x -= high[:, np.newaxis]
        low = x.mean(1)
        x -= low[:, np.newaxis]
        _remember(call, np.stack([high, low, 1 / np.sqrt(np.mean(x * x, 1) + np.longdouble(1e-5))], 1))
    else:
        _remember(call, np.zeros(3))


def layer_norm_input(call, case, rng, draw, far=1.0):
    _, shape = _layer_norm(call, case, rng, draw, far)
    fill(call["dy"], draw(rng, shape), 0)
    call["dx"][...] = 0  # kernels keep the pads zero
    _after_forward(call, case)
    call.allow(call["dx"])
    _of_operation(call, "input")


def layer_norm_parameters(call, case, rng, draw, add_to=False, far=1.0):
    op, shape = _layer_norm(call, case, rng, draw, far)
    fill(call["dy"], draw(rng, shape), 0)
    _after_forward(call, case)
    call.arguments.update(dw=op.padded("weights_kept")[0], db=op.padded("bias_kept")[0], numbers=(float(add_to),))
    for name in "dw", "db":
        fill(call[name], draw(rng, (1, case.n_out)) if add_to else np.full((1, case.n_out), NAN), 0)
        call.allow(call[name])
    _of_operation(call, "parameters", "gradients")


def layer_norm_momentum(call, case, rng, draw, numbers=(0.01, 0.9, 0.0, 0.0), far=1.0):
    """As `layer_norm_parameters`, and the update of w and b by these gradients at once."""
    op, shape = _layer_norm(call, case, rng, draw, far)
    fill(call["dy"], draw(rng, shape), 0)
    _after_forward(call, case)
    call.arguments.update(vw=op.padded("weights_kept")[0], vb=op.padded("bias_kept")[0], numbers=numbers)
    for name in "w", "b":
        fill(call[f"v{name}"], draw(rng, (1, case.n_out)), 0)
        call.allow(call[name])
        call.allow(call[f"v{name}"])
    _of_operation(call, "parameters", "momentum")


# --- losses and rules ---


def targets(of, rng, draw, shape):
    """Targets (rows, ·) that suit a loss, for predictions of this shape."""
    cls, part = LOSSES[of]
    if part in cls._kernel_kind.variants:
        return rng.dirichlet(np.ones(shape[1]), shape[0])
    if cls._example_target is BuiltInLoss._example_target:
        return draw(rng, shape)
    found = cls()._example_target(shape, rng)
    return found if found.ndim == 2 else found[:, np.newaxis]


def loss(call, case, rng, draw, of="mse", reduction=MEAN, weighted=False, settings=None):
    """`dpred` and, for EACH, `terms` are written: of each number, or in the first column of each row."""
    shape, kinds = (case.batch, case.n_out), 1 + (reduction == EACH)
    results = call.array(np.full((kinds * case.batch, case.n_out), NAN), written=case.batch)
    cls, part = LOSSES[of]
    loss_fn = cls(**(settings or {}))
    columns = loss_fn._each(np.zeros((1, case.n_out))).size
    for row in results[case.batch :]:
        call.allow(row[:columns])
    results = results.reshape(kinds, *shape)
    pred, target = draw(rng, shape), targets(of, rng, draw, shape)
    if weighted:
        target = np.concatenate([target, rng.uniform(0, 2, (case.batch, 1))], axis=1)
    call.arguments.update(pred=call.array(pred), target=call.array(target))
    call.arguments.update(dpred=results[0], terms=results[-1][:, :columns], reduction=reduction)
    call.loss_fn, numbers = loss_fn, loss_fn._numbers_as(call.dtype, case.n_out)

    def make(kernels):
        number = kernels.parts[f"{part}.sum", call.dtype.char]
        return kernels.loss(number, results, call["pred"], call["target"], numbers, reduction)

    call.make = make


def momentum_update(call, case, rng, draw, learning_rate=0.01, momentum=0.9, weight_decay=0.0, l1=False):
    batch, _, n = case
    ld = padded(n, call.dtype.itemsize)
    call.arguments.update(
        {name: call.array(draw(rng, (batch, n)), ld, written=batch).reshape(-1) for name in "pv"},
        g=call.array(draw(rng, (batch, n)), ld).reshape(-1),
    )
    numbers = np.array([learning_rate, momentum, weight_decay, l1], call.dtype)

    def make(kernels):
        p, v, g = (call[name] for name in "pvg")
        kernels.update(kernels.parts["updates.momentum.flat", call.dtype.char], p, v, v.size, g, numbers)

    call.make = make


# --- programs ---


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
    call, network, rng, draw, epochs=2, stride=None, numbers=(0.01, 0.9, 0.0, 0.0), mean=True, short=True, of="mse"
):
    """Two batches an epoch, and a shorter third where `short`; every epoch on the same rows where `stride` is 0."""
    _program(call, network, rng, draw, odd=0)
    batch, n_out = network.batch, int(call["table"][-1]["n_out"])
    count = 2 * batch + (batch // 2 if short else 0)
    stride = count if stride is None else stride
    total = count + (epochs - 1) * stride
    velocity = call.flat(call["params"].size)
    for op in call["table"]:
        for name in "y", "dx", "dy":
            call.allow(buffer(call, op, name))
        buffer(call, op, "dy")[:] = 0  # kernels keep the pads zero
    for op in linears(call):
        for p, v in zip(views(call["params"], op), views(velocity, op), strict=True):
            p /= np.sqrt(op["n_in"])  # or the training would diverge
            fill(v, draw(rng, (len(v), op["n_out"])) / 100, 0)
            call.allow(p)
            call.allow(v)
    _allow_scratch(call)
    call.arguments.update(
        losses=np.arange(1.0, epochs + 1), velocity=velocity, numbers=np.array(numbers, call.dtype), mean=mean,
        x=call.array(draw(rng, (total, network.n_in)), int(call["table"][0]["ld_in"]), pad=NAN, spare=3),
        y=call.array(targets(of, rng, draw, (total, n_out)), spare=3),
        batch_size=batch, rows=count, stride=stride,
    )  # fmt: skip

    cls, part = LOSSES[of]
    loss_numbers = cls()._numbers_as(call.dtype, n_out)
    call.loss_part, call.arguments["loss_numbers"] = part, loss_numbers

    def make(kernels):
        names = ("losses", "work", "params", "velocity", "numbers", "x", "y")
        losses, work, params, velocity, numbers, x, y = (call[name] for name in names)
        sizes = [call[name] for name in ("batch_size", "rows", "stride")]
        job = [kernels.parts[f"{part}.sum", call.dtype.char], len(numbers), *sizes, MEAN if call["mean"] else SUM]
        table = linked(kernels, network, call["table"], call.dtype.char, "momentum")
        table = table.copy()
        first = next(i for i, layer in enumerate(network.layers) if is_linear(layer))
        table.view(ROW)["input"][: first + 1] = 0  # nobody asks for these
        numbers = np.concatenate([numbers, loss_numbers])
        return kernels.train(losses, np.array(job, np.int64), table, work, params, velocity, numbers, x, y)

    call.make = make


ON_SIZES = {
    "linear_forward": linear_forward,
    "linear_input": linear_input,
    "linear_parameters": linear_parameters,
    "linear_momentum": linear_momentum,
    **{f"{name}_forward": partial(activation_forward, of=name) for name in ACTIVATIONS},
    **{f"{name}_input": partial(activation_input, of=name) for name in ACTIVATIONS},
    "dropout_forward": dropout_forward,
    "dropout_input": dropout_input,
    "layer_norm_forward": layer_norm_forward,
    "layer_norm_input": layer_norm_input,
    "layer_norm_parameters": layer_norm_parameters,
    "layer_norm_momentum": layer_norm_momentum,
    **{name: partial(loss, of=name) for name in LOSSES},
    "momentum_update": momentum_update,
}
ON_NETWORKS = {"forward": forward, "backward": backward, "train": train}
BUILDERS = ON_SIZES | ON_NETWORKS


def build(
    name: str, case: Any, dtype: Any, *, seed: int = 0, draw: Any = normal, offset: int = 1, **options: Any
) -> Call:
    """A call of a part for a `Case`, or of a kernel for a `Network`.

    `options` are those of its builder. The same seed gives the same numbers. `offset` = 0 aligns all arrays to
    cache lines.
    """
    call = Call(name, dtype, offset)
    BUILDERS[name](call, case, np.random.default_rng(seed), draw, **options)
    return call
