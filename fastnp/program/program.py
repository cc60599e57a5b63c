"""Runs of built-in layers, lowered to a table that one kernel executes over an arena."""

import weakref
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from .. import kernels as layout
from ..arrays import aligned_zeros, real_array
from ..backend import kernels
from ..tensor import Arena, gather
from .lowering import Op, lower

if TYPE_CHECKING:
    from ..layers.layer import Layer


class Space(NamedTuple):
    """A workspace for predictions, with the table that belongs to it."""

    capacity: int
    arena: Arena
    table: np.ndarray
    work: np.ndarray


class Program:
    """A table of operations with its workspace. It holds the forward state of its layers.

    The workspace has room for `_capacity` rows; `_batch` of them are in use, and views show these.
    """

    def __init__(self, layers: Sequence["Layer"], ops: Sequence[Op], dtype: np.dtype):
        self.dtype = dtype
        self.n_in = ops[0].n_in
        self.n_out = ops[-1].n_out
        self._ops = list(ops)
        self._names = [str(layer.name) for layer in layers]
        self._input_name = f"the input of {self._names[0]}"
        # Layers hold their program; weak references back keep a dropped model from waiting for the collector.
        self._layers = [weakref.ref(layer) for layer in layers]
        self._tensors = [tensor for op in ops for tensor in (op.weights, op.bias) if tensor is not None]
        self._state_is_here = False  # every layer's last forward was this program's
        self._capacity = -1
        self._batch = -1
        self._spare: list[Space] = []
        gather(self._tensors)
        self._arena = self._tensors[0]._arena if self._tensors else Arena([], dtype)
        self._arena.followed = True

    # --- workspace ---

    def _reserve(self, batch: int) -> None:
        """A workspace for this many rows, neither too small nor far too large.

        Memory may run out and Ctrl-C come between any two lines: table and workspace always fit together.
        """
        if batch > self._capacity or max(batch, 64) < self._capacity // 8:
            table, size = lower(self._ops, batch, self.dtype)
            work = aligned_zeros(size, self.dtype)
            self._forget_state()
            self._capacity = -1
            self._table, self._work = table, work
            self._capacity = batch

    def _set_batch(self, batch: int) -> None:
        """Make views of the buffers for a batch of this size."""
        self._batch = -1
        first, last, work = self._table[0], self._table[-1], self._work
        self._x = _rows(work, first[layout.X], batch, first[layout.LD_IN])[:, : self.n_in]
        self._dx = _rows(work, first[layout.DX], batch, first[layout.LD_IN])[:, : self.n_in]
        self._y = _rows(work, last[layout.Y], batch, last[layout.LD_OUT])[:, : self.n_out]
        self._dy = _rows(work, last[layout.DY], batch, last[layout.LD_OUT])[:, : self.n_out]
        self._batch = batch

    def is_all_of(self, arena: Arena) -> bool:
        """Whether `arena` holds just the parameters of this program."""
        return arena is self._arena and len(self._tensors) == len(arena._tensors)

    def multiplications(self) -> int:
        """How many numbers are multiplied with weights when one row passes forward."""
        return sum(tensor.data.size for tensor in self._tensors)

    def _rows(self, offset: int, ld: int, n: int) -> np.ndarray:
        return _rows(self._work, offset, self._batch, ld)[:, :n]

    def follow_tensors(self) -> None:
        """If tensors have moved, bring them together again and point the table at their new places."""
        if not self._arena.dead:
            return
        if any(tensor.dtype != self.dtype for tensor in self._tensors):
            raise ValueError(f"{self._names[0]}: backward before forward, for its tensors were converted since")
        gather(self._tensors)
        self._arena = self._tensors[0]._arena
        self._arena.followed = True
        if self._capacity >= 0:
            self._table, _ = lower(self._ops, self._capacity, self.dtype)

    def _claim_state(self) -> None:
        """From now on this program holds the forward state of its layers, and no other does."""
        for row, ref in enumerate(self._layers):
            layer = ref()
            if layer is not None:
                before = layer._run
                if before is not None and before[0] is not self:
                    before[0]._state_is_here = False
                layer._run = (self, row)
        self._state_is_here = True

    def _forget_state(self) -> None:
        """What comes may be broken off: until the state is claimed again, no layer shall use it."""
        for ref in self._layers:
            layer = ref()
            if layer is not None and layer._run is not None and layer._run[0] is self:
                layer._run = None
        self._state_is_here = False
        self._batch = -1

    # --- running ---

    def forward(self, x: Any) -> np.ndarray:
        """The output (batch, n_out) for the input x (batch, n_in), in a new array."""
        x = self._checked_input(x)
        self.follow_tensors()
        if len(x) != self._batch:
            self._reserve(len(x))
            self._set_batch(len(x))
        if not self._state_is_here:
            self._claim_state()
        self._x[...] = x
        kernels().program_forward(self._work, self._arena.data, self._table, self._batch, 0, len(self._ops))
        return self._y.copy()

    def _checked_input(self, x: Any) -> np.ndarray:
        x = real_array(x, self._input_name)
        if x.ndim == 2 and x.shape[1] == self.n_in:
            return x
        what = f"Linear(in_features={self.n_in})" if self._tensors else f"ReLU of {self.n_in} features"
        if x.ndim == 2:
            raise ValueError(f"{what} got an input with {x.shape[1]} features")
        hint = "; for one sample use x[np.newaxis, :], for one feature x[:, np.newaxis]" if x.ndim == 1 else ""
        raise ValueError(f"{what} got an input of shape {x.shape}; expected 2 dimensions, (batch, {self.n_in}){hint}")

    def predict(self, x: Any) -> np.ndarray:
        """As `forward`, but in a workspace of its own: no state changes, and threads may do it at once."""
        x = self._checked_input(x)
        self.follow_tensors()
        n, space = len(x), self._borrow(len(x))
        first, last = space.table[0], space.table[-1]
        _rows(space.work, first[layout.X], n, first[layout.LD_IN])[:, : self.n_in] = x
        kernels().program_forward(space.work, space.arena.data, space.table, n, 0, len(self._ops))
        result = _rows(space.work, last[layout.Y], n, last[layout.LD_OUT])[:, : self.n_out].copy()
        self._spare.append(space)
        return result

    def _borrow(self, rows: int) -> Space:
        """A workspace that no other thread uses, neither too small nor far too large."""
        try:
            space = self._spare.pop()
        except IndexError:
            space = None
        if space is None or space.arena is not self._arena or not rows <= space.capacity <= max(64, 8 * rows):
            table, size = lower(self._ops, rows, self.dtype)
            space = Space(rows, self._arena, table, aligned_zeros(size, self.dtype))
        return space

    def backward(self, gradient: Any) -> np.ndarray:
        """Add the parameters' gradients; the gradient (batch, n_in) of the input, in a new array."""
        if not self._state_is_here:
            return self._backward_by_layer(gradient)
        return self._backward_rows(gradient, 0, len(self._ops), self._dy, self._dx)

    def _backward_by_layer(self, gradient: Any) -> np.ndarray:
        """A layer was run by itself since: each layer holds its own state."""
        for ref in reversed(self._layers):
            layer = ref()
            if layer is not None:
                gradient = layer.backward(gradient)
        return gradient

    def backward_layer(self, gradient: Any, row: int) -> np.ndarray:
        """`backward` for the layer of one row only."""
        op, lds = self._ops[row], self._table[row]
        dy = self._rows(lds[layout.DY], lds[layout.LD_OUT], op.n_out)
        dx = self._rows(lds[layout.DX], lds[layout.LD_IN], op.n_in)
        return self._backward_rows(gradient, row, row + 1, dy, dx)

    def _backward_rows(self, gradient: Any, first: int, last: int, dy: np.ndarray, dx: np.ndarray) -> np.ndarray:
        gradient = real_array(gradient, "the gradient")
        if gradient.shape != dy.shape:
            raise ValueError(
                f"{self._names[last - 1]} got a gradient of shape {gradient.shape}; its last output had {dy.shape}"
            )
        dy[...] = gradient
        self.follow_tensors()
        arena = self._arena
        whole = last - first == len(self._ops) and self.is_all_of(arena)
        if not whole:
            arena.clear_stale()
        kernels().program_backward(
            self._work, arena.grad, arena.data, self._table, self._batch, first, last, not arena.stale
        )
        arena.stale = False
        return dx.copy()

    # --- training by a kernel alone ---

    def compile_training(self) -> None:
        """Train for no epoch: the kernel is compiled, where it has not been, and nothing else is touched."""
        numbers, rows = np.zeros(0, self.dtype), np.zeros((0, 1), self.dtype)
        table = np.zeros((1, layout.COLUMNS), np.int64)
        kernels().train_batches(
            np.zeros(0), numbers, numbers, numbers, table, rows, rows, 1, 0, 0, np.zeros(3), False, False
        )

    def train(
        self,
        losses: np.ndarray,
        velocity: np.ndarray,
        x: np.ndarray,
        y: np.ndarray,
        batch_size: int,
        rows: int,
        stride: int,
        rates: np.ndarray,
        l1: bool,
        mean: bool,
    ) -> int:
        """Run the kernel `train_batches` on staged rows; returns how many batches were trained on."""
        self._forget_state()
        self._reserve(min(batch_size, rows))
        self._arena.stale = True
        return kernels().train_batches(
            losses, self._work, self._arena.data, velocity, self._table, x, y, batch_size, rows, stride, rates, l1, mean
        )

    def state_after_training(self, x: np.ndarray) -> np.ndarray:
        """Take up the forward state of the last batch, whose input was x; returns its output in a new array."""
        self._set_batch(len(x))
        self._x[...] = x
        if self._ops[0].code == layout.RELU:  # which works in place
            np.copyto(self._x, 0, where=self._x <= 0)
        self._claim_state()
        return self._y.copy()

    # --- what layers show of their state ---

    def input_of(self, row: int) -> np.ndarray:
        """A copy of what the layer of a row was last given."""
        op = self._table[row]
        return self._rows(op[layout.X], op[layout.LD_IN], op[layout.N_IN]).copy()

    def output_of(self, row: int) -> np.ndarray:
        """A copy of what the layer of a row last returned."""
        op = self._table[row]
        return self._rows(op[layout.Y], op[layout.LD_OUT], op[layout.N_OUT]).copy()


def _rows(work: np.ndarray, offset: int, batch: int, ld: int) -> np.ndarray:
    """A buffer of a workspace."""
    return work[offset : offset + batch * ld].reshape(batch, ld)
