"""What a loader may give: batches (x, y), or (x, y, weight)."""

from typing import Any

from ..checks import shown
from ..data.loader import DataLoader

EXPECTED = "(x, y) or (x, y, weight)"


def unpacked(batch: Any, number: int, of: str) -> tuple[Any, ...]:
    """A batch as a tuple of two or three. Raises ValueError for more or fewer, TypeError for what is none.

    The message says which it is: number so and so of something.
    """
    if type(batch) is tuple and 2 <= len(batch) <= 3:
        return batch
    try:
        parts = tuple(batch)
    except TypeError:
        raise TypeError(f"fit: batch {number} of {of} must be {EXPECTED}, got {shown(batch)}") from None
    if len(parts) not in (2, 3):
        raise ValueError(f"fit: batch {number} of {of} must be {EXPECTED}, got {len(parts)} elements")
    return parts


def is_arrays(value: Any) -> bool:
    """Whether this is (X, Y) or (X, Y, weight), as a tuple or a list, and not a list of two or three batches."""
    if not isinstance(value, (tuple, list)) or len(value) not in (2, 3):
        return False
    if isinstance(value, tuple) and len(value) == 2:
        return True
    return not all(map(_is_batch, value))


def _is_batch(value: Any) -> bool:
    """Whether this can be nothing but a batch of arrays."""
    if not isinstance(value, (tuple, list)):
        return not hasattr(value, "__len__")  # an object of the user's own that is unpacked
    return len(value) in (2, 3) and (isinstance(value, tuple) or all(hasattr(item, "__array__") for item in value))


def check_batches(name: str, value: Any, expected: str) -> None:
    """Refuse what cannot be iterated for batches."""
    numbers = hasattr(value, "__array__") or hasattr(value, "nnz")  # an array, a table, a sparse matrix
    if numbers or isinstance(value, (str, bytes, dict, set)) or not hasattr(value, "__iter__"):
        raise TypeError(f"fit: {name} must be {expected}, got {shown(value)}")
    if isinstance(value, (tuple, list)):
        for i, batch in enumerate(value):
            size = len(batch) if hasattr(batch, "__len__") else 2
            if isinstance(batch, (str, bytes, dict, set)) or size not in (2, 3):
                got = f"a {type(value).__name__} of {len(value)}, item {i} of which is not {EXPECTED}"
                raise TypeError(f"fit: {name} must be {expected}, got {got}")
    if hasattr(value, "__len__") and not len(value):
        hint = "; with drop_last=True it needs at least batch_size rows" if isinstance(value, DataLoader) else ""
        raise ValueError(f"fit: the {name} has no batches{hint}")
