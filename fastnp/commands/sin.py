"""The command `fastnp sin`: trains the network of the tutorial."""

import itertools
import time
from pathlib import Path
from types import ModuleType

import click
import numpy as np

from .. import (
    MSE,
    SGD,
    ArrayDataset,
    DataLoader,
    HeNormal,
    History,
    Linear,
    Normal,
    Optimizer,
    ReLU,
    Sequential,
    fit,
)
from ..backend import BACKENDS, get_backend, kernels, use_backend
from ..datasets import read_points, sin_curve, sin_data
from .refusal import refused, told_when_diverged
from .saving import SAVE, check_saving, saved
from .warmup import DTYPES, compile_training

INITIALIZERS = {"normal": Normal, "he": HeNormal}
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


@click.command(context_settings={"show_default": True})
@click.option("--epochs", type=click.IntRange(min=0), default=999, help="Passes over the data.")
@click.option("--batch-size", type=click.IntRange(min=1), default=4, help="Points in a step.")
@click.option("--learning-rate", type=float, default=0.01)
@click.option("--momentum", type=float, default=0.9)
@click.option("--init", type=click.Choice(list(INITIALIZERS)), default="normal", help="How weights start.")
@click.option("--dtype", type=click.Choice(DTYPES), default="float32", help="Of parameters and computation.")
@click.option("--backend", type=click.Choice(BACKENDS), default=get_backend, show_default="FASTNP_BACKEND, else numba")
@click.option("--seed", type=click.IntRange(0, 2**32 - 1), default=0, help="Fixes everything that is drawn.")
@click.option("--plot", type=click.Path(dir_okay=False, path_type=Path), help="Save a picture (png, pdf or svg).")
@SAVE
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
    save_path: Path | None,
    x_path: Path | None,
    y_path: Path | None,
) -> None:
    """Fit 2 sin x with a small network.

    Draws 200 points of 2 sin x with noise, picks 100 of them, and trains
    Linear(1,16) ReLU Linear(16,64) ReLU Linear(64,16) ReLU Linear(16,1) on these.
    """
    if (x_path is None) != (y_path is None):
        raise click.ClickException(f"--{'y' if y_path is None else 'x'} is missing: --x and --y go together")
    pictures = plotting(plot) if plot else None
    check_saving(save_path)
    np.random.seed(seed)
    with refused(), use_backend(backend):
        x, y = _points(x_path, y_path)
        if batch_size > len(x):
            raise ValueError(f"--batch-size {batch_size} is more than the {len(x)} points: there is no full batch")
        model = sin_network(init, dtype)
        optimizer = SGD(momentum=momentum, parameters=model.parameters(), learning_rate=learning_rate)
        loader = DataLoader(ArrayDataset(x, y), shuffle=True, batch_size=batch_size, drop_last=True)

    grid = np.linspace(-np.pi, np.pi, 500)[:, np.newaxis]
    truth = sin_curve(grid)
    with use_backend(backend), np.errstate(over="ignore", invalid="ignore"):  # DivergedError tells of these
        compile_training(dtype)
        history, seconds = _trained(model, optimizer, loader, epochs)
        losses = history.loss
        fitted = model.predict(grid)
        squared_error = np.mean((fitted - truth) ** 2)
        running = kernels().name

    _report(losses, float(squared_error), seconds, epochs * len(loader), f"{running}, {dtype}")
    if pictures and plot:
        with refused():
            pictures.draw_fit(x, y, grid, truth, fitted, losses).savefig(plot)
        click.echo(f"picture             {plot}")
    saved(save_path, model, optimizer=optimizer, dataloader=loader, history=history, loss_fn=MSE())
    if losses and not losses[-1] < LEARNED:
        click.echo(f"fastnp: {_hint(init)}", err=True)


def plotting(path: Path) -> ModuleType:
    """What draws the picture, once it is known that `path` can hold one."""
    try:
        from ..training import plot
    except ImportError as error:
        raise click.ClickException(f'--plot needs matplotlib: pip install "fastnp[plot]" ({error})') from error
    with refused():
        plot.check_path(path)
    return plot


def _points(x_path: Path | None, y_path: Path | None) -> tuple[np.ndarray, np.ndarray]:
    """The points of two files, else 100 that are picked of those of the tutorial."""
    if x_path and y_path:
        return read_points(x_path, y_path)
    x, y = sin_data()
    picked = np.random.choice(len(x), 100)
    return x[picked], y[picked]


def _trained(model: Sequential, optimizer: Optimizer, loader: DataLoader, epochs: int) -> tuple[History, float]:
    """Train: its history, and how many seconds it took."""
    start = time.perf_counter()
    with told_when_diverged():
        history = fit(model, MSE(), optimizer, loader, epochs)
    return history, time.perf_counter() - start


def _report(losses: list[float], squared_error: float, seconds: float, steps: int, backend: str) -> None:
    """Print what was reached, how fast, and by what."""
    if losses:
        click.echo(f"training loss       {losses[-1]:.6f}  (mean over the batches of epoch {len(losses)})")
    click.echo(f"mean squared error  {squared_error:.6f}  (against 2 sin x, 500 points in [-pi, pi])")
    click.echo(f"training            {seconds:.3f} s, {steps} steps, {steps / seconds:.0f} steps/s")
    click.echo(f"backend             {backend}")


def _hint(init: str) -> str:
    hint = f"the curve is not learned (the loss is not below {LEARNED}): try "
    if init == "normal":
        return (
            hint + "another --seed (one in twenty stays a flat line), more --epochs or --init he --learning-rate 0.001"
        )
    return hint + "a smaller --learning-rate or more --epochs"
