"""What the library's own layers share: kernels know them, and programs run them."""

import weakref
from typing import Any, ClassVar

import numpy as np

from ..program.op import ForwardState, Kind, Noise, Op
from ..program.program import Program
from ..tensor import Tensor
from .layer import Layer


class BuiltIn(Layer):
    """A layer whose class declares, in `_kernel_kind`, what it is to the kernels."""

    _kernel_kind: ClassVar[Kind]

    _noise: Noise | None = None  # where it draws random numbers
    _forward_state: ForwardState | None = None
    _alone: Program | None = None  # the program of this layer by itself

    def _op(self, n_in: int) -> Op:
        """This layer as an operation of a program, behind something so wide."""
        raise NotImplementedError

    def _tensors(self) -> tuple[Tensor, ...]:
        """The parameters that a program finds in its arena."""
        return ()

    def _widths(self) -> tuple[int, int] | None:
        """The widths of input and output, or None where the one takes after the other."""
        return None

    def _part(self) -> str:
        """The name of this layer's kind, or of a variant of it."""
        return self._kernel_kind.name

    def _what(self) -> tuple[Any, ...]:
        """What of this layer a program is made for: the dtype, or None for any, and more."""
        return None, self._part()

    def _state_ref(self) -> Any:
        """A weak reference to where the last forward is remembered."""
        if self._forward_state is None:
            self._forward_state = ForwardState()
        return weakref.ref(self._forward_state)

    def _last_input(self) -> np.ndarray:
        """A copy of the last input, for kinds that need it to go back; in rows."""
        program, row = self._last_run()
        return program.input_of(row)

    def _last_run(self) -> tuple[Program, int]:
        state = self._forward_state
        if state is None or state.held_by is None:
            raise ValueError(f"{self.name}: backward before forward; call the layer, or its model, on an input first")
        return state.held_by, state.row
