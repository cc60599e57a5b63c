"""`fit`: a whole training run, with progress, validation, early stopping, callbacks and a history."""

import math
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any

import numpy as np

from ..checks import check_flag
from ..layers.sequential import Sequential
from ..optimizers.optimizer import Optimizer
from ..tensor import Tensor
from .ahead import Ahead
from .checkpoints import Checkpoints
from .checks import check_arguments, check_listeners
from .compiled import CompiledRun
from .early_stopping import EarlyStopping
from .epoch import Epoch, Parts
from .finite import are_finite, check_result
from .history import History
from .interrupts import held_back
from .progress import progress_bar
from .targets import check_targets, rows_of
from .trainable import gives_of_its_own, is_of_kernels, trainable
from .validation import Validation
from .watching import Watch


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
    early_stopping: EarlyStopping | None = None,
    history: History | None = None,
    stage: bool = True,
    checkpoint: Any = None,
    every: int = 1,
) -> History:
    """Train `model` for `epochs` passes over `dataloader`, as this loop does, to the same bits:

        for x, y in dataloader:  # or x, y, weight, and loss_fn(pred, y, weight)
            pred = model(x); loss = loss_fn(pred, y)
            model.backward(loss_fn.backward()); optimizer.step(); optimizer.clear_grad()

    Where model, loss and optimizer are fastnp's own (a `Sequential` of its layers, with no method redefined), a kernel
    trains on what a plain `DataLoader` gives: over an `ArrayDataset`, many epochs in one call, with validation on such
    data and early stopping in it, or one, with a callback or validation on other data; over a data set of your own, as
    many batches as take 20 ms and 512 KB. Else the loop runs. Gradients that the optimizer does not hold are cleared.

    Args:
        progress: show a bar on stderr where that is a terminal, or in a notebook.
        callback: called with (epoch, loss) after each epoch, from 0; it may change settings, and return True to stop.
        validation: (X, Y), (X, Y, weight) or a loader, whose loss is taken after every epoch by `predict`. Batches of
            a loader count by what their rows weigh (with reduction 'sum' they are added): it is the loss of all.
        early_stopping: an `EarlyStopping`, which stops a training that gets no better and restores the best epoch.
        history: a `History` to append to; it keeps what it has when an exception ends the run.
        stage: whether a data set of your own may be asked ahead; not if it looks at what is trained, or changes it.
        checkpoint: a file to `save` all in, after every `every` epochs and at the end; where all is made as ever, and
            `load(checkpoint, model=…, optimizer=…, dataloader=…)` has filled it, `fit` goes on, with as many `epochs`.

    Returns the history. Raises DivergedError, before the batch changes a parameter, when a loss is not finite, and at
    the end where parameters are not that were when it began; ValueError, TypeError or OSError, before anything is
    changed, for what cannot be trained, validated, stopped by or saved. Ctrl-C leaves the model whole, as after the
    last completed update. Then, and after DivergedError, what was asked ahead may be lost, with what it drew.
    """
    held_ones = check_arguments(model, loss_fn, optimizer, dataloader, epochs)
    check_listeners(history, callback, early_stopping, validation)
    validated = None if validation is None else Validation(model, loss_fn, validation)
    watch = Watch(model, optimizer, history or History(), validated, early_stopping)
    parts, stage = Parts(model, loss_fn, optimizer, dataloader), check_flag("fit", "stage", stage)
    with Checkpoints(checkpoint, every, parts, epochs, early_stopping, watch) as checkpoints:
        return _run(parts, epochs, progress, callback, watch, held_ones, stage, checkpoints)


def _run(
    parts: Parts,
    epochs: int,
    progress: bool,
    callback: Callable[[int, float], Any] | None,
    watch: Watch,
    held_ones: list[Tensor],
    stage: bool,
    checkpoints: Checkpoints,
) -> History:
    """`fit`, of what has been checked; `held_ones` are the parameters of the model that the optimizer holds."""
    if isinstance(parts.model, Sequential):
        parts.model.warn_of_newcomers()
    finite, history = are_finite(held_ones), watch.history
    history._begin(watch.validation is not None, checkpoints.goes_on)
    with progress_bar(epochs, progress, checkpoints.start) as bar, held_back() as held:
        ahead = Ahead(held, looks=callback is not None or not watch.sees_nothing)
        steps = _epochs(parts, epochs, callback is None, watch, held, ahead if stage else None, checkpoints)
        try:
            done = _followed(steps, history, bar, callback, checkpoints)
        finally:
            ahead.settle()
        with held:
            restored = watch.restore()
    if done and finite:
        epoch, loss = restored or (done - 1, (history.loss or [math.nan])[-1])  # which a callback may clear
        check_result(epoch, len(parts.dataloader) - 1, loss, held_ones)
    checkpoints.ends()
    return history


def _followed(
    steps: Iterator[int],
    history: History,
    bar: Any,
    callback: Callable[[int, float], Any] | None,
    checkpoints: Checkpoints,
) -> int:
    """Train on, and tell of each step, until all are done or the callback stops; returns how many epochs are done."""
    epoch = checkpoints.start
    for done in steps:
        loss = history.loss[-1]
        epoch += done
        checkpoints.counts(epoch)
        bar.set_postfix_str(f"loss {loss:.4g}", refresh=False)
        bar.update(done)
        answer = None if callback is None else callback(epoch - 1, loss)
        if isinstance(answer, (bool, np.bool_)) and answer:
            checkpoints.stopped = True
            break
        checkpoints.passes(epoch)
    return epoch


def _epochs(
    parts: Parts,
    epochs: int,
    freely: bool,
    watch: Watch,
    held: AbstractContextManager[None],
    ahead: Ahead | None,
    checkpoints: Checkpoints,
) -> Iterator[int]:
    """Train, until all epochs are done or the watch stops it; add them to the history and give their number.

    One epoch at a time, or several where that goes `freely`, and the kernel can keep the watch.
    """
    run: CompiledRun | None = None
    epoch = checkpoints.start
    while epoch < epochs and not watch.stops and not checkpoints.stopped:
        # Asked anew each time: a callback may have changed anything.
        found = trainable(*parts)
        if found is None:
            _one_epoch(Epoch(parts, epoch, watch.history, held), ahead)
            done, error, is_watched = 1, None, False
        else:
            if run is None or not run.is_for(found, parts.dataloader):
                watched = None if watch.sees_nothing or not freely else watch
                run = CompiledRun(found, parts.loss_fn, parts.optimizer, parts.dataloader, held, watched)
            is_watched = run.is_watched
            several = freely and (is_watched or watch.sees_nothing)
            at_once = min(epochs - epoch, checkpoints.until_next(epoch)) if several else 1
            rows = rows_of(parts.dataloader) if epoch and not several else None
            if rows is not None:  # somebody may have written into them
                check_targets(parts.model, parts.loss_fn, rows)
            done, error = run.epochs(epoch, at_once, watch.history)
        epoch += done
        if done:
            if not is_watched and not watch.sees_nothing:
                watch.follow(epoch - 1)
            yield done
        if error is not None:
            try:
                raise error
            finally:
                del error  # it holds this frame, and with it the model


def _one_epoch(epoch: Epoch, ahead: Ahead | None) -> None:
    """Train for one epoch: batch by batch, or `ahead`, where that may be and a kernel knows all but the data."""
    *trained, loader = epoch.parts
    if ahead is not None and gives_of_its_own(loader) and is_of_kernels(*trained):
        ahead.train(epoch)
        return
    for batch in loader:
        epoch.step(batch)
    epoch.end()
