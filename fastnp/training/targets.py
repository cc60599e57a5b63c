"""The rows that a training, or its validation, takes: do they fit, before anything is changed?"""

import copy
import math
from typing import Any, NamedTuple

import numpy as np

from ..data.dataset import ArrayDataset
from ..data.loader import DataLoader
from ..data.sampler import BatchSampler
from ..layers.layer import Layer
from ..layers.runs import output_width
from ..layers.sequential import Sequential
from ..losses.built_in import BuiltInLoss
from ..overrides import is_plain
from ..program.op import kind_of
from ..weights import check_weights
from .finite import CHECKED_NUMBERS, check_finite


class Rows(NamedTuple):
    """Arrays of as many rows, and which of these are taken, in which order; None for all. `of` is said before names."""

    X: np.ndarray
    Y: np.ndarray
    weight: np.ndarray | None
    of: str = ""
    taken: np.ndarray | None = None


def rows_of(loader: Any, of: str = "") -> Rows | None:
    """The rows that a loader takes, or None where that is not to be seen: its batches are what a method gives."""
    if not (isinstance(loader, DataLoader) and is_plain(loader, DataLoader)):
        return None
    data, sampler = loader.dataset, loader.sampler
    if not is_plain(data, ArrayDataset) or not is_plain(sampler, BatchSampler):
        return None
    ArrayDataset.__len__(data)  # which compares their lengths
    sampler.check_reach(len(data.X))
    taken = sampler.indices
    if sampler.drop_last and not sampler.reshuffle:  # else the rows left out are others each time
        taken = taken[: len(sampler) * sampler.batch_size]
    return Rows(data.X, data.Y, data.weight, of, taken)


def check_rows(model: Any, loss_fn: Any, rows: Rows, batch: int) -> None:
    """Refuse rows that are not finite, no targets of the loss or, where that changes no state, do not fit the model."""
    dtype = model.parameters()[0].dtype
    among = _among(rows)
    for name, array in ("X", rows.X), ("Y", rows.Y), ("weight", rows.weight):
        if array is not None:
            check_finite(f"{rows.of}{name}", array, dtype, among)
    check_targets(model, loss_fn, rows)
    if not is_plain(model, Sequential) or kind_of(loss_fn) is None or model.whole_program() is None:
        return
    first = slice(batch) if rows.taken is None else rows.taken[:batch]
    weight = [] if rows.weight is None else [rows.weight[first]]
    x = rows.X[first].astype(dtype)  # as the kernel takes it
    copy.copy(loss_fn)(model.predict(x), rows.Y[first], *weight)


def _among(rows: Rows) -> np.ndarray | None:
    """Which rows are taken, as booleans; None where all are."""
    if rows.taken is None:
        return None
    among = np.zeros(len(rows.X), bool)
    among[rows.taken] = True
    return None if among.all() else among


def check_targets(model: Any, loss_fn: Any, rows: Rows) -> None:
    """Refuse targets that the loss does not take, and weights that are negative or all 0."""
    takes_any = type(loss_fn)._check_target is BuiltInLoss._check_target if kind_of(loss_fn) else True
    if takes_any and rows.weight is None:
        return
    among = _among(rows)
    if rows.weight is not None:
        weight = rows.weight if among is None else np.where(among, rows.weight, 0)
        check_weights(f"fit: {rows.of}weight", weight, len(rows.X))
    width = None if takes_any else _width(model, loss_fn, rows.Y.shape)
    if width is None or loss_fn._columns(width, rows.Y.shape) is None:
        return
    step = max(1, CHECKED_NUMBERS // max(1, rows.Y[:1].size))
    for start in range(0, len(rows.Y), step):
        _check_piece(loss_fn, rows.Y[start : start + step], width, start, among)


def _check_piece(loss_fn: Any, target: np.ndarray, width: int, start: int, among: np.ndarray | None) -> None:
    if among is None:
        loss_fn._check_target(target, width, start)
        return
    taken = np.flatnonzero(among[start : start + len(target)])
    try:
        loss_fn._check_target(target[taken], width, start)
    except ValueError:
        for i in taken.tolist():  # the message shall name the row of the data
            loss_fn._check_target(target[i : i + 1], width, start + i)
        raise


def _width(model: Any, loss_fn: Any, shape: tuple[int, ...]) -> int | None:
    """How wide the predictions are, by the model, or else by the targets where these are as wide; None if not known."""
    width = output_width(model._layers_run()) if isinstance(model, Layer) else None
    columns = math.prod(shape[1:])
    return columns if width is None and not (loss_fn._takes_other_shapes and columns == 1) else width
