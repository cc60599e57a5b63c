"""From layers to the table of integers that kernels run, and the workspace that goes with it."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from .. import kernels as layout
from ..kernels import SCRATCH_ROW_BYTES, padded
from ..tensor import Tensor


class Op(NamedTuple):
    """One layer as a program sees it."""

    code: int  # LINEAR or RELU
    n_in: int
    n_out: int
    weights: Tensor | None = None
    bias: Tensor | None = None


def lower(ops: Sequence[Op], capacity: int, dtype: np.dtype) -> tuple[np.ndarray, int]:
    """The table of operations for up to `capacity` rows, and the size of the workspace that it needs.

    Scratch space comes first. Then, for every boundary between two operations, a padded buffer of
    activations and one of their gradients, both for `capacity` rows; ReLU works in place.
    """
    lds = [padded(n, dtype.itemsize) for n in [ops[0].n_in] + [op.n_out for op in ops]]
    offset = max(lds) * (SCRATCH_ROW_BYTES // dtype.itemsize)
    places: list[tuple[int, int]] = []
    for i, ld in enumerate(lds):
        if i and ops[i - 1].code == layout.RELU:
            places.append(places[-1])
        else:
            places.append((offset, offset + capacity * ld))
            offset += 2 * capacity * ld
    table = np.zeros((len(ops), layout.COLUMNS), np.int64)
    for i, op in enumerate(ops):
        (x, dx), (y, dy) = places[i : i + 2]
        table[i, : layout.WEIGHT] = op.code, op.n_in, op.n_out, lds[i], lds[i + 1], x, y, dx, dy
        if op.weights is not None and op.bias is not None:
            table[i, layout.WEIGHT] = op.weights._offset
            table[i, layout.BIAS] = op.bias._offset
    return table, offset
