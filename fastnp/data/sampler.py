"""In which order, and how many at a time, samples are drawn."""

from collections.abc import Iterator
from typing import Any, ClassVar

import numpy as np

from ..checks import check_flag, check_generator, check_positive_integer, generator, shown
from ..overrides import Checks, Watched


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
