"""The command `fastnp digits`: trains a network that tells handwritten digits."""

import time
from pathlib import Path
from typing import NamedTuple

import click
import numpy as np

from .. import (
    GELU,
    Adam,
    ArrayDataset,
    CrossEntropy,
    DataLoader,
    EarlyStopping,
    HeNormal,
    History,
    Linear,
    Sequential,
    XavierNormal,
    fit,
)
from ..backend import BACKENDS, get_backend, kernels, use_backend
from .refusal import refused, told_when_diverged
from .saving import SAVE, check_saving, saved
from .sin import plotting
from .warmup import DTYPES

VALIDATION, TEST = 240, 360  # of the 1,797 digits; the others are trained on
SMOOTHING = 0.1  # of labels: some digits could be taken for another
LARGEST = 16.0  # number in the images, where the ink is


class Split(NamedTuple):
    """Digits x (digits, 64) from 0 to 1, row by row of an image, and labels y (digits,), in three parts."""

    training: tuple[np.ndarray, np.ndarray]
    validation: tuple[np.ndarray, np.ndarray]
    test: tuple[np.ndarray, np.ndarray]


def split_digits(seed: int) -> Split:
    """The digits that scikit-learn ships, split by chance, with each digit's share the same in all parts."""
    try:
        from sklearn.datasets import load_digits
        from sklearn.model_selection import train_test_split
    except ImportError as error:
        raise click.ClickException(f'digits needs scikit-learn: pip install "fastnp[sklearn]" ({error})') from error
    x, y = load_digits(return_X_y=True)
    rest_x, test_x, rest_y, test_y = train_test_split(x / LARGEST, y, test_size=TEST, stratify=y, random_state=seed)
    x, validation_x, y, validation_y = train_test_split(
        rest_x, rest_y, test_size=VALIDATION, stratify=rest_y, random_state=seed
    )
    return Split((x, y), (validation_x, validation_y), (test_x, test_y))


class Training:
    """A network and all it takes to train it; what is drawn is drawn by the seed."""

    def __init__(self, digits: Split, batch_size: int, learning_rate: float, patience: int, seed: int, dtype: str):
        rng = np.random.default_rng(seed)
        self.model = Sequential(
            Linear(64, 64, weight_attr=HeNormal(rng=rng), dtype=dtype),
            GELU(),
            Linear(64, 10, weight_attr=XavierNormal(rng=rng), dtype=dtype),
        )
        self._optimizer = Adam(self.model.parameters(), learning_rate)
        self.loader = DataLoader(ArrayDataset(*digits.training), batch_size=batch_size, reshuffle=True, rng=rng)
        self._validation, self._stopping = digits.validation, EarlyStopping(patience=patience)

    def run(self, epochs: int, progress: bool = True) -> History:
        """Train for so many epochs, or until the validation loss falls no more; the best parameters are kept."""
        return fit(
            self.model, CrossEntropy(SMOOTHING), self._optimizer, self.loader, epochs,
            validation=self._validation, early_stopping=self._stopping, progress=progress,
        )  # fmt: skip

    def save(self, path: Path | None, history: History) -> None:
        """Save model and training in a file, where that is asked for."""
        saved(
            path, self.model, optimizer=self._optimizer, dataloader=self.loader, history=history,
            early_stopping=self._stopping, loss_fn=CrossEntropy(),
        )  # fmt: skip


@click.command(context_settings={"show_default": True})
@click.option("--epochs", type=click.IntRange(min=0), default=200, help="Passes over the data, at most.")
@click.option("--patience", type=click.IntRange(min=1), default=20, help="Epochs to wait for a better one.")
@click.option("--batch-size", type=click.IntRange(min=1), default=32, help="Digits in a step.")
@click.option("--learning-rate", type=float, default=0.01)
@click.option("--dtype", type=click.Choice(DTYPES), default="float32", help="Of parameters and computation.")
@click.option("--backend", type=click.Choice(BACKENDS), default=get_backend, show_default="FASTNP_BACKEND, else numba")
@click.option("--seed", type=click.IntRange(0, 2**32 - 1), default=0, help="Fixes everything that is drawn.")
@click.option("--plot", type=click.Path(dir_okay=False, path_type=Path), help="Save a picture (png, pdf or svg).")
@SAVE
def digits(
    epochs: int,
    patience: int,
    batch_size: int,
    learning_rate: float,
    dtype: str,
    backend: str,
    seed: int,
    plot: Path | None,
    save_path: Path | None,
) -> None:
    """Tell handwritten digits with a small network.

    Splits the 1,797 digits that scikit-learn ships into 1,197 to train on, 240 that say when to stop and 360 for the
    test, and trains Linear(64,64) GELU Linear(64,10) with Adam on the cross-entropy of smoothed labels.
    """
    if plot:
        plotting(plot)
    check_saving(save_path)
    data = split_digits(seed)
    with refused(), use_backend(backend), np.errstate(over="ignore", invalid="ignore"):  # DivergedError tells of these
        training = Training(data, batch_size, learning_rate, patience, seed, dtype)
        Training(data, batch_size, 0.0, patience, seed, dtype).run(1, progress=False)  # compiles what it runs
        start = time.perf_counter()
        with told_when_diverged():
            history = training.run(epochs)
        seconds = time.perf_counter() - start
        images, labels = data.test
        predicted = training.model.predict(images).argmax(axis=1)
        running = kernels().name

    _report(history, predicted == labels, seconds, len(history.loss) * len(training.loader), f"{running}, {dtype}")
    if plot:
        from ..training.plot_digits import draw_digits  # matplotlib is an extra

        figure = draw_digits(images.reshape(-1, 8, 8), labels, predicted, history)
        with refused():
            figure.savefig(plot)
        click.echo(f"picture             {plot}")
    training.save(save_path, history)


def _report(history: History, right: np.ndarray, seconds: float, steps: int, backend: str) -> None:
    """Print what was reached, how fast, and by what."""
    click.echo(f"accuracy            {right.mean():.4f}  ({right.sum()} of {len(right)} test digits)")
    if history.best_epoch is not None:
        best, epochs = history.best_epoch, len(history.loss)
        loss = history.validation_loss[best]
        click.echo(
            f"validation loss     {loss:.6f}  (epoch {best + 1} of {epochs}, the best, whose parameters are kept)"
        )
    click.echo(f"training            {seconds:.3f} s, {steps} steps, {steps / seconds:.0f} steps/s")
    click.echo(f"backend             {backend}")
