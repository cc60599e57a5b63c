"""`save` and `load`: models in files, with what trains them, and back."""

import importlib
from collections.abc import Callable
from functools import cache
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as version_of
from typing import Any

from ..checks import check_flag, shown
from .architecture import built, check_alike, described, fill, parameters_of
from .container import Container, opened, told_of, write
from .generators import into_global, noted_global
from .order import into_loader, noted_loader
from .plain import Tensors, tensors_named
from .records import into_history, into_settings, noted_history, noted_settings
from .training import give, into_optimizer, noted_optimizer, noted_progress, read_progress, running

OF_TRAINING = {"optimizer", "dataloader", "history", "early_stopping", "loss_fn", "numpy", "run"}
PARTS = {"format", "version", "model", "estimator"} | OF_TRAINING


@cache
def _version() -> str:
    try:
        return version_of("fastnp")
    except PackageNotFoundError:  # a checkout that was never installed
        return "0+unknown"


def save(
    path: Any,
    model: Any,
    *,
    optimizer: Any = None,
    dataloader: Any = None,
    history: Any = None,
    early_stopping: Any = None,
    loss_fn: Any = None,
) -> None:
    """Write a model into a file, a safetensors file, with as much of its training as is given.

    The file has the parameters under the names that PyTorch gives them ("0.weight" as (out, in), "0.bias"), and what
    the layers are, in words; there is no code in it. It is written beside the one that is there, and takes its place
    when it is whole and on the disk: after a crash, an error or Ctrl-C that one is there as it was.

    Args:
        path: of the file; by habit it ends in ".safetensors".
        model: a `Sequential`, or any other layer, of fastnp's own layers; or an estimator of `fastnp.estimators`.
        optimizer: its settings, what it keeps of each parameter, `updates`, and its schedule, if that is one of
            `fastnp.schedules`. Of one of your own the attributes that are numbers, text, arrays, or lists and
            dictionaries of such.
        dataloader: the order of its samples, and the state of its `rng`; nothing of a data set, sampler or loader of
            your own.
        history: a `History`.
        early_stopping: the settings of an `EarlyStopping`.
        loss_fn: its name, for `fastnp info` to tell.

    With any of these, the state of NumPy's global generator is kept, too; and in a callback of `fit`, how far the run
    of this optimizer is. `fit(…, checkpoint=path)` does so by itself. Not kept: gradients, the last input and output of
    layers, attributes that you gave them, what the optimizer of an estimator keeps, by which `partial_fit` would go on,
    and where in an epoch a loop of yours is: save between epochs.

    Raises TypeError for what a file cannot hold, by name, OSError where it cannot be written.
    """
    tensors: Tensors = {}
    notes = noted_all(model, tensors, optimizer, dataloader, history, early_stopping, loss_fn)
    write(path, tensors, notes)


def noted_all(
    model: Any, tensors: Tensors, optimizer: Any, dataloader: Any, history: Any, early_stopping: Any, loss_fn: Any
) -> dict[str, Any]:
    """All that `save` writes: notes, and tensors into `tensors`. Raises TypeError for what a file cannot hold."""
    notes: dict[str, Any] = {"version": _version()}
    if hasattr(type(model), "_noted"):
        if (optimizer, dataloader, history, early_stopping, loss_fn) != (None,) * 5:
            raise TypeError("save: an estimator is saved by itself, without optimizer=, dataloader= and the like")
        return notes | {"estimator": model._noted(tensors)}
    notes["model"] = described(model)
    for parameter in parameters_of(model):
        tensors[parameter.name] = parameter.as_in_file()
    if optimizer is not None:
        notes["optimizer"] = noted_optimizer(model, optimizer, tensors)
    if dataloader is not None:
        notes["dataloader"] = noted_loader(dataloader, tensors)
    if history is not None:
        notes["history"] = noted_history(history, tensors)
    if early_stopping is not None:
        notes["early_stopping"] = noted_settings(early_stopping)
    if len(notes) > 2:
        notes["numpy"] = noted_global(tensors)
    if loss_fn is not None:
        notes["loss_fn"] = type(loss_fn).__name__
    run = running.get(id(optimizer))
    if run is not None:
        notes["run"] = noted_progress(model, optimizer, run(), tensors)
    return notes


def load(
    path: Any,
    *,
    model: Any = None,
    optimizer: Any = None,
    dataloader: Any = None,
    history: Any = None,
    early_stopping: Any = None,
    restore_global_rng: bool = False,
) -> Any:
    """The model that `save` wrote, with the same bits; and what trains it is brought to where it was.

    Args:
        path: of the file. Nothing in it is executed, and no memory is taken for what it claims and does not have.
        model: one to fill, built as the one in the file, in place of a new one.
        optimizer, dataloader, history, early_stopping: those to fill, made as those that were saved. An optimizer has
            to hold the parameters of `model`; without a `model` it is given those of the new one, by `bind`. Settings
            are those of the file; for others assign them afterwards.
        restore_global_rng: whether NumPy's global generator goes on from where it was.

    An optimizer that was saved in the course of a run of `fit`, as a checkpoint is, makes the next `fit` go on with
    that run: its `epochs` count from the start of the run, and it comes to the bits of the run that was not broken off,
    early stopping with its best epoch included. A run that had ended has nothing left to do. What is not restored: data
    sets, samplers and loaders of your own, losses, the generator of a loader of validation data, learning rates by a
    function of your own, which the optimizer has to have already, and what `save` does not keep.

    Returns the model, or the estimator. Raises BadFileError, a ValueError, for a file that is not whole, has something
    in it that this version does not know, or does not fit what is to be filled, none of which is then changed; OSError
    for one that cannot be read; ImportError without safetensors (extra `io`).
    """
    given = {"optimizer": optimizer, "dataloader": dataloader, "history": history, "early_stopping": early_stopping}
    wanted = {name: value for name, value in given.items() if value is not None}
    if check_flag("load", "restore_global_rng", restore_global_rng):
        wanted["numpy"] = None
    with opened(path) as container, told_of(container):
        _check_parts(container, wanted)
        if "estimator" in container.notes:
            if model is not None:
                raise container.fault("holds an estimator, which load returns; it fills no model")
            return _estimator(container)
        new = built(container, container.notes.get("model"))
        check_tensors(container, {parameter.name for parameter in parameters_of(new)})
        if model is not None:
            check_alike(container, model, new)
        fills = _fills(container, wanted, new, model)
    if model is not None:
        fill(model, new)
    for each in fills:
        each()
    return new if model is None else model


def _check_parts(container: Container, wanted: dict[str, Any]) -> None:
    """Raise BadFileError where a file lacks a part that is wanted, or has one that is not known."""
    odd = container.notes.keys() - PARTS
    if odd:
        raise container.fault(f"has {shown(min(odd))} in it, which this version of fastnp does not know")
    for name in wanted:
        if name not in container.notes:
            what = "state of NumPy's global generator" if name == "numpy" else name
            raise container.fault(f"has no {what} in it; `save` was given none")


def check_tensors(container: Container, of_model: set[str]) -> None:
    """Raise BadFileError for a tensor that nothing in the notes speaks of."""
    known = of_model | set(tensors_named({name: note for name, note in container.notes.items() if name != "model"}))
    more = container.shapes.keys() - known
    if more:
        raise container.fault(f"has a tensor too many, {shown(min(more))}, which belongs to nothing in it")
    for name in known:
        container.check(name)


def _estimator(container: Container) -> Any:
    """The estimator in a file: its room is above this one, and needs scikit-learn."""
    return importlib.import_module("fastnp.estimators").estimator_of(container)


def _fills(container: Container, wanted: dict[str, Any], new: Any, model: Any) -> list[Callable[[], None]]:
    """What fills all that is wanted, once all of it has turned out to be there."""
    into = {"dataloader": into_loader, "history": into_history, "early_stopping": into_settings}
    notes = container.notes
    fills = [make(container, notes[name], wanted[name]) for name, make in into.items() if name in wanted]
    if "numpy" in wanted:
        fills.append(into_global(container, notes["numpy"]))
    if "optimizer" in wanted:
        fills.append(_into_optimizer(container, new, model, wanted["optimizer"]))
    return fills


def _into_optimizer(container: Container, new: Any, model: Any, optimizer: Any) -> Callable[[], None]:
    """What fills an optimizer, and lets its next run go on."""
    notes, before = container.notes, list(optimizer.parameters)
    try:
        if model is None:
            _bind(container, new, optimizer)
        fill_it = into_optimizer(container, notes["optimizer"], new if model is None else model, optimizer)
        progress = None
        if "run" in notes:
            progress = read_progress(container, notes["run"], new if model is None else model, optimizer)
            progress.history = None if "history" not in notes else into_history(container, notes["history"], None)
    except BaseException:
        if model is None:
            optimizer.bind(before)
        raise

    def fill_all() -> None:
        fill_it()
        give(optimizer, progress)

    return fill_all


def _bind(container: Container, new: Any, optimizer: Any) -> None:
    named = {parameter.name: parameter.tensor for parameter in parameters_of(new)}
    names = container.notes["optimizer"].get("parameters") if isinstance(container.notes["optimizer"], dict) else None
    if not isinstance(names, list) or len(names) != len(optimizer.parameters):
        raise container.fault("the optimizer held another number of parameters than that to fill")
    pairs = zip(names, optimizer.parameters, strict=True)
    try:
        optimizer.bind([named.get(name, tensor) for name, tensor in pairs])
    except (TypeError, ValueError, AttributeError) as error:
        raise container.fault(f"the optimizer cannot be given the parameters of the file: {error}") from error
