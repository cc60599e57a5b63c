"""Operations in a row, with the workspace that they run in, and the state that they leave there."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from ..arena import Arena, gather
from ..kernels.table import rows
from .lowering import Workspace
from .op import Op, forget_states, move_states


class Spare(NamedTuple):
    """A workspace that is free, and what predicts in it by a backend: a step, for so many rows of a dtype."""

    space: Workspace
    step: Any = None
    dtype: np.dtype | None = None
    least: int = 0
    most: int = 0
    block: np.ndarray | None = None
    backend: str = ""


class Lowered:
    """A run of operations with its workspace. It holds the forward state of their layers.

    The workspace has room for `capacity` rows; `_batch` of them are in use.
    """

    def __init__(self, ops: Sequence[Op], dtype: np.dtype):
        self.dtype = dtype
        self.n_in = ops[0].n_in
        self.n_out = ops[-1].n_out
        self._ops = list(ops)
        self._input_name = f"the input of {ops[0].name}"
        self.tensors = [tensor for op in ops for tensor in op.tensors]
        self.holds_state = False  # every layer's last forward was this program's
        self._workspace: Workspace | None = None
        self._batch = -1
        self._spare: list[Spare] = []
        self.arena = Arena([], dtype)
        self._gather()

    def _gather(self) -> None:
        gather(self.tensors)
        if self.tensors:
            self.arena = self.tensors[0]._place.arena
        self.is_all = self.arena.holds_only(len(self.tensors))  # the arena has the parameters of this program alone
        self.arena.followed = True

    def multiplications(self) -> int:
        """How many numbers are multiplied with weights when one row passes forward."""
        return sum(tensor.data.size for tensor in self.tensors)

    # --- workspace ---

    def _make_workspace(self, count: int) -> Workspace:
        return Workspace(self._ops, self.arena, self.is_all, count, self.dtype)

    def _reserve(self, batch: int) -> Workspace:
        """A workspace for this many rows, neither too small nor far too large.

        Memory may run out and Ctrl-C come between any two lines: table and workspace always fit together.
        """
        space = self._workspace
        if space is None or batch > space.capacity or max(batch, 64) < space.capacity // 8:
            space = self._make_workspace(batch)
            self._forget_state()
            self._workspace = space
        return space

    def _borrow(self, count: int) -> Workspace:
        """A workspace that no other thread uses, neither too small nor far too large; `_spare` gets it back."""
        try:
            space = self._spare.pop().space
        except IndexError:
            return self._make_workspace(count)
        if space.arena is self.arena and count <= space.capacity <= max(64, 8 * count):
            return space
        return self._make_workspace(count)

    def _view(self, space: Workspace, row: int, name: str, batch: int) -> np.ndarray:
        """A buffer of one row, without its pads."""
        op = space.rows[row]
        ld, n = (op.ld_in, op.n_in) if name in ("x", "dx") else (op.ld_out, op.n_out)
        return rows(space.work, getattr(op, name), batch, ld)[:, :n]

    def follow_tensors(self) -> None:
        """If tensors have moved, bring them together again and point the tables at their new places."""
        if self.arena.dead:
            if any(tensor.dtype != self.dtype for tensor in self.tensors):
                raise ValueError(f"{self._ops[0].name}: backward before forward, for its tensors were converted since")
            self._gather()
        if self._workspace is not None and self._workspace.arena is not self.arena:  # also where Ctrl-C came in between
            self._workspace.follow(self.arena, self.is_all)

    # --- the state of the layers ---

    def _claim_state(self) -> None:
        """From now on this program holds the forward state of its layers, and no other does."""
        move_states(self._ops, self)
        self.holds_state = True

    def _forget_state(self) -> None:
        """What comes may be broken off: until the state is claimed again, no layer shall use it."""
        forget_states(self._ops, self)
        self._batch = -1
        self.lose_state()

    def lose_state(self) -> None:
        """Another program now holds the state of one of the layers."""
        self.holds_state = False

    def input_of(self, row: int) -> np.ndarray:
        """A copy of what the layer of a row was last given."""
        return self._state(row, "x")

    def output_of(self, row: int) -> np.ndarray:
        """A copy of what the layer of a row last returned."""
        return self._state(row, "y")

    def _state(self, row: int, name: str) -> np.ndarray:
        assert self._workspace is not None  # layers ask only where they have a state here
        return self._view(self._workspace, row, name, self._batch).copy()
