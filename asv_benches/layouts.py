"""Kernels of the commit that is measured, in whichever layout it has them.

Operations are parts, which `cases` of the working tree calls by name. Until optimizers had plans, the numbers of a rule
were given, and until losses took weights, a loss was called with a scale; before the wings, each operation was a kernel
of its own, in a module of its own. What these are called with stands here.
"""

import importlib
import importlib.util
import re
from functools import partial
from pathlib import Path

import numpy as np

from asv_benches.agreement import assert_close
from fastnp.backend import BACKENDS, kernels_of

WINGS = importlib.util.find_spec("fastnp.kernels.compiled") is not None
WEIGHTS, PLANS = (
    WINGS and hasattr(importlib.import_module("fastnp.kernels.table"), name) for name in ("EACH", "PLAN_COLUMNS")
)
STEPS = importlib.util.find_spec("fastnp.kernels.blocks") is not None
TOLD = STEPS and hasattr(importlib.import_module("fastnp.kernels.table"), "SETTINGS_STEP")
_KERNELS = "fastnp.kernels.compiled" if WINGS else "fastnp.kernels"
padded = importlib.import_module("fastnp.kernels").padded
jit, simd = (importlib.import_module(f"{_KERNELS}.{name}") for name in ("_jit", "simd"))


def _declared(attribute, pattern):
    """What the classes of the working tree declare that fits a pattern: names and variants, not those of the commit."""
    found = []
    for path in sorted((Path(__file__).parents[1] / "fastnp").rglob("*.py")):
        for declared in re.findall(rf"{attribute} = \w+\((.*?)\)\n", path.read_text(encoding="utf-8"), re.DOTALL):
            names = re.findall(r'^\s*"([\w.]+)"', declared)
            names += re.findall(r'"([\w.]+)"', "".join(re.findall(r"variants=\((.*?)\)", declared, re.DOTALL)))
            found += [match[1] for match in map(re.compile(pattern).fullmatch, names) if match]
    return found


def _kinds(room):
    return _declared("_kernel_kind", rf"{room}\.(\w+)")


ON_SIZES = (
    *(f"{of}_{role}" for of in _kinds("linear") for role in ("forward", "input", "parameters")),
    *(f"{name}_{role}" for name in _kinds("activations") for role in ("forward", "input")),
    "dropout_forward", "dropout_input",
    *(f"layer_norm_{role}" for role in ("forward", "input", "parameters")),
    *_kinds("losses"), *(f"cross_entropy_{of}" for of in _kinds("cross_entropy")),
    *(name for rule in _declared("_kernel_rule", r"(\w+)")
      for name in (*(f"{of}_{rule}" for of in _kinds("linear")), f"layer_norm_{rule}", f"{rule}_update")),
    "squares", "step_loss", "step_update",
)  # fmt: skip
ON_NETWORKS = ("forward", "backward", "loss_and_gradients", "train", "train_and_watch", "step_forward", "step_backward")


def agreed_call(name, case, dtype, backend):
    """A function without arguments that calls a part or kernel, on aligned arrays, once the twins have agreed on it."""
    if not PLANS:
        old = _before_plans if WINGS else _of_old
        return old(name, case, np.dtype(dtype), kernels_of(backend))
    from cases import build

    if name.startswith("step_") and not STEPS:
        raise NotImplementedError("the loop of this commit runs by other kernels")
    if name.startswith("column_") and not hasattr(importlib.import_module(f"{_KERNELS}.linear"), "column"):
        raise NotImplementedError("columns have no parts of their own in this commit")
    if name in ("loss_and_gradients", "train", "train_and_watch") and not TOLD:
        raise NotImplementedError("the trainings of this commit tell nothing of their batches")
    what = f"{name}, {case}, {np.dtype(dtype).name}"
    calls = {backend: build(name, case, dtype) for backend in BACKENDS}
    results = {backend: call.run(kernels_of(backend)) for backend, call in calls.items()}
    if results["numpy"] is not None:
        assert_close(f"{what}, result", *results.values(), dtype)
    for argument, twin in calls["numpy"].arguments.items():
        if name.startswith("train") and argument.endswith("work"):  # left in different states, and read by nobody
            continue
        if isinstance(twin, np.ndarray) and twin.dtype.kind == "f":
            assert_close(f"{what}, {argument}", calls["numba"][argument], twin, dtype)
    return build(name, case, dtype, offset=0).prepared(kernels_of(backend))


def _before_plans(name, case, dtype, kernels):
    """The same on a commit that has wings, and one rule of an optimizer, whose numbers are given."""
    if name in ON_NETWORKS:
        raise NotImplementedError("the tables of this commit are others")
    from fastnp.kernels.alone import Alone

    rng, (batch, n_in, n_out) = np.random.default_rng(0), case
    if name == "mse":
        dpred, pred, target = rng.standard_normal((3, batch, n_out)).astype(dtype)
        part = kernels.parts["losses.mse.sum", dtype.char]
        if WEIGHTS:
            return partial(kernels.loss, part, dpred[np.newaxis], pred, target, np.zeros(0, dtype), 1)
        return partial(kernels.loss, part, dpred, pred, target, 0.375)
    if name == "momentum_update":
        p, v, g = rng.standard_normal((3, batch * padded(n_out, dtype.itemsize))).astype(dtype)
        numbers = np.array([0.01, 0.9, 0, 0], dtype)
        return partial(kernels.update, kernels.parts["updates.momentum.flat", dtype.char], p, v, v.size, g, numbers)
    of, _, role = name.rpartition("_")
    rule = {"momentum": "momentum", "parameters": "gradients"}.get(role)
    if of == "linear":
        op = Alone("linear.linear", batch, n_in, n_out, dtype)
    else:
        op = Alone(f"activations.{of}", batch, n_out, n_out, dtype)
    for array in op.x, op.y, op.dy, op.weights, op.bias:
        array[...] = rng.standard_normal(array.shape)
    numbers = (0.01, 0.9, 0.0, 0.0) if role == "momentum" else (0.0,)
    try:
        function, arguments = op.prepared(kernels, "parameters" if rule else role, rule, numbers)
    except (AttributeError, ImportError):
        raise NotImplementedError(f"{name} is no part of this commit") from None
    return partial(function, *arguments)


def _of_old(name, case, dtype, kernels):
    """The same on a commit from before the wings; NotImplementedError, which asv skips, where it has no such kernel."""
    if name in ON_NETWORKS:
        raise NotImplementedError("the tables of this commit are others")
    rng, (batch, n_in, n_out) = np.random.default_rng(0), case
    ld_in, ld_out = padded(n_in, dtype.itemsize), padded(n_out, dtype.itemsize)

    def rows(count, n, ld):
        raw = np.zeros(count * ld * dtype.itemsize + 64, np.uint8)
        start = -raw.ctypes.data % 64
        array = raw[start : start + count * ld * dtype.itemsize].view(dtype).reshape(count, ld)
        array[:, :n] = rng.standard_normal((count, n))
        return array

    x, dx = rows(batch, n_in, ld_in), rows(batch, n_in, ld_in)
    y, dy, w, b = (rows(count, n_out, ld_out) for count in (batch, batch, n_in, 1))
    scratch = np.zeros((ld_out, 256 // dtype.itemsize), dtype)
    old = {
        "linear_forward": ("linear_forward", y, x, w, b, batch, n_in, False),
        "linear_input": ("linear_backward_input", dx, dy, w, scratch, x, batch, n_in, n_out, False),
        "linear_parameters": ("linear_backward_parameters", w.copy(), b.copy(), dy, x, batch, n_in, n_out, False),
        "relu_forward": ("relu_forward", y, dy),
        "relu_input": ("relu_backward", y, dy, np.maximum(y, 0)),
        "mse": ("mse", *(np.ascontiguousarray(a[:, :n_out]) for a in (y, dy, y + 1)), 0.375),
        "momentum_update": ("momentum_update", y.reshape(-1), dy.reshape(-1), dy.reshape(-1), 0.01, 0.9, 0.0, False),
    }
    if name not in old:
        raise NotImplementedError(f"{name} is no kernel of this commit")
    kernel, *arguments = old[name]
    call = partial(getattr(kernels, kernel), *arguments)
    call()  # which compiles it
    return call
