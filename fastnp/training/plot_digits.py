"""The picture of a network that tells digits: what it says of some, which it confuses, and how it learned."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from .history import History
from .plot import FIT, INK, POINTS, finish, new_figure, plot_losses

CLASSES = 10
WRONG_COLUMNS = 6
RIGHT_ROWS = 7, 6, 4  # that have room above as many rows of wrong digits as their place says
GAP, LINE = 0.26, 0.4  # between digits whose centres are 1 apart; the height of what stands below
WRONG, RIGHT = FIT, "#2b4c7e"

_PAPER = LinearSegmentedColormap.from_list("paper", ["#f4f5f7", "#16202e"])
_HITS = LinearSegmentedColormap.from_list("hits", ["#dfe6ef", RIGHT])
_MISSES = LinearSegmentedColormap.from_list("misses", ["#f3c6cd", WRONG])


def draw_digits(
    images: np.ndarray,
    labels: np.ndarray,
    predicted: np.ndarray,
    history: History,
) -> Figure:
    """Left some digits with what was predicted, right the confusion matrix over the losses of every epoch.

    Args:
        images: (digits, height, width), dark where they are large.
        labels, predicted: (digits,), integers from 0 to 9.
        history: of the training, whose losses are drawn and whose best epoch is marked.
    """
    figure = new_figure(13.6, 7.65)
    ((left, right),) = figure.subfigures(1, 2, squeeze=False, width_ratios=(1.25, 1))
    _draw_examples(left.subplots(), images, labels, predicted)
    above, below = right.subplots(2, 1, height_ratios=(1.6, 1))
    _draw_confusion(above, labels, predicted)
    _draw_losses(below, history)
    return figure


def _draw_examples(axes: Axes, images: np.ndarray, labels: np.ndarray, predicted: np.ndarray) -> None:
    """Some right ones of each class in a column, below them the wrong ones, larger."""
    right = predicted == labels
    wrong = np.flatnonzero(~right)
    shown = wrong[: WRONG_COLUMNS * (len(RIGHT_ROWS) - 1)]
    rows = RIGHT_ROWS[-(-len(shown) // WRONG_COLUMNS)]
    _write_heading(axes, 0, f"Right: {right.sum()} of {len(labels)} test digits, {100 * right.mean():.1f} %", RIGHT)
    for digit in range(CLASSES):
        for row, i in enumerate(np.flatnonzero(right & (labels == digit))[:rows]):
            _draw_tile(axes, digit, 0.2 + row * (1 - GAP + LINE), 1 - GAP, images[i], str(predicted[i]), RIGHT)
    top = rows * (1 - GAP + LINE) + 0.85
    some = f", the first {len(shown)} of them:" if len(shown) < len(wrong) else ""
    _write_heading(axes, top, f"Wrong: {len(wrong)}{some}", WRONG)
    wide = CLASSES / WRONG_COLUMNS
    for place, i in enumerate(shown):
        row, column = divmod(place, WRONG_COLUMNS)
        text = f"{predicted[i]}, not {labels[i]}"
        _draw_tile(axes, column * wide, top + 0.2 + row * (wide - GAP + LINE), wide - GAP, images[i], text, WRONG)
    axes.set_xlim(-0.05, CLASSES - GAP + 0.05)
    axes.set_ylim(10, -0.4)
    axes.set_aspect("equal", anchor="NW")
    axes.axis("off")


def _write_heading(axes: Axes, y: float, text: str, color: str) -> None:
    axes.text(0, y, text, fontsize=16, color=color, fontweight="bold")


def _draw_tile(axes: Axes, x: float, y: float, side: float, image: np.ndarray, text: str, color: str) -> None:
    """A digit in a frame with its upper left corner at (x, y), and below it what is said of it."""
    axes.imshow(image, cmap=_PAPER, extent=(x, x + side, y + side, y), interpolation="nearest")
    axes.add_patch(Rectangle((x, y), side, side, fill=False, color=color, linewidth=2.4 if color == WRONG else 0.8))
    axes.text(x + side / 2, y + side + 0.05, text, fontsize=13, color=color, ha="center", va="top", fontweight="bold")


def _draw_confusion(axes: Axes, labels: np.ndarray, predicted: np.ndarray) -> None:
    counts = np.zeros((CLASSES, CLASSES), int)
    np.add.at(counts, (labels, predicted), 1)
    hits = np.eye(CLASSES, dtype=bool)
    most = max(counts[hits].max(), 1), max(counts[~hits].max(), 1)
    for (row, column), count in np.ndenumerate(counts):
        colors, largest = (_HITS, most[0]) if row == column else (_MISSES, most[1])
        if count:
            axes.add_patch(Rectangle((column - 0.5, row - 0.5), 1, 1, color=colors(count / largest), linewidth=0))
            ink = "white" if count > largest / 2 else INK
            axes.text(column, row, str(count), fontsize=11, color=ink, ha="center", va="center")
    axes.set_xlim(-0.5, CLASSES - 0.5)
    axes.set_ylim(CLASSES - 0.5, -0.5)
    axes.set_aspect("equal", anchor="W")
    axes.set_xticks(range(CLASSES))
    axes.set_yticks(range(CLASSES))
    axes.tick_params(labelsize=12, labelcolor=INK, length=0)
    axes.set_xticks(np.arange(-0.5, CLASSES), minor=True)
    axes.set_yticks(np.arange(-0.5, CLASSES), minor=True)
    axes.tick_params(which="minor", length=0)
    axes.grid(which="minor", color="#e6e8eb", linewidth=0.8)
    axes.spines[:].set_visible(False)
    axes.set_title("Confusion", fontsize=16, color=INK, loc="left", pad=10, fontweight="bold")
    axes.set_xlabel("the network says", fontsize=13, color=INK)
    axes.set_ylabel("the digit is", fontsize=13, color=INK)


def _draw_losses(axes: Axes, history: History) -> None:
    plot_losses(axes, history.loss, POINTS, "training" if history.loss else "not trained")
    losses = history.validation_loss or history.loss
    if history.validation_loss:
        plot_losses(axes, losses, INK, "validation")
    if history.best_epoch is not None:
        epoch = history.best_epoch + 1
        axes.plot(epoch, losses[epoch - 1], "o", color=RIGHT, markersize=9, label=f"best epoch: {epoch}", zorder=3)
    axes.set_yscale("linear")
    finish(axes, "Loss", "epoch", "cross-entropy", "upper right")
