"""`fit`: a whole training run, with progress, validation, callbacks and a history."""

import copy
import math
import sys
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from tqdm import tqdm

from .arrays import real_array
from .checks import check_integer
from .compiled import CompiledRun, trainable
from .data import ArrayDataset, DataLoader
from .errors import DivergedError
from .history import History
from .interrupts import held_back
from .losses import MSE
from .optimizers import Optimizer
from .sequential import Sequential

CHECKED_ROWS = 1 << 16  # numbers that are looked at together when data is checked


def fit(
    model: Any,
    loss_fn: Any,
    optimizer: Optimizer,
    dataloader: Any,
    epochs: int,
    *,
    progress: bool = True,
    callback: Callable[[int, float], Any] | None = None,
    validation: Any = None,
    history: History | None = None,
) -> History:
    """Train `model` for `epochs` passes over `dataloader`, as this loop does, to the same bits:

        for x, y in dataloader:
            pred = model(x); loss = loss_fn(pred, y)
            model.backward(loss_fn.backward()); optimizer.step(); optimizer.clear_grad()

    Where model, loss and optimizer are fastnp's own (a `Sequential` of Linear and ReLU, MSE, SGD) and the
    data is an `ArrayDataset` in a plain `DataLoader`, whole epochs run in one kernel call; else the loop runs.

    Args:
        progress: show a progress bar on stderr where that is a terminal.
        callback: called with (epoch, loss) after every epoch, counted from 0. It may change
            `optimizer.learning_rate`, and stop the training by returning True.
        validation: (X, Y) or a loader, whose loss is taken after every epoch.
        history: a `History` to append to; it keeps what it has when an exception ends the run.

    Returns the history. Raises DivergedError, before the batch changes a parameter, when a loss is not
    finite; before anything is changed, ValueError or TypeError for epochs below 0, a loader without batches,
    a model without parameters or with none that the optimizer holds, and data that is not finite. Ctrl-C
    leaves the model whole, as after the last completed update.
    """
    _check(model, loss_fn, optimizer, dataloader, epochs)
    if history is not None and not isinstance(history, History):
        raise TypeError(f"fit: history must be a History, got {history!r}")
    if callback is not None and not callable(callback):
        raise TypeError(f"fit: callback must be callable with (epoch, loss), got {callback!r}")
    history = History() if history is None else history
    validate = None if validation is None else _validation(model, loss_fn, validation)
    at_once = epochs if callback is None and validate is None else 1
    epoch = 0
    silent = None if progress and sys.stderr is not None else True  # None: silent where there is no terminal
    with tqdm(total=epochs, unit=" epochs", disable=silent) as bar:
        for done in _epochs(model, loss_fn, optimizer, dataloader, epochs, at_once, history):
            loss = history.loss[-1]
            epoch += done
            bar.set_postfix_str(f"loss {loss:.4g}", refresh=False)
            bar.update(done)
            if validate is not None:
                history.validation_loss.append(validate())
            answer = None if callback is None else callback(epoch - 1, loss)
            if isinstance(answer, (bool, np.bool_)) and answer:
                break
    return history


def _epochs(
    model: Any, loss_fn: Any, optimizer: Any, dataloader: Any, epochs: int, at_once: int, history: History
) -> Iterator[int]:
    """Train one epoch, or up to `at_once`, at a time; add their mean losses to the history and give their number."""
    run: CompiledRun | None = None
    epoch = 0
    while epoch < epochs:
        # Asked anew each time: a callback may have changed anything.
        found = trainable(model, loss_fn, optimizer, dataloader)
        if found is None:
            _loop_epoch(model, loss_fn, optimizer, dataloader, epoch, history)
            done, error = 1, None
        else:
            if run is None or not run.is_for(*found, dataloader):
                run = CompiledRun(*found, loss_fn, optimizer, dataloader)
            done, error = run.epochs(epoch, min(at_once, epochs - epoch), history)
        epoch += done
        if done:
            yield done
        if error is not None:
            try:
                raise error
            finally:
                del error  # it holds this frame, and with it the model


def _loop_epoch(model: Any, loss_fn: Any, optimizer: Any, dataloader: Any, epoch: int, history: History) -> None:
    """One epoch of the loop as a user writes it; adds the mean loss over its batches to the history."""
    total, batches, recorded = 0.0, 0, False
    for x, y in dataloader:
        loss = float(np.mean(loss_fn(model(x), y)))
        if not math.isfinite(loss):
            raise DivergedError(epoch, batches, loss)
        with held_back():
            try:
                model.backward(loss_fn.backward())
                optimizer.step()
            finally:  # where a layer of the user's raises, too: the next batch shall not add to these
                optimizer.clear_grad()
            total += loss
            batches += 1
            if recorded:  # it gives more than its length says
                history.loss[-1] = total / batches
            elif batches == len(dataloader):
                history.loss.append(total / batches)
                recorded = True
    if not batches:
        raise ValueError(f"fit: {dataloader!r} gave no batches in epoch {epoch}; it must be iterable again and again")
    if not recorded:  # it gave fewer than its length says
        history.loss.append(total / batches)


def _validation(model: Any, loss_fn: Any, validation: Any) -> Callable[[], float]:
    """A function that takes the loss over the validation data, leaving `loss_fn` as it is."""
    predict = getattr(model, "predict", model)
    loss_fn = copy.copy(loss_fn)
    batches = validation
    if isinstance(validation, tuple):
        if len(validation) != 2:
            raise ValueError(f"fit: validation must be (X, Y) or a loader, got a tuple of {len(validation)}")
        X, Y = (real_array(array, f"validation {name}") for array, name in zip(validation, "XY", strict=True))
        if not X.ndim or not Y.ndim or not len(X) == len(Y) > 0:
            raise ValueError(f"fit: validation X and Y need as many rows, at least one; got {X.shape} and {Y.shape}")
        _check_arrays(model, loss_fn, X, Y, ("validation X", "validation Y"), 1)
        batches = [(X, Y)]
    elif not hasattr(validation, "__iter__") or iter(validation) is validation:
        raise TypeError(f"fit: validation must be a tuple (X, Y) or a loader, got {validation!r}")
    elif hasattr(validation, "__len__") and not len(validation):
        raise ValueError("fit: the validation loader has no batches")

    def validate() -> float:
        return float(np.mean([float(np.mean(loss_fn(predict(x), y))) for x, y in batches]))

    return validate


def _check(model: Any, loss_fn: Any, optimizer: Any, dataloader: Any, epochs: Any) -> None:
    check_integer("fit", "epochs", epochs, 0)
    for name, value, method in (
        ("model", model, "backward"),
        ("loss_fn", loss_fn, "backward"),
        ("optimizer", optimizer, "step"),
    ):
        if isinstance(value, type) or not hasattr(value, method):
            raise TypeError(f"fit: {name} must be an object with {method}(), got {value!r}")
    if isinstance(dataloader, np.ndarray) or not (hasattr(dataloader, "__iter__") and hasattr(dataloader, "__len__")):
        raise TypeError(f"fit: dataloader must be a DataLoader, or iterable with a length, got {dataloader!r}")
    if not len(dataloader):
        raise ValueError("fit: the dataloader has no batches; with drop_last=True it needs at least batch_size rows")
    parameters = model.parameters()
    if not parameters:
        raise ValueError("fit: the model has no parameters; there is nothing to train")
    held = {id(tensor) for tensor in optimizer.parameters}
    if not any(id(tensor) in held for tensor in parameters):
        raise ValueError(
            "fit: the optimizer holds none of the model's parameters, training would change nothing; "
            "make it with parameters=model.parameters()"
        )
    if isinstance(dataloader, DataLoader) and isinstance(dataloader.dataset, ArrayDataset):
        X, Y = dataloader.dataset.X, dataloader.dataset.Y
        _check_arrays(model, loss_fn, X, Y, ("X", "Y"), getattr(dataloader.sampler, "batch_size", 1))


def _check_arrays(model: Any, loss_fn: Any, X: np.ndarray, Y: np.ndarray, names: tuple[str, str], batch: int) -> None:
    """Refuse data that is not finite or, where that changes no state, does not fit the model."""
    dtype = model.parameters()[0].dtype
    _check_finite(names[0], X, dtype)
    _check_finite(names[1], Y, dtype)
    if type(model) is Sequential and type(loss_fn) is MSE and model.whole_program() is not None:
        copy.copy(loss_fn)(model.predict(X[:batch]), Y[:batch])


def _check_finite(name: str, array: np.ndarray, dtype: np.dtype) -> None:
    """Refuse data with NaN, infinity, or numbers that overflow the model's dtype."""
    if array.dtype.kind != "f":
        return
    rows = max(1, CHECKED_ROWS // max(1, array[:1].size))
    for start in range(0, len(array), rows):
        piece = array[start : start + rows]
        with np.errstate(over="ignore"):
            finite = np.isfinite(piece.astype(dtype, copy=False))
        if not finite.all():
            where = tuple(int(i) for i in np.argwhere(~finite)[0])
            position = (start + where[0], *where[1:])
            raise ValueError(
                f"fit: {name}{list(position)} is {piece[where]}, not a finite {dtype}; "
                "remove or replace such rows before training"
            )
