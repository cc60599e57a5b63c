"""What `fit` is given, checked before anything is changed."""

from typing import Any

from ..checks import check_integer, shown
from ..data.dataset import ArrayDataset, Dataset
from ..data.loader import DataLoader
from ..data.sampler import BatchSampler
from ..layers.built_in import BuiltIn
from ..layers.sequential import Sequential
from ..losses.built_in import BuiltInLoss
from ..overrides import is_own, is_plain
from ..tensor import Tensor
from .batches import check_batches
from .early_stopping import EarlyStopping
from .history import History
from .targets import check_rows, rows_of


def check_arguments(model: Any, loss_fn: Any, optimizer: Any, dataloader: Any, epochs: Any) -> list[Tensor]:
    """Refuse what cannot be trained; returns the parameters of the model that the optimizer holds."""
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
    of_optimizer = {id(tensor) for tensor in optimizer.parameters}
    held = [tensor for tensor in parameters if id(tensor) in of_optimizer]
    if not held:
        raise ValueError(
            "fit: the optimizer holds none of the model's parameters, training would change nothing; "
            "make it with parameters=model.parameters(), or bind(model.parameters()) one that was copied alone"
        )
    _check_last_layer(model, loss_fn)
    rows = rows_of(dataloader)
    if rows is not None:
        check_rows(model, loss_fn, rows, dataloader.sampler.batch_size)
    return held


def _check_last_layer(model: Any, loss_fn: Any) -> None:
    """Refuse a model that ends in what the loss does itself: it would be done twice."""
    if not isinstance(model, Sequential) or not isinstance(loss_fn, BuiltInLoss):
        return
    last = model._layers_run()[-1:]
    if last and isinstance(last[0], BuiltIn) and last[0]._kernel_kind.name == loss_fn._does_itself:
        raise ValueError(
            f"fit: the model ends in {last[0]!r}, which {loss_fn.name} does itself, for it takes logits; "
            "leave that layer out, and apply it to what predict returns"
        )


def check_listeners(history: Any, callback: Any, early_stopping: Any, validation: Any) -> None:
    """Refuse what cannot be told of each epoch, or stop by what is told; None is nobody."""
    if history is not None and not isinstance(history, History):
        raise TypeError(f"fit: history must be a History, got {shown(history)}")
    if callback is not None and not callable(callback):
        raise TypeError(f"fit: callback must be callable with (epoch, loss), got {shown(callback)}")
    if early_stopping is None:
        return
    if not isinstance(early_stopping, EarlyStopping):
        raise TypeError(f"fit: early_stopping must be an EarlyStopping, got {shown(early_stopping)}")
    if early_stopping.monitor == "validation_loss" and validation is None:
        raise ValueError(
            "fit: early_stopping monitors the validation_loss, but there is no validation data; give "
            "validation=(X, Y), or EarlyStopping(monitor='loss')"
        )


def _check_data(dataloader: Any) -> None:
    """Refuse what is no loader, has no batches, or asks for rows that are not there."""
    expected = "a DataLoader, such as DataLoader(ArrayDataset(X, Y), batch_size=32), or iterable with a length"
    if isinstance(dataloader, Dataset) or not hasattr(dataloader, "__len__"):
        raise TypeError(f"fit: dataloader must be {expected}, got {shown(dataloader)}")
    check_batches("dataloader", dataloader, expected)
    if not isinstance(dataloader, DataLoader) or not is_plain(dataloader.sampler, BatchSampler):
        return
    dataset = dataloader.dataset
    by_row = isinstance(dataset, ArrayDataset) and is_own(dataset, ArrayDataset, "__getitem__", "__getitems__")
    dataloader.sampler.check_reach(ArrayDataset.__len__(dataset) if by_row else len(dataset))
