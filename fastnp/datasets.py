"""The points that the tutorial fits: 2 sin(x) with noise, drawn here or read from files."""

from pathlib import Path

import numpy as np

from .arrays import real_array


def sin_curve(x: np.ndarray) -> np.ndarray:
    """The curve without noise, 2 sin(x), elementwise."""
    return 2 * np.sin(x)


def sin_data(n: int = 200, noise: float = 0.1, rng: np.random.Generator | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Points (x, y) with y = 2 sin(x) + e, x uniform in [-π, π) and e drawn from N(0, noise²).

    Args:
        n: how many points.
        noise: the standard deviation of e, not negative.
        rng: a numpy.random.Generator; by default NumPy's global one, which `np.random.seed(n)` fixes.

    Returns two float64 arrays of shape (n, 1).
    """
    draw = rng or np.random
    x = draw.uniform(-np.pi, np.pi, (n, 1))
    return x, sin_curve(x) + draw.normal(0.0, noise, (n, 1))


def read_column(path: Path) -> np.ndarray:
    """The numbers of an .npy file of shape (n,) or (n, 1), as float64 (n, 1).

    Raises OSError for a file that cannot be read, TypeError for what are not real numbers, ValueError for
    another format or shape, no numbers at all, and NaN or infinity.
    """
    with path.open("rb") as file:
        try:
            stored = np.lib.format.read_array(file, allow_pickle=False)
        except (ValueError, EOFError, MemoryError) as error:
            raise ValueError(f"{path} is not an .npy file of numbers: {error}") from None
    array = real_array(stored, str(path))
    if array.ndim != 1 and (array.ndim != 2 or array.shape[1] != 1):
        raise ValueError(f"{path} has shape {array.shape}; expected (n,) or (n, 1)")
    if not array.size:
        raise ValueError(f"{path} is empty; expected at least one number")
    column = array.astype(np.float64).reshape(-1, 1)
    finite = np.isfinite(column[:, 0])
    if not finite.all():
        first = int(np.argmin(finite))
        raise ValueError(f"{path} has {column[first, 0]} at position {first}; expected finite numbers")
    return column


def read_points(x_path: Path, y_path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Points (x, y) from two .npy files with as many numbers: two float64 arrays of shape (n, 1).

    Raises as `read_column` does, and ValueError for different lengths.
    """
    x, y = read_column(x_path), read_column(y_path)
    if len(x) != len(y):
        raise ValueError(f"{x_path} has {len(x)} numbers, {y_path} {len(y)}; they must be equal")
    return x, y
