"""Runs of built-in layers, lowered to a table that kernels walk over an arena."""

from typing import Any

import numpy as np

from .. import backend
from ..arrays import FLOATS, real_array
from ..backend import kernels, local
from ..kernels.table import SOON
from .alone import TrainedAlone
from .lowered import Spare
from .lowering import Workspace

Expected = tuple[Any, str, Any, tuple[int, int], Any, Any]
NOTHING: Expected = (None, "", None, (0, 0), None, None)
_array, _empty = np.ndarray, np.empty
FEW = 64  # rows, for which it may pay to compile a step that converts them


class Program(TrainedAlone):
    """A run of operations, forward, backward and in training.

    Each way of a step is one call of a kernel. Where a step is as the one before, no more is looked at than that it is:
    what the call takes was found then. Else it goes the careful way.
    """

    # Each a tuple, for Ctrl-C may come between any two lines: the dtype of the array, or None where it has to be looked
    # at, and the name of the backend; what to call, the shape and the block for it, and what that names.
    _next_forward: Expected = NOTHING
    _next_backward: Expected = NOTHING
    _came: np.dtype | None = None  # of what dtype the last input was that was looked at

    def lose_state(self) -> None:
        self._next_forward = self._next_backward = NOTHING
        super().lose_state()

    # --- forward ---

    def forward(self, x: Any) -> np.ndarray:
        """The output (batch, n_out) for the input x (batch, n_in), in a new array."""
        dtype, name, step, shape, block, _ = self._next_forward
        if type(x) is _array and x.dtype is dtype and (local() or backend.process) is name:
            out = _empty(shape, self.dtype)
            if not step(out, x, block):
                return out
        return self._forward_carefully(x)

    def _forward_carefully(self, x: Any) -> np.ndarray:
        x = self._checked_input(x)
        self._next_forward = self._next_backward = NOTHING
        self.follow_tensors()
        space, running = self._workspace, kernels()
        if space is None or len(x) != self._batch:
            space = self._reserve(len(x))
            self._batch = len(x)
        if not self.holds_state:
            self._claim_state()
        if space.noises:
            space.hand_over()
        out = self._out_of(space, running, x, self._step_of(running, "forward", len(x), x.dtype))
        if space.noises:  # which have to be asked each time
            space.take_back()
        else:
            self._expect(space, running, x)
        return out

    def _out_of(self, space: Workspace, running: Any, x: np.ndarray, step: Any) -> np.ndarray:
        """The output of a pass through a workspace."""
        out = np.empty((len(x), self.n_out), self.dtype)
        if step(out, x, space.forward(running)):
            x = x.astype(self.dtype)  # NumPy has a say where numbers are too large for that
            done = self._step_of(running, "forward", len(x), self.dtype)(out, x, space.forward(running))
            assert done == 0
        return out

    def _step_of(self, running: Any, name: str, batch: int, dtype: np.dtype) -> Any:
        """What to call for so many rows of this dtype; what is over soon does not give up Python's lock."""
        return running.steps[name, self.dtype.char + dtype.char, batch * self.arena.data.size <= SOON]

    def _expect(self, space: Workspace, running: Any, x: np.ndarray) -> None:
        """Find what the next step takes if it is as this one."""
        name, step = local() or backend.process, self._step_of(running, "forward", len(x), x.dtype)
        named = space, space.arena
        self._next_forward = x.dtype, name, step, (len(x), self.n_out), space.forward(running), named
        if space.has_gone_backward(running):
            self._expect_back(space, running)

    def _expect_back(self, space: Workspace, running: Any) -> None:
        """Find what the next pass backward takes."""
        name, step = local() or backend.process, self._step_of(running, "backward", self._batch, self.dtype)
        shape, named = (self._batch, self.n_in), (space, space.arena)
        self._next_backward = self.dtype, name, step, shape, space.backward(running), named

    def _checked_input(self, x: Any) -> np.ndarray:
        x = real_array(x, self._input_name)
        if x.ndim != 2 or x.shape[1] != self.n_in:
            raise self._of_another_width(x)
        return self._converted(x) if x.dtype in FLOATS and x.dtype.isnative else x.astype(self.dtype)

    def _converted(self, x: np.ndarray) -> np.ndarray:
        """An input of the other dtype, which a step that converts it, to be compiled, takes where it comes again."""
        came, self._came = self._came, x.dtype
        return x if x.dtype == self.dtype or x.dtype is came else x.astype(self.dtype)

    def _of_another_width(self, x: np.ndarray) -> ValueError:
        what = next(op.words for op in self._ops if op.words)
        if x.ndim == 2:
            return ValueError(f"{what} got an input with {x.shape[1]} features")
        hint = "; for one sample use x[np.newaxis, :], for one feature x[:, np.newaxis]" if x.ndim == 1 else ""
        return ValueError(f"{what} got an input of shape {x.shape}; expected 2 dimensions, (batch, {self.n_in}){hint}")

    def predict(self, x: Any) -> np.ndarray:
        """As `forward`, but in a workspace of its own: no state changes, and threads may do it at once."""
        return self.predict_rows(x) if type(x) is _array and x.ndim == 2 else self._predict_carefully(x)

    def predict_rows(self, x: np.ndarray) -> np.ndarray:
        """The same, of an array of two axes."""
        try:
            spare = self._spare.pop()
        except IndexError:
            return self._predict_carefully(x)
        _, step, dtype, least, most, block, name = spare
        if x.dtype is dtype and least <= len(x) <= most and (local() or backend.process) is name:
            out = _empty((len(x), self.n_out), self.dtype)
            if not step(out, x, block):
                self._spare.append(spare)
                return out
        self._spare.append(spare)
        return self._predict_carefully(x)

    def _predict_carefully(self, x: Any) -> np.ndarray:
        x = self._checked_input(x)
        if len(x) > FEW and x.dtype != self.dtype:
            x = x.astype(self.dtype)
        self.follow_tensors()
        space, running = self._borrow(len(x)), kernels()
        most, chars = space.capacity, self.dtype.char + x.dtype.char
        # One that gives up the lock will do, and is not compiled beside another that does not.
        soon = most * self.arena.data.size <= SOON and ("forward", chars, True) in running.steps
        step = running.steps["forward", chars, soon]
        out = self._out_of(space, running, x, step)
        least = 0 if most <= 64 else -(-most // 8)
        name = local() or backend.process
        self._spare.append(Spare(space, step, x.dtype, least, most, space.forward(running), name))
        return out

    # --- backward ---

    def backward(self, gradient: Any) -> np.ndarray:
        """Add the parameters' gradients; the gradient (batch, n_in) of the input, in a new array."""
        dtype, name, step, shape, block, _ = self._next_backward
        if type(gradient) is _array and gradient.dtype is dtype and (local() or backend.process) is name:
            dx = _empty(shape, self.dtype)
            if not step(dx, gradient, block):
                return dx
        return self._backward_carefully(gradient, None)

    def backward_row(self, gradient: Any, row: int) -> np.ndarray:
        """`backward` for the layer of one row only."""
        return self._backward_carefully(gradient, row)

    def _backward_carefully(self, gradient: Any, row: int | None) -> np.ndarray:
        space, running = self._workspace, kernels()
        assert space is not None  # layers ask only where they have a state here
        of = -1 if row is None else row
        gradient, shape = real_array(gradient, "the gradient"), (self._batch, self._ops[of].n_out)
        if gradient.shape != shape:
            raise ValueError(
                f"{self._ops[of].name} got a gradient of shape {gradient.shape}; its last output had {shape}"
            )
        self.follow_tensors()
        dx = np.empty((self._batch, self._ops[row or 0].n_in), self.dtype)
        block = space.backward(running) if row is None else space.apart(running, row)
        step = self._step_of(running, "backward", self._batch, self.dtype)
        gradient = gradient.astype(self.dtype, copy=False)
        if step(dx, gradient, block):
            self.arena.write_cleared()
            done = step(dx, gradient, block)
            assert done == 0
        if row is None and self._next_forward is not NOTHING:
            self._expect_back(space, running)
        return dx
