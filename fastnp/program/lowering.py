"""From layers to the table that kernels run, and the workspace that goes with it."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..arena import Arena
from ..arrays import aligned_zeros
from ..kernels import SCRATCH_ROW_BYTES, padded
from ..kernels.blocks import ARENA_FLAGS, block_of_pass
from ..kernels.table import ROW, Row, as_integers, rows
from .op import NumbersAt, Op


def lower(ops: Sequence[Op], capacity: int, dtype: np.dtype) -> tuple[list[Row], int]:
    """The rows of a table of operations for up to `capacity` rows, and the size of the workspace that it needs.

    Scratch space comes first. Then, for every boundary between two operations, a padded buffer of activations and
    one of their gradients, both for `capacity` rows; behind those of its output, an operation's memory. One in place
    has one buffer of gradients, and one of activations where nobody asks for its input again: where that is not the
    program's, and neither it nor the one before needs it.
    """
    lds = [padded(n, dtype.itemsize) for n in [ops[0].n_in] + [op.n_out for op in ops]]
    end = max(lds) * (SCRATCH_ROW_BYTES // dtype.itemsize)
    x, dx, end = end, end + capacity * lds[0], end + 2 * capacity * lds[0]
    table = []
    for i, (op, ld_in, ld_out) in enumerate(zip(ops, lds, lds[1:], strict=False)):
        kind, size = op.kind, capacity * ld_out
        before, behind = (ops[i - 1].kind if i else None), (ops[i + 1].kind if i + 1 < len(ops) else None)
        y, dy = x, dx
        if not kind.in_place:
            dy, end = end, end + size
        if not kind.in_place or kind.needs_input or before is None or before.keeps_output:
            y, end = end, end + size
        memory, end = end, end + padded(kind.memory * max(capacity, 1), dtype.itemsize)
        weights, bias = (tensor._place.offset for tensor in op.tensors) if op.tensors else (0, 0)
        rectified = kind.rectifies and behind is not None and behind.rectifier
        flags = rectified, kind.rectifies and before is not None and before.rectifier
        sizes = op.n_in, op.n_out, ld_in, ld_out
        seed = op.noise.seed if op.noise else 0
        table.append(Row(0, 0, 0, *sizes, x, y, dx, dy, 0, memory, weights, bias, 0, 0, *flags, seed, op.setting))
        x, dx = y, dy
    return table, end


class Workspace:
    """Buffers for up to `capacity` rows, and the blocks that name them: one for each use and backend, made when needed.

    Where the operations' tensors are all that is in the arena, `is_all`, their gradients need not be zeros first.
    """

    def __init__(self, ops: Sequence[Op], arena: Arena, is_all: bool, capacity: int, dtype: np.dtype):
        self._ops, self._dtype = ops, dtype
        self.arena, self.capacity = arena, capacity
        self.rows, size = lower(ops, capacity, dtype)
        self.work = aligned_zeros(size, dtype)
        self.noises = [(op.noise, self.memory(row)) for row, op in enumerate(ops) if op.noise]
        self._is_all = is_all
        self._blocks: dict[Any, np.ndarray] = {}
        self._no_flags = np.zeros(ARENA_FLAGS, np.int64)  # where no gradients are left in the arena

    def x(self, count: int) -> np.ndarray:
        """The first rows of the program's input, with their pads."""
        return rows(self.work, self.rows[0].x, count, self.rows[0].ld_in)

    def y(self, count: int) -> np.ndarray:
        """The first rows of the program's output, with their pads."""
        return rows(self.work, self.rows[-1].y, count, self.rows[-1].ld_out)

    def memory(self, row: int) -> np.ndarray:
        """What an operation remembers from one call for the next; zeros at first."""
        return self.work[self.rows[row].memory :][: self._ops[row].kind.memory * max(self.capacity, 1)]

    def hand_over(self) -> None:
        """Let operations draw random numbers: where nobody does this, they draw none."""
        for noise, memory in self.noises:
            noise.write(memory)

    def take_back(self) -> None:
        """Take up how often they have drawn."""
        for noise, memory in self.noises:
            noise.read(memory)

    def follow(self, arena: Arena, is_all: bool) -> None:
        """Point the tables at the new places of the tensors."""
        self.rows, _ = lower(self._ops, self.capacity, self._dtype)
        self.arena, self._is_all, self._blocks = arena, is_all, {}

    def forward(self, kernels: Any) -> np.ndarray:
        """The block of a pass forward, the table of which stands behind its first row."""
        block = self._blocks.get(kernels.forward)
        return self._made(kernels.forward, True, self._link_forward, kernels) if block is None else block

    def backward(self, kernels: Any) -> np.ndarray:
        """The block of a pass backward that leaves gradients."""
        key = kernels.forward, None
        block = self._blocks.get(key)
        return self._made(key, self._is_all, self._link_backward, kernels) if block is None else block

    def has_gone_backward(self, kernels: Any) -> bool:
        """Whether the block of a pass backward is there."""
        return (kernels.forward, None) in self._blocks

    def to_input(self, kernels: Any) -> np.ndarray:
        """The block of a pass forward, and of one backward that leaves the gradient of the input alone."""
        key = kernels.forward, "input"
        block = self._blocks.get(key)
        return self._made(key, True, self._link_to_input, kernels) if block is None else block

    def apart(self, kernels: Any, row: int) -> np.ndarray:
        """The block of a pass backward through one operation, as if there were no others."""
        key = kernels.forward, row
        block = self._blocks.get(key)
        if block is None:
            whole = self._made(key, self._is_all and len(self.rows) == 1, self._link_apart, kernels)
            block = self._blocks[key] = whole[[0, 1 + row]]
        return block

    def training(self, kernels: Any, rule: str, trained: tuple[NumbersAt | None, ...]) -> np.ndarray:
        """The table of a step of training, which changes the parameters of the rows that are `trained`."""
        key = kernels.forward, rule, trained
        block = self._blocks.get(key)
        if block is None:
            block = self._made(key, False, self._link_training, kernels, rule, trained)
        return block[1:]

    def _made(self, key: Any, whole: bool, link: Any, *arguments: Any) -> np.ndarray:
        """A block for these rows."""
        table, arena = np.array(self.rows, ROW), self.arena
        link(table, *arguments)
        flags = self._no_flags if link == self._link_to_input else arena.flags
        block = block_of_pass(as_integers(table), self.work, arena.data, arena.grad, flags, whole)
        self._blocks[key] = block
        return block

    def _link_forward(self, table: np.ndarray, kernels: Any) -> None:
        for i, op in enumerate(self._ops):
            if not (i and table["rectified"][i - 1]):  # else it is done
                table["forward"][i] = kernels.parts[f"{op.part}.forward", self._dtype.char]

    def _link_backward(
        self,
        table: np.ndarray,
        kernels: Any,
        rule: str = "gradients",
        trained: Sequence[NumbersAt | None] | None = None,
    ) -> None:
        first = -1  # up to there nobody asks for the gradient of the input
        if trained is not None:
            first = next(i for i, of in enumerate(trained) if of is not None)
        for i, op in enumerate(self._ops):
            if i > first:
                self._link_input(table, kernels, i)
            of = NumbersAt(0, 0) if trained is None else trained[i]
            if op.kind.weights and of is not None:
                table["parameters"][i] = kernels.parts[f"{op.part}.parameters.{rule}", self._dtype.char]
                table["weight_numbers"][i], table["bias_numbers"][i] = of

    def _link_input(self, table: np.ndarray, kernels: Any, i: int) -> None:
        if not (i + 1 < len(table) and table["masked"][i + 1]):  # else it is done
            table["input"][i] = kernels.parts[f"{self._ops[i].part}.input", self._dtype.char]

    def _link_to_input(self, table: np.ndarray, kernels: Any) -> None:
        self._link_forward(table, kernels)
        for i in range(len(table)):
            self._link_input(table, kernels, i)

    def _link_apart(self, table: np.ndarray, kernels: Any) -> None:
        table["masked"] = 0
        self._link_backward(table, kernels)

    def _link_training(self, table: np.ndarray, kernels: Any, rule: str, trained: Sequence[NumbersAt | None]) -> None:
        self._link_forward(table, kernels)
        self._link_backward(table, kernels, rule, trained)
