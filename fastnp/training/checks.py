"""What `fit` is given, checked before anything is changed."""

import copy
from typing import Any

import numpy as np

from ..checks import check_integer, shown
from ..data.dataset import ArrayDataset, Dataset
from ..data.loader import DataLoader
from ..data.sampler import BatchSampler
from ..layers.sequential import Sequential
from ..overrides import is_own, is_plain
from ..program.op import kind_of
from ..tensor import Tensor
from .finite import check_finite
from .history import History


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
    if isinstance(dataloader, DataLoader) and is_plain(dataloader.dataset, ArrayDataset):
        X, Y = dataloader.dataset.X, dataloader.dataset.Y
        check_arrays(model, loss_fn, X, Y, ("X", "Y"), getattr(dataloader.sampler, "batch_size", 1))
    return held


def check_listeners(history: Any, callback: Any) -> None:
    """Refuse what cannot be told of each epoch; None is nobody."""
    if history is not None and not isinstance(history, History):
        raise TypeError(f"fit: history must be a History, got {shown(history)}")
    if callback is not None and not callable(callback):
        raise TypeError(f"fit: callback must be callable with (epoch, loss), got {shown(callback)}")


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


def check_arrays(model: Any, loss_fn: Any, X: np.ndarray, Y: np.ndarray, names: tuple[str, str], batch: int) -> None:
    """Refuse data that is not finite or, where that changes no state, does not fit the model."""
    dtype = model.parameters()[0].dtype
    check_finite(names[0], X, dtype)
    check_finite(names[1], Y, dtype)
    if is_plain(model, Sequential) and kind_of(loss_fn) is not None and model.whole_program() is not None:
        copy.copy(loss_fn)(model.predict(X[:batch]), Y[:batch])


def is_two_arrays(value: Any) -> bool:
    """Whether this is a pair (X, Y), as a tuple or a list, and not a list of two batches."""
    if not isinstance(value, (tuple, list)) or len(value) != 2:
        return False
    return isinstance(value, tuple) or not all(map(_is_batch, value))


def _is_batch(value: Any) -> bool:
    """Whether this can be nothing but a pair (x, y) of arrays."""
    if not isinstance(value, (tuple, list)):
        return not hasattr(value, "__len__")  # an object of the user's own that is unpacked
    return len(value) == 2 and (isinstance(value, tuple) or all(hasattr(item, "__array__") for item in value))


def check_batches(name: str, value: Any, expected: str) -> None:
    """Refuse what cannot be iterated for batches (x, y)."""
    numbers = hasattr(value, "__array__") or hasattr(value, "nnz")  # an array, a table, a sparse matrix
    if numbers or isinstance(value, (str, bytes, dict, set)) or not hasattr(value, "__iter__"):
        raise TypeError(f"fit: {name} must be {expected}, got {shown(value)}")
    if isinstance(value, (tuple, list)):
        for i, batch in enumerate(value):
            if isinstance(batch, (str, bytes, dict, set)) or (len(batch) if hasattr(batch, "__len__") else 2) != 2:
                got = f"a {type(value).__name__} of {len(value)}, item {i} of which is no pair (x, y)"
                raise TypeError(f"fit: {name} must be {expected}, got {got}")
    if hasattr(value, "__len__") and not len(value):
        hint = "; with drop_last=True it needs at least batch_size rows" if isinstance(value, DataLoader) else ""
        raise ValueError(f"fit: the {name} has no batches{hint}")
