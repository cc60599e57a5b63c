"""The command `fastnp warmup`: compiles the kernels ahead."""

import itertools
import re
import shutil
import time

import click
import numpy as np

import fastnp

from .. import MSE, SGD, ArrayDataset, Constant, DataLoader, Layer, Linear, ReLU, Sequential, fit, jit
from ..backend import import_kernels, kernels, use_backend
from ..optimizers.singly import SQUARES_PART
from ..program.op import Kind, Rule
from .refusal import refused

DTYPES = ("float32", "float64")


def part_names() -> list[str]:
    """The names of all parts of programs, as public classes declare them in `_kernel_kind` and `_kernel_rule`.

    Of a layer: forward, input and, where it has weights, what is done with the gradients of these, which are kept
    or taken by a rule at once. Of a loss: its sum. Of an optimizer's rule, and each variant: what makes its numbers,
    and what it does with gradients that were kept. And the squares of these.
    """
    public = [value for value in map(vars(fastnp).get, fastnp.__all__) if isinstance(value, type)]
    kinds = [(cls, vars(cls)["_kernel_kind"]) for cls in public if isinstance(vars(cls).get("_kernel_kind"), Kind)]
    declared = [vars(cls)["_kernel_rule"] for cls in public if isinstance(vars(cls).get("_kernel_rule"), Rule)]
    rules = dict.fromkeys(name for rule in declared for name in (rule.name, *rule.variants))
    names = [SQUARES_PART, *(f"updates.{rule}.{role}" for rule in rules for role in ("begin", "flat"))]
    for cls, kind in kinds:
        roles = ["forward", "input"] if issubclass(cls, Layer) else ["sum"]
        if kind.weights:
            roles += [f"parameters.{rule}" for rule in ("gradients", *rules)]
        names += [f"{name}.{role}" for name in (kind.name, *kind.variants) for role in roles]
    return names


def step_names(char: str) -> list[tuple[str, str]]:
    """The steps of a loop with a model of a dtype, and what users may give them: arrays of either."""
    given = [char, *({"f", "d"} - {char})]
    names = [("backward", 2 * char), ("update", char)]
    return names + [("forward", char + x) for x in given] + [("loss", 2 * char + target) for target in given]


def compile_training(dtype: str) -> tuple[Sequential, SGD, MSE]:
    """Run `fit` and `predict` on a throwaway model, so that their kernels are compiled; draws no random number."""
    model = Sequential(Linear(1, 1, weight_attr=Constant(), dtype=dtype), ReLU())
    optimizer, loss_fn = SGD(parameters=model.parameters()), MSE()
    x = np.ones((1, 1))
    fit(model, loss_fn, optimizer, DataLoader(ArrayDataset(x, x)), epochs=1, progress=False)
    model.predict(x)
    return model, optimizer, loss_fn


def compile_everything(dtype: str) -> None:
    """As `compile_training`, with validation, too; a loop written out; all parts; and what `jit` needs."""
    char = np.dtype(dtype).char
    for name in part_names():
        kernels().parts[name, char]
    for (name, chars), holds in itertools.product(step_names(char), (True, False)):
        kernels().steps[name, chars, holds]
    model, optimizer, loss_fn = compile_training(dtype)
    x = np.ones((1, 1))
    fit(model, loss_fn, optimizer, DataLoader(ArrayDataset(x, x)), epochs=1, progress=False, validation=(x, x))
    optimizer.clip_norm, loss_fn.reduction = 1.0, "none"
    loss_fn(model(x), x)
    model.backward(loss_fn.backward())
    optimizer.step()
    jit(model)


@click.command()
@click.option("--clear", is_flag=True, help="First remove the kernels of other versions.")
def warmup(clear: bool) -> None:
    """Compile all kernels now, so that no program has to wait for it."""
    try:
        import_kernels("numba")
    except ImportError as error:
        raise click.ClickException(f"Numba cannot be imported: {' '.join(str(error).split())}") from error
    from ..kernels.compiled import _jit

    if clear and _jit.cache_root():
        current = f"fastnp-{_jit.source_digest()}"
        for folder in sorted(_jit.cache_root().glob("fastnp-*")):
            if re.fullmatch("fastnp-[0-9a-f]{16}", folder.name) and folder.name != current and _jit.is_ours(folder):
                with refused():
                    shutil.rmtree(folder)
                click.echo(f"removed {folder}")
    start = time.perf_counter()
    with use_backend("numba"):
        for dtype in DTYPES:
            compile_everything(dtype)
    where = _jit.kept_in() or "nowhere: no cache folder can be written, every process compiles anew"
    click.echo(f"ready after {time.perf_counter() - start:.1f} s, kept in {where}")
