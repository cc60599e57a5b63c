"""Data sets, and how batches are drawn from them."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from .arrays import real_array, take_rows
from .checks import check_generator, check_integer


class Dataset:
    """Base class: `dataset[idx]` is a pair (data, label), `len(dataset)` the number of pairs.

    A data set may also offer `__getitems__(indices)`, which gives a whole batch at once: a list of pairs,
    or a tuple (data, labels) of arrays that is the batch already.
    """

    def __getitem__(self, idx: Any) -> Any:
        raise NotImplementedError(f"{type(self).__name__} must define __getitem__(self, idx)")

    def __len__(self) -> int:
        raise NotImplementedError(f"{type(self).__name__} must define __len__(self)")


class ArrayDataset(Dataset):
    """The rows of two arrays, in pairs: `dataset[i]` is (X[i], Y[i]).

    Args:
        X, Y: arrays (or nested lists) of real numbers with as many rows. They are not copied: memory-mapped
            arrays may be larger than memory.

    Raises ValueError for different lengths, TypeError for what are not real numbers.
    """

    def __init__(self, X: Any, Y: Any):
        self.X, self.Y = real_array(X, "X"), real_array(Y, "Y")
        for name, array in ("X", self.X), ("Y", self.Y):
            if not array.ndim:
                raise ValueError(f"ArrayDataset: {name} is a single number; expected an array of rows")
        if len(self.X) != len(self.Y):
            raise ValueError(f"ArrayDataset: X has {len(self.X)} rows, Y {len(self.Y)}; they must be equal")

    def __getitem__(self, idx: Any) -> Any:
        return self.X[idx], self.Y[idx]

    def __getitems__(self, indices: Any) -> tuple[np.ndarray, np.ndarray]:
        return take_rows(self.X, indices), take_rows(self.Y, indices)

    def __len__(self) -> int:
        return len(self.X)


class BatchSampler:
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
        self.batch_size = check_integer("BatchSampler", "batch_size", batch_size, 1)
        check_generator("BatchSampler", rng)
        self.drop_last = drop_last
        self.reshuffle = reshuffle
        self.rng = rng
        self.indices = np.arange(len(dataset), dtype=np.int64)
        if shuffle:
            self._shuffle()

    def _shuffle(self) -> None:
        check_generator("BatchSampler", self.rng).shuffle(self.indices)

    def __len__(self) -> int:
        whole, rest = divmod(len(self.indices), self.batch_size)
        return whole + (rest > 0 and not self.drop_last)

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


class DataLoader:
    """Batches of a data set: iterating gives pairs (stacked data, stacked labels).

    Args:
        dataset: a `Dataset`, or anything with `__getitem__` and `__len__`.
        sampler: a class called with (dataset, shuffle, batch_size, drop_last), and with the keywords
            reshuffle and rng where those are set; its object is iterated for batches of indices.
        shuffle, batch_size, drop_last, reshuffle, rng: as for `BatchSampler`.
    """

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
        for method in "__getitem__", "__len__":
            if not hasattr(dataset, method):
                raise TypeError(f"DataLoader: dataset must have {method}, got {dataset!r}")
        if not callable(sampler):
            raise TypeError(f"DataLoader: sampler must be a class such as BatchSampler, got {sampler!r}")
        extra = ({"reshuffle": reshuffle} if reshuffle else {}) | ({} if rng is None else {"rng": rng})
        self.dataset = dataset
        self.sampler = sampler(dataset, shuffle, batch_size, drop_last, **extra)

    def __len__(self) -> int:
        return len(self.sampler)

    def __call__(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        return iter(self)

    def __iter__(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        whole_batch = getattr(self.dataset, "__getitems__", None)
        item = self.dataset.__getitem__
        for indices in self.sampler:
            if whole_batch is not None:
                batch = whole_batch(indices)
                yield batch if isinstance(batch, tuple) else _stack(batch, indices)
            else:
                plain = indices.tolist() if isinstance(indices, np.ndarray) else indices
                yield _stack([item(i) for i in plain], plain)


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
