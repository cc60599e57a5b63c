"""Cases of operations: one part at a time, with the buffers of `Alone` in guarded memory."""

from functools import partial

import numpy as np
from calls import NAN, fill
from declared import ACTIVATIONS, activation

from fastnp.kernels import SCRATCH_ROW_BYTES
from fastnp.kernels.alone import Alone


def alone(call, name, case, kinds=1, **settings):
    """An operation with its buffers in guarded memory; views of them become the arguments.

    There is room for so many kinds of what a rule keeps of weights and bias.
    """
    gap = 64 // call.dtype.itemsize + call._offset
    op = Alone(name, *case, call.dtype, gap=gap, **settings)
    op.kept(kinds)
    op.work, op.params, op.target = (call.flat(array.size) for array in (op.work, op.params, op.target))
    call.arguments.update({field: op.padded(field) for field in ("x", "y", "dx", "dy")})
    call.arguments.update(w=op.padded("weights"), b=op.padded("bias"))
    call.arguments.update(batch=case.batch, n_in=case.n_in, n_out=op.n_out, **settings)
    call.op = op
    return op


def _run_alone(call, role, rule, kernels):
    call.op.batch = call["batch"]
    call.op.call(kernels, role, rule, call.arguments.get("numbers", (0.0,)))


def _prepared(call, role, rule, kernels):
    function, arguments = call.op.prepared(kernels, role, rule, call.arguments.get("numbers", (0.0,)))
    return partial(function, *arguments)


def runs_part(call, role, rule=None):
    """Let the call run this part of its operation."""
    call.make = partial(_run_alone, call, role, rule)
    call.prepared = partial(_prepared, call, role, rule)


def linear(call, of, case, kinds=1, **settings):
    """A product, with its buffers as `alone` gives them; the case, whose output is one wide where it is a column's."""
    case = case._replace(n_out=1) if of == "column" else case
    return alone(call, f"linear.{of}", case, kinds, **settings), case


def fill_weights(call, view, values):
    """Weights (n_in, n_out), which a column holds in one row, with their pads."""
    fill(view, values.T if call.op.is_column else values, 0)


def linear_forward(call, case, rng, draw, of="linear", rectified=False):
    _, case = linear(call, of, case, rectified=rectified)
    fill(call["x"], draw(rng, (case.batch, case.n_in)))
    fill_weights(call, call["w"], draw(rng, (case.n_in, case.n_out)))
    fill(call["b"], draw(rng, (1, case.n_out)), 0)
    for row in call["y"]:
        call.allow(row[:1] if of == "column" else row)
    runs_part(call, "forward")


def linear_input(call, case, rng, draw, of="linear", masked=False):
    op, case = linear(call, of, case, masked=masked)
    fill(call["dy"], draw(rng, (case.batch, case.n_out)), 0)
    fill_weights(call, call["w"], draw(rng, (case.n_in, case.n_out)))
    fill(call["x"], draw(rng, (case.batch, case.n_in)))
    numbers = SCRATCH_ROW_BYTES // call.dtype.itemsize
    call.allow(op.work[op.row["scratch"] : op.row["scratch"] + call["dy"].shape[1] * numbers])
    call.allow(call["dx"])
    runs_part(call, "input")


def linear_parameters(call, case, rng, draw, of="linear", add_to=False):
    op, case = linear(call, of, case)
    call.arguments.update(dw=op.padded("weights_kept")[0], db=op.padded("bias_kept")[0], numbers=(float(add_to),))
    dw, db = draw(rng, (case.n_in, case.n_out)), draw(rng, (1, case.n_out))
    fill_weights(call, call["dw"], dw if add_to else np.full_like(dw, NAN))
    fill(call["db"], db if add_to else np.full_like(db, NAN), 0)
    fill(call["dy"], draw(rng, (case.batch, case.n_out)), 0)
    fill(call["x"], draw(rng, (case.batch, case.n_in)))
    call.allow(call["dw"])
    call.allow(call["db"])
    runs_part(call, "parameters", "gradients")


def activation_forward(call, case, rng, draw, of="relu", in_place=False, setting=0.25):
    op = alone(call, f"activations.{of}", case._replace(n_in=case.n_out), setting=setting)
    fill(call["x"], draw(rng, (case.batch, case.n_out)))
    if in_place:
        op.row["y"] = op.row["x"]
        call.arguments["y"] = call["x"]
    call.allow(call["y"])
    runs_part(call, "forward")


def activation_input(call, case, rng, draw, of="relu", in_place=False, setting=0.25):
    """y is what the activation makes of x."""
    op = alone(call, f"activations.{of}", case._replace(n_in=case.n_out), setting=setting)
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
    runs_part(call, "input")


def dropout_forward(call, case, rng, draw, p=0.3, in_place=False, drawn_by=2**62 + 5, count=(4, 2)):
    """`count` is how often it has drawn before, in two numbers; it counts on where it draws."""
    op = alone(call, "dropout.dropout", case._replace(n_in=case.n_out), remembered=3, seed=drawn_by)
    fill(call["x"], draw(rng, (case.batch, case.n_out)))
    if in_place:
        op.row["y"] = op.row["x"]
        call.arguments["y"] = call["x"]
    _remember(call, (p, *count))
    call.allow(call["y"])
    call.allow(op.memory)
    runs_part(call, "forward")


def dropout_input(call, case, rng, draw, p=0.3, in_place=False, drawn_by=2**62 + 5, count=(4, 2)):
    """`count` is what it was after forward."""
    op = alone(call, "dropout.dropout", case._replace(n_in=case.n_out), remembered=3, seed=drawn_by)
    fill(call["dy"], draw(rng, (case.batch, case.n_out)), 0)
    if in_place:
        op.row["dx"] = op.row["dy"]
        call.arguments["dx"] = call["dy"]
    else:
        call["dx"][...] = 0  # kernels keep the pads zero
    _remember(call, (p, *count))
    call.allow(call["dx"])
    runs_part(call, "input")


def _remember(call, numbers):
    """Put these where the operation remembers."""
    memory = call.op.memory
    memory[: np.size(numbers)] = np.ravel(numbers)
    call.arguments["memory"] = memory


def layer_norm(call, case, rng, draw, far, kinds=1):
    """Rows as far from 0, with weights and bias; the operation, and the shape of its rows."""
    settings = {"remembered": 3, "weight_rows": 1, "setting": 1e-5}
    op = alone(call, "normalization.layer_norm", case._replace(n_in=case.n_out), kinds, **settings)
    shape = case.batch, case.n_out
    fill(call["x"], draw(rng, shape) + far)
    fill(call["w"], draw(rng, (1, case.n_out)), 0)
    fill(call["b"], draw(rng, (1, case.n_out)), 0)
    return op, shape


def layer_norm_forward(call, case, rng, draw, far=1.0):
    op, _ = layer_norm(call, case, rng, draw, far)
    _remember(call, np.zeros(op.remembered))
    call.allow(call["y"])
    call.allow(op.memory)
    runs_part(call, "forward")


def after_forward(call, case):
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
    _, shape = layer_norm(call, case, rng, draw, far)
    fill(call["dy"], draw(rng, shape), 0)
    call["dx"][...] = 0  # kernels keep the pads zero
    after_forward(call, case)
    call.allow(call["dx"])
    runs_part(call, "input")


def layer_norm_parameters(call, case, rng, draw, add_to=False, far=1.0):
    op, shape = layer_norm(call, case, rng, draw, far)
    fill(call["dy"], draw(rng, shape), 0)
    after_forward(call, case)
    call.arguments.update(dw=op.padded("weights_kept")[0], db=op.padded("bias_kept")[0], numbers=(float(add_to),))
    for name in "dw", "db":
        fill(call[name], draw(rng, (1, case.n_out)) if add_to else np.full((1, case.n_out), NAN), 0)
        call.allow(call[name])
    runs_part(call, "parameters", "gradients")


OF_OPERATIONS = {
    **{
        f"{of}_{role}": partial(builder, of=of)
        for of in ("linear", "column")
        for role, builder in (("forward", linear_forward), ("input", linear_input), ("parameters", linear_parameters))
    },
    **{f"{name}_forward": partial(activation_forward, of=name) for name in ACTIVATIONS},
    **{f"{name}_input": partial(activation_input, of=name) for name in ACTIVATIONS},
    "dropout_forward": dropout_forward,
    "dropout_input": dropout_input,
    "layer_norm_forward": layer_norm_forward,
    "layer_norm_input": layer_norm_input,
    "layer_norm_parameters": layer_norm_parameters,
}
