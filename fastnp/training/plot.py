"""Pictures of a training. Needs matplotlib (the extra `plot`); draws without a window and without pyplot."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

SUFFIXES = (".png", ".pdf", ".svg")

INK, GRID = "#333333", "#dddddd"
POINTS, FIT = "#7a8ba3", "#d1495b"


def check_path(path: Path) -> None:
    """Refuse, before the work is done, a path that no picture can be written to.

    Raises ValueError for another suffix than those of `SUFFIXES` and for a folder that does not exist,
    PermissionError for one that cannot be written.
    """
    if path.suffix.lower() not in SUFFIXES:
        raise ValueError(f"the picture {path} must end in one of {', '.join(SUFFIXES)}")
    if not path.parent.is_dir():
        raise ValueError(f"the folder {path.parent} of the picture does not exist")
    if not os.access(path.parent, os.W_OK):
        raise PermissionError(f"the folder {path.parent} of the picture cannot be written")


def draw_fit(
    x: np.ndarray, y: np.ndarray, grid: np.ndarray, truth: np.ndarray, fitted: np.ndarray, losses: Sequence[float]
) -> Figure:
    """Left the data (x, y) with the true and the fitted curve over `grid`, right the loss of every epoch."""
    figure = new_figure(11, 4.6)
    left, right = figure.subplots(1, 2, width_ratios=(1.15, 1))
    left.scatter(x, y, s=26, color=POINTS, alpha=0.75, linewidths=0, label=f"data, {len(x)} points")
    left.plot(grid, truth, color=INK, linewidth=1.8, linestyle=(0, (4, 2)), label="2 sin x")
    left.plot(grid, fitted, color=FIT, linewidth=2.6, label="fitted network")
    if np.abs(x).max() < 2 * np.pi:
        left.set_xticks(np.arange(-2, 3) * np.pi / 2, ["−π", "−π/2", "0", "π/2", "π"])
    finish(left, "Data and fit", "x", "y", "upper left")
    plot_losses(right, losses, FIT, f"last epoch: {losses[-1]:.4f}" if losses else "not trained")
    finish(right, "Training loss", "epoch", "mean of ½ (prediction − y)²", "upper right")
    return figure


def draw_history(losses: Sequence[float], validation_losses: Sequence[float], best_epoch: int | None = None) -> Figure:
    """The losses of every epoch on a logarithmic axis, in training and, where there are any, in validation.

    The best epoch, counted from 0, is marked.
    """
    figure = new_figure(7, 4.6)
    axes = figure.subplots()
    plot_losses(axes, losses, FIT, "training")
    if validation_losses:
        plot_losses(axes, validation_losses, POINTS, "validation")
    if best_epoch is not None:
        axes.axvline(best_epoch + 1, color=INK, linewidth=1.2, linestyle=(0, (4, 2)), label="best epoch")
    finish(axes, "Loss", "epoch", "mean over the batches", "upper right")
    return figure


def new_figure(width: float, height: float) -> Figure:
    """An empty figure of that size in inches."""
    figure = Figure(
        figsize=(width, height), dpi=150, layout=ConstrainedLayoutEngine(w_pad=0.12, h_pad=0.1, wspace=0.04)
    )
    FigureCanvasAgg(figure)
    return figure


def plot_losses(axes: Axes, losses: Sequence[float], color: str, label: str) -> None:
    """Draw the losses of every epoch as a line, on a logarithmic axis."""
    positive = np.where(np.asarray(losses) > 0, losses, np.nan)  # a logarithm has no zero
    axes.set_yscale("log")
    axes.yaxis.set_major_formatter("{x:g}")
    axes.plot(
        np.arange(1, len(losses) + 1), positive,
        color=color, linewidth=1.6, marker="o" if len(losses) == 1 else "", label=label,
    )  # fmt: skip


def finish(axes: Axes, title: str, x_label: str, y_label: str, legend: Literal["upper left", "upper right"]) -> None:
    """Give axes that hold lines their title, labels and legend."""
    axes.set_title(title, fontsize=16, color=INK, loc="left", pad=10, fontweight="bold")
    axes.set_xlabel(x_label, fontsize=13, color=INK)
    axes.set_ylabel(y_label, fontsize=13, color=INK)
    axes.tick_params(labelsize=12, color=INK, labelcolor=INK)
    axes.grid(color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["bottom", "left"]].set_color(INK)
    axes.legend(frameon=False, fontsize=12, labelcolor=INK, loc=legend)
