"""Batches of a data set."""

from collections.abc import Callable, Iterator, Sequence, Sized
from typing import Any, ClassVar

import numpy as np

from ..arrays import positions
from ..checks import check_flag, shown
from ..overrides import Checks, Watched, definer, is_newer, is_plain
from .dataset import ArrayDataset
from .sampler import BatchSampler


def _check_dataset(owner: str, name: str, value: Any) -> Any:
    for method in "__getitem__", "__len__":
        if isinstance(value, (type, str, bytes)) or not hasattr(value, method):
            raise TypeError(f"{owner}: {name} must have {method}, as a Dataset has; got {shown(value)}")
    return value


def _check_sampler(owner: str, name: str, value: Any) -> Any:
    numbers = isinstance(value, np.ndarray) and value.ndim < 2
    if numbers or isinstance(value, (type, str, bytes)) or not hasattr(value, "__iter__"):
        raise TypeError(f"{owner}: {name} must give batches of indices, as a BatchSampler does; got {shown(value)}")
    return value


class DataLoader(Watched):
    """Batches of a data set: iterating gives pairs (stacked data, stacked labels), and the weights, where it has any.

    Args:
        dataset: a `Dataset`, or anything with `__getitem__` and `__len__`.
        sampler: a class called with (dataset, shuffle, batch_size, drop_last), and with the keywords
            reshuffle and rng where those are set; its object is iterated for batches of indices.
        shuffle, batch_size, drop_last, reshuffle, rng: as for `BatchSampler`.
    """

    _checks: ClassVar[Checks] = {"dataset": _check_dataset, "sampler": _check_sampler}

    def __init__(
        self,
        dataset: Any,
        sampler: Callable[..., Any] = BatchSampler,
        shuffle: bool = False,
        batch_size: int = 1,
        drop_last: bool = False,
        *,
        reshuffle: bool = False,
        rng: np.random.Generator | None = None,
    ):
        if not callable(sampler):
            raise TypeError(f"DataLoader: sampler must be a class such as BatchSampler, got {shown(sampler)}")
        reshuffle = check_flag(type(self).__name__, "reshuffle", reshuffle)
        extra = ({"reshuffle": reshuffle} if reshuffle else {}) | ({} if rng is None else {"rng": rng})
        self.dataset = dataset
        self.sampler = sampler(dataset, shuffle, batch_size, drop_last, **extra)

    def __len__(self) -> int:
        return len(self.sampler)

    def __call__(self) -> Iterator[tuple[np.ndarray, ...]]:
        return iter(self)

    def __iter__(self) -> Iterator[tuple[np.ndarray, ...]]:
        dataset = self.dataset
        if is_plain(self.sampler, BatchSampler) and len(dataset) != self.sampler._rows:
            self.sampler.check_reach(len(dataset))
        whole_batch = _whole_batch(dataset)
        batches = self.sampler
        if type(batches) is not BatchSampler and isinstance(dataset, ArrayDataset) and whole_batch is not None:
            batches = (positions(indices, "the sampler") for indices in batches)
        for indices in batches:
            if whole_batch is not None:
                batch = whole_batch(indices)
                yield batch if isinstance(batch, tuple) else _stack(batch, indices)
            else:
                plain = _plain(indices)
                yield _stack([dataset[i] for i in plain], plain)

    def __repr__(self) -> str:
        dataset, sampler = (getattr(self, name, None) for name in ("dataset", "sampler"))
        size = f"{len(sampler)} batches of " if isinstance(sampler, Sized) else ""
        return f"{type(self).__name__}({dataset!r}, {size}{sampler!r})"


def _whole_batch(dataset: Any) -> Callable[[Any], Any] | None:
    """The `__getitems__` of a data set, unless a class more derived redefines the `__getitem__` that it stands for."""
    cls = type(dataset)
    if cls is ArrayDataset:
        return dataset.__getitems__
    if isinstance(dataset, Watched) and "__getitems__" in dataset._replaced:
        return dataset.__getitems__  # type: ignore[attr-defined]
    # Looked up on the class: an object that hands on to another what it lacks itself has no `__getitems__`.
    if definer(cls, "__getitems__") is None or is_newer(cls, "__getitem__", "__getitems__"):
        return None
    return dataset.__getitems__


def _plain(indices: Any) -> Sequence[Any]:
    """What a sampler gave, as a sequence of Python's own numbers."""
    if not isinstance(indices, np.ndarray):
        return indices if isinstance(indices, Sequence) else list(indices)
    if indices.dtype.kind == "b":
        raise TypeError("the sampler gave booleans; expected positions in the data set, as from np.flatnonzero")
    return indices.tolist()


def _stack(samples: Sequence[Any], indices: Any) -> tuple[np.ndarray, ...]:
    """Samples (data, label) or (data, label, weight) as arrays with one row for each."""
    try:
        data, labels, *weights = zip(*samples, strict=True)
        if len(weights) > 1:
            raise ValueError
    except (TypeError, ValueError):
        raise ValueError(
            "the data set gave something else than pairs (data, label), or triples (data, label, weight), for the "
            f"indices {list(indices)}"
        ) from None
    columns = zip(("data", "labels", "weights"), (data, labels, *weights), strict=False)
    return tuple([_stack_one(values, name, indices) for name, values in columns])


def _stack_one(values: Sequence[Any], name: str, indices: Any) -> np.ndarray:
    try:
        return np.array(values)
    except ValueError:
        shapes = [np.shape(value) for value in values]
        odd = next((i for i, shape in enumerate(shapes) if shape != shapes[0]), 0)
        raise ValueError(
            f"the {name} of a batch must have one shape: index {indices[0]} has {shapes[0]}, "
            f"index {indices[odd]} has {shapes[odd]}"
        ) from None
