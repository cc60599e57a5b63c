"""Batches of a data set."""

from collections.abc import Callable, Iterable, Iterator, Sequence, Sized
from itertools import chain
from typing import Any, ClassVar

import numpy as np

from ..arrays import positions
from ..checks import check_flag, shown
from ..overrides import Checks, Watched, definer, is_newer, is_plain
from .dataset import ArrayDataset
from .sampler import BatchSampler

CONVERTED = 4096  # indices, at a time
CHUNK_BYTES = 1 << 19  # of rows that are taken together, or those of one batch where these are more

Batch = tuple[np.ndarray, ...]


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
        chunk: whether the rows of an `ArrayDataset` are taken for many batches at once, up to 512 KB. What is
            assigned to it, or written into it, during an iteration is then seen a chunk later; with False, in the next
            batch. Any other data set is asked batch by batch.
    """

    _checks: ClassVar[Checks] = {"dataset": _check_dataset, "sampler": _check_sampler, "chunk": check_flag}
    chunk = True

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
        chunk: bool = True,
    ):
        if not callable(sampler):
            raise TypeError(f"DataLoader: sampler must be a class such as BatchSampler, got {shown(sampler)}")
        reshuffle = check_flag(type(self).__name__, "reshuffle", reshuffle)
        extra = ({"reshuffle": reshuffle} if reshuffle else {}) | ({} if rng is None else {"rng": rng})
        self.dataset = dataset
        self.sampler = sampler(dataset, shuffle, batch_size, drop_last, **extra)
        if not check_flag(type(self).__name__, "chunk", chunk):  # a subclass may mean something else by that name
            self.chunk = False

    def __len__(self) -> int:
        return len(self.sampler)

    def __call__(self) -> Iterator[Batch]:
        return iter(self)

    def __iter__(self) -> Iterator[Batch]:
        return chain.from_iterable(self._parts())  # in C: no frame of Python's for each batch of a chunk

    def _parts(self) -> Iterator[Iterable[Batch]]:
        """The batches, some at a time; nothing is asked before the first."""
        dataset, batches = self.dataset, self.sampler
        in_order = is_plain(batches, BatchSampler)
        if in_order and len(dataset) != batches._rows:
            batches.check_reach(len(dataset))
        whole_batch = whole_batch_of(dataset)
        if in_order and self.chunk is True and whole_batch is not None and is_plain(dataset, ArrayDataset):
            yield from _chunks(dataset, whole_batch, batches)
            return
        if whole_batch is None:
            yield _of_samples(dataset, chain.from_iterable(_lists(batches)) if in_order else map(_plain, batches))
            return
        if type(batches) is not BatchSampler and isinstance(dataset, ArrayDataset):
            batches = (positions(indices, "the sampler") for indices in batches)
        yield _of_whole(whole_batch, batches)

    def __repr__(self) -> str:
        dataset, sampler = (getattr(self, name, None) for name in ("dataset", "sampler"))
        size = f"{len(sampler)} batches of " if isinstance(sampler, Sized) else ""
        return f"{type(self).__name__}({dataset!r}, {size}{sampler!r})"


def _chunks(dataset: ArrayDataset, take: Callable[[Any], Any], sampler: BatchSampler) -> Iterator[Iterable[Batch]]:
    """Batches in the order of a sampler, as many at a time as a chunk has; each is a part of it."""
    order, size = sampler.next_order(), sampler.batch_size
    order = order[: len(sampler) * size]
    start, whole = 0, len(order) - len(order) % size
    while start < whole:
        arrays = dataset.X, dataset.Y, dataset.weight
        batch_bytes = size * sum(array[:1].nbytes for array in arrays if array is not None)
        stop = min(start + max(1, CHUNK_BYTES // max(1, batch_bytes)) * size, whole)
        try:
            batches = [_cut(rows, size) for rows in take(order[start:stop])]
        except (IndexError, MemoryError):  # of a batch whose turn may not have come
            break
        yield zip(*batches, strict=True)
        start = stop
    yield (take(order[i : i + size]) for i in range(start, len(order), size))


def _cut(rows: np.ndarray, size: int) -> np.ndarray:
    """Rows as a series of batches of this size."""
    return rows.reshape(len(rows) // size, size, *rows.shape[1:])


def _of_samples(dataset: Any, batches: Iterable[Sequence[Any]]) -> Iterator[Batch]:
    """Each batch when it is asked for, sample by sample."""
    for indices in batches:
        yield _stack([dataset[i] for i in indices], indices)


def _of_whole(whole_batch: Callable[[Any], Any], batches: Iterable[Any]) -> Iterator[Batch]:
    """Each batch when it is asked for, as a whole."""
    for indices in batches:
        batch = whole_batch(indices)
        yield batch if isinstance(batch, tuple) else _stack(batch, indices)


def _lists(sampler: BatchSampler) -> Iterator[list[list[int]]]:
    """What a sampler gives, as Python's own numbers, some batches at a time."""
    order, size = sampler.next_order(), sampler.batch_size
    order = order[: len(sampler) * size]
    step, whole = max(1, CONVERTED // size) * size, len(order) - len(order) % size
    for start in range(0, whole, step):
        yield order[start : min(start + step, whole)].reshape(-1, size).tolist()
    if whole < len(order):
        yield [order[whole:].tolist()]


def whole_batch_of(dataset: Any) -> Callable[[Any], Any] | None:
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


def _stack(samples: Sequence[Any], indices: Any) -> Batch:
    """Samples (data, label) or (data, label, weight) as arrays with one row for each."""
    try:
        columns = [*zip(*samples, strict=True)]
    except (TypeError, ValueError):
        columns = []
    if not 2 <= len(columns) <= 3:
        raise ValueError(
            "the data set gave something else than pairs (data, label), or triples (data, label, weight), for the "
            f"indices {list(indices)}"
        )
    try:
        if len(columns) == 2:
            return np.array(columns[0]), np.array(columns[1])
        return (*map(np.array, columns),)
    except ValueError:
        return tuple([_stack_one(*of, indices) for of in zip(columns, ("data", "labels", "weights"), strict=False)])


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
