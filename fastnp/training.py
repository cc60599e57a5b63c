"""`fit`: a whole training run, with progress, validation, callbacks and a history."""

import copy
import math
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any

import numpy as np

from .arrays import real_array
from .checks import check_integer, shown
from .compiled import CompiledRun, trainable
from .data import ArrayDataset, BatchSampler, DataLoader, Dataset
from .finite import check_finite, check_result, diverged
from .history import History
from .interrupts import held_back
from .losses import MSE
from .optimizers import Optimizer
from .overrides import is_plain
from .progress import progress_bar
from .sequential import Sequential
from .tensor import Tensor


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

    Where model, loss and optimizer are fastnp's own (a `Sequential` of Linear and ReLU, MSE, SGD, with no
    method redefined) and the data is an `ArrayDataset` in a plain `DataLoader`, whole epochs run in one kernel
    call; else the loop runs. The gradients of parameters that the optimizer does not hold are cleared, too.

    Args:
        progress: show a progress bar on stderr where that is a terminal, or in a notebook.
        callback: called with (epoch, loss) after every epoch, counted from 0. It may change
            `optimizer.learning_rate`, and stop the training by returning True.
        validation: (X, Y) or a loader, whose loss is taken after every epoch. Over a loader the batches are
            weighted by their rows (with reduction 'sum' their losses are added), so that it is the loss of all.
        history: a `History` to append to; it keeps what it has when an exception ends the run.

    Returns the history. Raises DivergedError, before the batch changes a parameter, when a loss is not
    finite, and at the end where the last update left parameters that are not; before anything is changed,
    ValueError or TypeError for epochs below 0, a loader without batches, a model without parameters or with
    none that the optimizer holds, and data that is not finite. Ctrl-C leaves the model whole, as after the
    last completed update.
    """
    _check(model, loss_fn, optimizer, dataloader, epochs)
    if history is not None and not isinstance(history, History):
        raise TypeError(f"fit: history must be a History, got {shown(history)}")
    if callback is not None and not callable(callback):
        raise TypeError(f"fit: callback must be callable with (epoch, loss), got {shown(callback)}")
    history = History() if history is None else history
    validate = None if validation is None else _validation(model, loss_fn, validation)
    if isinstance(model, Sequential):
        model.warn_of_newcomers()
    at_once = epochs if callback is None and validate is None else 1
    epoch = 0
    with progress_bar(epochs, progress) as bar, held_back() as held:
        for done in _epochs(model, loss_fn, optimizer, dataloader, epochs, at_once, history, held):
            loss = history.loss[-1]
            epoch += done
            bar.set_postfix_str(f"loss {loss:.4g}", refresh=False)
            bar.update(done)
            if validate is not None:
                history.validation_loss.append(validate())
            answer = None if callback is None else callback(epoch - 1, loss)
            if isinstance(answer, (bool, np.bool_)) and answer:
                break
    if epoch:
        check_result(epoch - 1, len(dataloader) - 1, history.loss[-1], _held(model, optimizer))
    return history


def _epochs(
    model: Any,
    loss_fn: Any,
    optimizer: Any,
    dataloader: Any,
    epochs: int,
    at_once: int,
    history: History,
    held: AbstractContextManager[None],
) -> Iterator[int]:
    """Train one epoch, or up to `at_once`, at a time; add their mean losses to the history and give their number."""
    run: CompiledRun | None = None
    epoch = 0
    while epoch < epochs:
        # Asked anew each time: a callback may have changed anything.
        found = trainable(model, loss_fn, optimizer, dataloader)
        if found is None:
            _loop_epoch(model, loss_fn, optimizer, dataloader, epoch, history, held)
            done, error = 1, None
        else:
            if run is None or not run.is_for(*found, dataloader):
                run = CompiledRun(*found, loss_fn, optimizer, dataloader, held)
            done, error = run.epochs(epoch, min(at_once, epochs - epoch), history)
        epoch += done
        if done:
            yield done
        if error is not None:
            try:
                raise error
            finally:
                del error  # it holds this frame, and with it the model


def _loop_epoch(
    model: Any,
    loss_fn: Any,
    optimizer: Any,
    dataloader: Any,
    epoch: int,
    history: History,
    held: AbstractContextManager[None],
) -> None:
    """One epoch of the loop as a user writes it; adds the mean loss over its batches to the history."""
    total, batches, recorded = 0.0, 0, False
    others = _others(model, optimizer)
    for x, y in dataloader:
        loss = loss_fn(model(x), y)
        if type(loss) is not float:
            loss = float(np.mean(loss))
        if not math.isfinite(loss):
            raise diverged(epoch, batches, loss, x, y, model.parameters())
        with held:
            try:
                model.backward(loss_fn.backward())
                optimizer.step()
            finally:  # where a layer of the user's raises, too: the next batch shall not add to these
                optimizer.clear_grad()
                for tensor in others:
                    tensor.clear_grad()
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


def _held(model: Any, optimizer: Any) -> list[Tensor]:
    """The parameters of a model that the optimizer holds."""
    held = {id(tensor) for tensor in optimizer.parameters}
    return [tensor for tensor in model.parameters() if id(tensor) in held]


def _others(model: Any, optimizer: Any) -> list[Tensor]:
    """The parameters of a model that the optimizer does not hold, and so does not clear."""
    held = {id(tensor) for tensor in optimizer.parameters}
    return [tensor for tensor in model.parameters() if id(tensor) not in held]


def _validation(model: Any, loss_fn: Any, validation: Any) -> Callable[[], float]:
    """A function that takes the loss over the validation data, leaving `loss_fn` as it is."""
    loss_fn = copy.copy(loss_fn)
    batches = validation
    if _is_two_arrays(validation):
        X, Y = (real_array(array, f"validation {name}") for array, name in zip(validation, "XY", strict=True))
        if not X.ndim or not Y.ndim or not len(X) == len(Y) > 0:
            raise ValueError(f"fit: validation X and Y need as many rows, at least one; got {X.shape} and {Y.shape}")
        _check_arrays(model, loss_fn, X, Y, ("validation X", "validation Y"), 1)
        batches = [(X, Y)]
    else:
        _check_batches("validation", validation, "a tuple (X, Y) or a loader")

    def validate() -> float:
        predict = getattr(model, "predict", model)  # a callback may have replaced it
        losses, rows = [], []
        for x, y in batches:
            losses.append(float(np.mean(loss_fn(predict(x), y))))
            rows.append(len(y))
        if len(losses) == 1:
            return losses[0]
        if getattr(loss_fn, "reduction", None) == "sum":
            return float(np.sum(losses))
        return float(np.average(losses, weights=rows))

    return validate


def _is_two_arrays(value: Any) -> bool:
    """Whether this is a pair (X, Y), as a tuple or a list, and not a list of two batches."""
    if not isinstance(value, (tuple, list)) or len(value) != 2:
        return False
    return isinstance(value, tuple) or not all(isinstance(item, tuple) and len(item) == 2 for item in value)


def _check_batches(name: str, value: Any, expected: str) -> None:
    """Refuse what cannot be iterated, again and again, for batches (x, y)."""
    numbers = hasattr(value, "__array__") or hasattr(value, "nnz")  # an array, a table, a sparse matrix
    if (
        numbers
        or isinstance(value, (str, bytes, dict, set))
        or not hasattr(value, "__iter__")
        or hasattr(value, "__next__")
    ):
        raise TypeError(f"fit: {name} must be {expected}, got {shown(value)}")
    if isinstance(value, (tuple, list)):
        for i, batch in enumerate(value):
            if not (isinstance(batch, (tuple, list)) and len(batch) == 2):
                got = f"a {type(value).__name__} of {len(value)}, item {i} of which is no pair (x, y)"
                raise TypeError(f"fit: {name} must be {expected}, got {got}")
    if hasattr(value, "__len__") and not len(value):
        hint = "; with drop_last=True it needs at least batch_size rows" if isinstance(value, DataLoader) else ""
        raise ValueError(f"fit: the {name} has no batches{hint}")


def _check(model: Any, loss_fn: Any, optimizer: Any, dataloader: Any, epochs: Any) -> None:
    check_integer("fit", "epochs", epochs, 0)
    for name, value, method in (
        ("model", model, "backward"),
        ("loss_fn", loss_fn, "backward"),
        ("optimizer", optimizer, "step"),
    ):
        if isinstance(value, type) or not hasattr(value, method):
            raise TypeError(f"fit: {name} must be an object with {method}(), got {shown(value)}")
    _check_data(dataloader)
    parameters = model.parameters()
    if not parameters:
        raise ValueError("fit: the model has no parameters; there is nothing to train")
    if not _held(model, optimizer):
        raise ValueError(
            "fit: the optimizer holds none of the model's parameters, training would change nothing; "
            "make it with parameters=model.parameters(), or bind(model.parameters()) one that was copied alone"
        )
    if isinstance(dataloader, DataLoader) and is_plain(dataloader.dataset, ArrayDataset):
        X, Y = dataloader.dataset.X, dataloader.dataset.Y
        _check_arrays(model, loss_fn, X, Y, ("X", "Y"), getattr(dataloader.sampler, "batch_size", 1))


def _check_data(dataloader: Any) -> None:
    """Refuse what is no loader, has no batches, or asks for rows that are not there."""
    expected = "a DataLoader, such as DataLoader(ArrayDataset(X, Y), batch_size=32), or iterable with a length"
    if isinstance(dataloader, Dataset) or not hasattr(dataloader, "__len__"):
        raise TypeError(f"fit: dataloader must be {expected}, got {shown(dataloader)}")
    _check_batches("dataloader", dataloader, expected)
    if not isinstance(dataloader, DataLoader) or not is_plain(dataloader.sampler, BatchSampler):
        return
    dataloader.sampler.check_reach(len(dataloader.dataset))


def _check_arrays(model: Any, loss_fn: Any, X: np.ndarray, Y: np.ndarray, names: tuple[str, str], batch: int) -> None:
    """Refuse data that is not finite or, where that changes no state, does not fit the model."""
    dtype = model.parameters()[0].dtype
    check_finite(names[0], X, dtype)
    check_finite(names[1], Y, dtype)
    if is_plain(model, Sequential) and is_plain(loss_fn, MSE) and model.whole_program() is not None:
        copy.copy(loss_fn)(model.predict(X[:batch]), Y[:batch])
