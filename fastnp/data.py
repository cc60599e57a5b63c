"""Data sets, and how batches are drawn from them."""

from collections.abc import Callable, Iterator, Sequence, Sized
from typing import Any, ClassVar

import numpy as np

from .arrays import positions, real_array, take_rows
from .checks import check_flag, check_generator, check_positive_integer, generator, shown
from .overrides import Checks, Watched, definer, is_newer, is_plain


class Dataset(Watched):
    """Base class: `dataset[idx]` is a pair (data, label), `len(dataset)` the number of pairs.

    A data set may also offer `__getitems__(indices)`, which gives a whole batch at once: a list of pairs,
    or a tuple (data, labels) of arrays that is the batch already.
    """

    def __getitem__(self, idx: Any) -> Any:
        raise NotImplementedError(f"{type(self).__name__} must define __getitem__(self, idx)")

    def __len__(self) -> int:
        raise NotImplementedError(f"{type(self).__name__} must define __len__(self)")


def _check_rows(owner: str, name: str, value: Any) -> np.ndarray:
    array = real_array(value, name)
    if not array.ndim:
        raise ValueError(f"{owner}: {name} is a single number; expected an array of rows")
    return array


class ArrayDataset(Dataset):
    """The rows of two arrays, in pairs: `dataset[i]` is (X[i], Y[i]).

    Args:
        X, Y: arrays, tables or nested lists of real numbers with as many rows, taken by position. Arrays are
            not copied: memory-mapped ones may be larger than memory.

    Raises ValueError for different lengths, TypeError for what are not real numbers.
    """

    _checks: ClassVar[Checks] = {"X": _check_rows, "Y": _check_rows}

    def __init__(self, X: Any, Y: Any):
        self.X = X
        self.Y = Y
        ArrayDataset.__len__(self)  # a subclass may repeat the rows

    def __getitem__(self, idx: Any) -> Any:
        return self.X[idx], self.Y[idx]

    def __getitems__(self, indices: Any) -> tuple[np.ndarray, np.ndarray]:
        return take_rows(self.X, indices), take_rows(self.Y, indices)

    def __len__(self) -> int:
        if len(self.X) != len(self.Y):
            raise ValueError(f"{type(self).__name__}: X has {len(self.X)} rows, Y {len(self.Y)}; they must be equal")
        return len(self.X)

    def __repr__(self) -> str:
        return f"{type(self).__name__}(X {self.X.shape} {self.X.dtype}, Y {self.Y.shape} {self.Y.dtype})"


def _check_indices(owner: str, name: str, value: Any) -> np.ndarray:
    try:
        array = np.asarray(value)
    except ValueError:
        array = np.asarray(None)
    if array.ndim != 1 or (array.dtype.kind not in "iu" and array.size):
        raise TypeError(f"{owner}: {name} must be a list of integers, positions in the data set; got {shown(value)}")
    if array.size and array.min() < 0:
        raise ValueError(f"{owner}: {name} must not be negative; got {array.min()} at {int(array.argmin())}")
    return array.astype(np.int64)


class BatchSampler(Watched):
    """Cuts the indices of a data set into batches.

    Args:
        dataset: anything with a length.
        shuffle: whether the indices are put in random order once, now.
        batch_size: indices in a batch, at least 1.
        drop_last: whether a last batch that is shorter is left out.
        reshuffle: whether every iteration draws a new order.
        rng: a numpy.random.Generator to draw from; by default NumPy's global one, as `np.random.seed` fixes it.

    `indices` is the order, an int64 array; iterating gives consecutive pieces of it, as arrays.
    """

    _checks: ClassVar[Checks] = {
        "batch_size": check_positive_integer,
        "drop_last": check_flag,
        "reshuffle": check_flag,
        "rng": check_generator,
        "indices": _check_indices,
    }

    def __init__(
        self,
        dataset: Any = None,
        shuffle: bool = False,
        batch_size: int = 1,
        drop_last: bool = False,
        *,
        reshuffle: bool = False,
        rng: np.random.Generator | None = None,
    ):
        if not hasattr(dataset, "__len__"):
            raise TypeError(f"BatchSampler: dataset must have a length, got {dataset!r}")
        shuffle = check_flag(type(self).__name__, "shuffle", shuffle)
        self.batch_size = batch_size
        self.drop_last = drop_last
        self.reshuffle = reshuffle
        self.rng = rng
        self.indices = np.arange(len(dataset), dtype=np.int64)
        self._rows = len(dataset)
        if shuffle:
            self._shuffle()

    def _shuffle(self) -> None:
        generator(self.rng).shuffle(self.indices)

    def __len__(self) -> int:
        whole, rest = divmod(len(self.indices), self.batch_size)
        return whole + (rest > 0 and not self.drop_last)

    def check_reach(self, rows: int) -> None:
        """Raise ValueError where the indices reach beyond the rows of a data set that came later."""
        if len(self.indices) and self.indices.max() >= rows:
            raise ValueError(f"the sampler's indices reach {self.indices.max()}, but the data set has {rows} rows")

    def next_order(self) -> np.ndarray:
        """The order of the next iteration, in a new array; draws it where `reshuffle`."""
        if self.reshuffle:
            self._shuffle()
        return self.indices.copy()

    def state(self) -> tuple[Any, np.ndarray]:
        """The state of the generator, and the order: what `restore` takes."""
        drawn = self.rng.bit_generator.state if self.rng else np.random.get_state()
        return drawn, self.indices.copy()

    def restore(self, state: tuple[Any, np.ndarray]) -> None:
        """Go back to a `state`."""
        drawn, self.indices[:] = state
        if self.rng:
            self.rng.bit_generator.state = drawn
        else:
            np.random.set_state(drawn)

    def __iter__(self) -> Iterator[np.ndarray]:
        order, size = self.next_order(), self.batch_size
        for start in range(0, len(self) * size, size):
            yield order[start : start + size]

    def __repr__(self) -> str:
        options = [name for name in ("drop_last", "reshuffle") if getattr(self, name)]
        size = f"{len(self.indices)} rows in batches of {self.batch_size}"
        return f"{type(self).__name__}({', '.join([size, *options])})"


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
    """Batches of a data set: iterating gives pairs (stacked data, stacked labels).

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

    def __call__(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        return iter(self)

    def __iter__(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
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


def _stack(samples: Sequence[Any], indices: Any) -> tuple[np.ndarray, np.ndarray]:
    """Samples (data, label) as two arrays with one row for each."""
    try:
        data, labels = zip(*samples, strict=True)
    except (TypeError, ValueError):
        raise ValueError(
            f"the data set gave something else than pairs (data, label) for the indices {list(indices)}"
        ) from None
    return _stack_one(data, "data", indices), _stack_one(labels, "labels", indices)


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
