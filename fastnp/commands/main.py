"""The command `fastnp`: `sin` trains the network of the tutorial, `warmup` compiles the kernels ahead."""

import contextlib
import itertools
import os
import re
import shutil
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import click
import numpy as np

from .. import (
    MSE,
    SGD,
    ArrayDataset,
    Constant,
    DataLoader,
    DivergedError,
    HeNormal,
    Linear,
    Normal,
    ReLU,
    Sequential,
    fit,
)
from .. import __version__ as version
from ..backend import BACKENDS, get_backend, import_kernels, kernels, use_backend
from ..datasets import read_points, sin_curve, sin_data
from .check import check

INITIALIZERS = {"normal": Normal, "he": HeNormal}
DTYPES = ("float32", "float64")
LEARNED = 0.2  # a flat line through the data has a loss of about 1

FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


def sin_network(init: str, dtype: str) -> Sequential:
    """The network of the tutorial."""
    widths = (1, 16, 64, 16, 1)
    model = Sequential()
    for n_in, n_out in itertools.pairwise(widths):
        if model.graphs:
            model.add(ReLU())
        model.add(Linear(n_in, n_out, weight_attr=INITIALIZERS[init](), dtype=dtype))
    return model


def compile_training(dtype: str) -> tuple[Sequential, SGD, MSE]:
    """Run `fit` and `predict` on a throwaway model, so that their kernels are compiled; draws no random number."""
    model = Sequential(Linear(1, 1, weight_attr=Constant(), dtype=dtype), ReLU())
    optimizer, loss_fn = SGD(parameters=model.parameters()), MSE()
    x = np.ones((1, 1))
    fit(model, loss_fn, optimizer, DataLoader(ArrayDataset(x, x)), epochs=1, progress=False)
    model.predict(x)
    return model, optimizer, loss_fn


def compile_everything(dtype: str) -> None:
    """As `compile_training`, and the kernels of a loop written out."""
    model, optimizer, loss_fn = compile_training(dtype)
    x = np.ones((1, 1))
    loss_fn(model(x), x)
    model.backward(loss_fn.backward())
    optimizer.step()


@contextlib.contextmanager
def _refused() -> Iterator[None]:
    """What the library, or the disk, refuses in the user's words becomes the error of the command."""
    try:
        yield
    except (TypeError, ValueError, OSError) as error:
        raise click.ClickException(str(error)) from error


def _plotting(path: Path) -> ModuleType:
    try:
        from ..training import plot
    except ImportError as error:
        raise click.ClickException(f'--plot needs matplotlib: pip install "fastnp[plot]" ({error})') from error
    with _refused():
        plot.check_path(path)
    return plot


class Commands(click.Group):
    """Commands that Ctrl-C stops without the empty line that click would print."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            raise click.Abort from None


@click.group(cls=Commands, invoke_without_command=True, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(version, prog_name="fastnp", message="%(prog)s %(version)s")
@click.pass_context
def cli(context: click.Context) -> None:
    """Small neural networks on a CPU."""
    if context.invoked_subcommand is None:
        click.echo(context.get_help())


@cli.command(context_settings={"show_default": True})
@click.option("--epochs", type=click.IntRange(min=0), default=999, help="Passes over the data.")
@click.option("--batch-size", type=click.IntRange(min=1), default=4, help="Points in a step.")
@click.option("--learning-rate", type=float, default=0.01)
@click.option("--momentum", type=float, default=0.9)
@click.option("--init", type=click.Choice(list(INITIALIZERS)), default="normal", help="How weights start.")
@click.option("--dtype", type=click.Choice(DTYPES), default="float32", help="Of parameters and computation.")
@click.option("--backend", type=click.Choice(BACKENDS), default=get_backend, show_default="FASTNP_BACKEND, else numba")
@click.option("--seed", type=click.IntRange(0, 2**32 - 1), default=0, help="Fixes everything that is drawn.")
@click.option("--plot", type=click.Path(dir_okay=False, path_type=Path), help="Save a picture (png, pdf or svg).")
@click.option("--x", "x_path", type=FILE, help="Train on all points of these files (.npy) instead.")
@click.option("--y", "y_path", type=FILE, help="With --x, as many numbers.")
def sin(
    epochs: int,
    batch_size: int,
    learning_rate: float,
    momentum: float,
    init: str,
    dtype: str,
    backend: str,
    seed: int,
    plot: Path | None,
    x_path: Path | None,
    y_path: Path | None,
) -> None:
    """Fit 2 sin x with a small network.

    Draws 200 points of 2 sin x with noise, picks 100 of them, and trains
    Linear(1,16) ReLU Linear(16,64) ReLU Linear(64,16) ReLU Linear(16,1) on these.
    """
    if (x_path is None) != (y_path is None):
        raise click.ClickException(f"--{'y' if y_path is None else 'x'} is missing: --x and --y go together")
    plotting = _plotting(plot) if plot else None
    np.random.seed(seed)
    with _refused(), use_backend(backend):
        if x_path and y_path:
            x, y = read_points(x_path, y_path)
        else:
            x, y = sin_data()
            picked = np.random.choice(len(x), 100)
            x, y = x[picked], y[picked]
        if batch_size > len(x):
            raise ValueError(f"--batch-size {batch_size} is more than the {len(x)} points: there is no full batch")
        model = sin_network(init, dtype)
        optimizer = SGD(momentum=momentum, parameters=model.parameters(), learning_rate=learning_rate)
        loader = DataLoader(ArrayDataset(x, y), shuffle=True, batch_size=batch_size, drop_last=True)

    with use_backend(backend), np.errstate(over="ignore", invalid="ignore"):  # DivergedError tells of these
        compile_training(dtype)
        start = time.perf_counter()
        try:
            losses = fit(model, MSE(), optimizer, loader, epochs).loss
        except DivergedError as error:
            click.echo(f"fastnp: {error}", err=True)
            raise click.exceptions.Exit(1) from None
        seconds = time.perf_counter() - start
        grid = np.linspace(-np.pi, np.pi, 500)[:, np.newaxis]
        fitted, truth = model.predict(grid), sin_curve(grid)
        squared_error = np.mean((fitted - truth) ** 2)
        running = kernels().name

    steps = epochs * len(loader)
    if losses:
        click.echo(f"training loss       {losses[-1]:.6f}  (mean over the batches of epoch {epochs})")
    click.echo(f"mean squared error  {squared_error:.6f}  (against 2 sin x, 500 points in [-pi, pi])")
    click.echo(f"training            {seconds:.3f} s, {steps} steps, {steps / seconds:.0f} steps/s")
    click.echo(f"backend             {running}, {dtype}")
    if plotting and plot:
        with _refused():
            plotting.draw_fit(x, y, grid, truth, fitted, losses).savefig(plot)
        click.echo(f"picture             {plot}")
    if losses and not losses[-1] < LEARNED:
        click.echo(f"fastnp: {_hint(init)}", err=True)


def _hint(init: str) -> str:
    hint = f"the curve is not learned (the loss is not below {LEARNED}): try "
    if init == "normal":
        return (
            hint + "another --seed (one in twenty stays a flat line), more --epochs or --init he --learning-rate 0.001"
        )
    return hint + "a smaller --learning-rate or more --epochs"


@cli.command()
@click.option("--clear", is_flag=True, help="First remove the kernels of other versions.")
def warmup(clear: bool) -> None:
    """Compile all kernels now, so that no program has to wait for it."""
    try:
        import_kernels("numba")
    except ImportError as error:
        raise click.ClickException(f"Numba cannot be imported: {' '.join(str(error).split())}") from error
    from ..kernels import _jit

    if clear and _jit.cache_root():
        current = f"fastnp-{_jit.source_digest()}"
        for folder in sorted(_jit.cache_root().glob("fastnp-*")):
            if re.fullmatch("fastnp-[0-9a-f]{16}", folder.name) and folder.name != current and _jit.is_ours(folder):
                with _refused():
                    shutil.rmtree(folder)
                click.echo(f"removed {folder}")
    start = time.perf_counter()
    with use_backend("numba"):
        for dtype in DTYPES:
            compile_everything(dtype)
    where = _jit.kept_in() or "nowhere: no cache folder can be written, every process compiles anew"
    click.echo(f"ready after {time.perf_counter() - start:.1f} s, kept in {where}")


cli.add_command(check)


def _stop(message: str, status: int) -> None:
    click.echo(f"fastnp: {' '.join(message.split())}", err=True)
    sys.exit(status)


def main(arguments: list[str] | None = None) -> None:
    """Run the command with `arguments`, by default those of the process.

    What is wrong in the arguments, or in the file that is written to, is one line on stderr and exit status
    2; a training that diverges is 1, Ctrl-C is 130. A reader that goes away, as `head` does, is 1 and no word.
    """
    try:
        status = cli.main(arguments, prog_name="fastnp", standalone_mode=False)
        if sys.stdout is not None:
            sys.stdout.flush()  # while it can still be said that the disk is full
    except click.ClickException as error:
        _stop(f"error: {error.format_message()}", 2)
    except click.Abort:
        _stop("stopped", 130)
    except OSError as error:
        # What is left in the buffer cannot be written when Python exits, either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if isinstance(error, BrokenPipeError):
            sys.exit(1)
        _stop(f"error: {error if error.filename else f'the output cannot be written: {error.strerror}'}", 2)
    else:
        sys.exit(status or 0)
