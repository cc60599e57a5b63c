"""A network for jitted code, as Python has it."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .. import overrides
from ..arena import Arena
from ..arrays import real_array
from ..backend import kernels
from ..layers.built_in import BuiltIn
from ..layers.runs import ops_of, what
from ..listeners import listen
from ..program.lowering import Workspace
from ..program.program import Program
from .net import Net

AGAIN = "make another of it by fastnp.jit(model)"
AT_ONCE = 256  # rows, in Python


class Embedded:
    """What `jit` returns, which says what it does."""

    def __init__(self, layers: Sequence[BuiltIn]):
        self._layers = tuple(layers)
        self._gone = ""  # why it can no longer be called
        self._spare: list[Workspace] = []
        self._take_up(self._what())
        self.dtype, self.n_in, self.n_out = self._program.dtype, self._program.n_in, self._program.n_out
        self._net: Net | None = None
        if kernels().name == "numba":
            self._net = Net(self.dtype)
            self._numba_type_ = self._net.type  # where Numba looks
        self._point()
        self._as_of = -1
        listen(self)

    # --- where the tensors are ---

    def _what(self) -> list[Any]:
        return list(map(what, self._layers))

    def _take_up(self, whats: list[Any]) -> None:
        """Take the layers as they are; dropout leaves out nothing, and is left out."""
        dtype = next(of[0] for of in whats if of[0] is not None)
        self._ops = [op for op in ops_of(self._layers) if not op.noise]
        self._program, self._whats = Program(self._ops, dtype), whats

    def _point(self) -> None:
        if self._net is not None:
            self._net.point(self._ops, self._program.arena, self._program.is_all)
        self._pointed_at: Arena | None = self._program.arena

    def changed(self) -> None:
        """Follow the tensors, if they are together. They may be on their way just now: then more is said of it."""
        whats = self._what()
        self._gone = self._reason(whats)
        if self._gone:
            if self._net is not None:
                self._net.let_go()
            self._pointed_at = None
            return
        if whats != self._whats:  # a setting
            self._take_up(whats)
            self._pointed_at = None
        arenas = [tensor._place.arena for tensor in self._program.tensors]
        arena = arenas[0]
        if any(other is not arena for other in arenas):  # until somebody brings them together, which is told, too
            if self._net is not None:
                self._net.let_go()
            self._pointed_at = None
        elif arena is not self._pointed_at and not arena.dead:
            self._program.follow_tensors()
            self._point()

    def _reason(self, whats: list[Any]) -> str:
        """Why these layers are none that the net can be of."""
        for layer, of in zip(self._layers, whats, strict=True):
            if of is None:
                return f"a method of '{layer}' was replaced since; {AGAIN}"
            for tensor in layer._tensors():
                if tensor.dtype != self.dtype:
                    return f"'{layer}' was converted to {tensor.dtype} since; {AGAIN}"
        return ""

    def _follow(self) -> Program:
        """The program, once the tensors are together."""
        if self._as_of != overrides.changes:
            as_of = overrides.changes
            self.changed()
            if not self._gone:
                self._program.follow_tensors()
                self.changed()
                self._as_of = as_of
        if self._gone:
            raise ValueError(f"fastnp.jit: {self._gone}")
        return self._program

    @property
    def net(self) -> int:
        """The address that goes with `address`."""
        if self._as_of != overrides.changes:
            self._follow()
        return self._compiled().address

    @property
    def address(self) -> int:
        """The address of a C function void(T *out, const T *x, int64 rows, void *net)."""
        return self._compiled().from_c

    def _compiled(self) -> Net:
        if self._net is None:
            raise ValueError('fastnp.jit: addresses are for the backend "numba", which was not in force')
        return self._net

    # --- what it does, called from Python ---

    def _checked(self, value: Any, name: str, n: int, axes: Sequence[int] = (1, 2)) -> np.ndarray:
        """An array (n,) or (rows, n)."""
        array = real_array(value, name)
        if array.ndim not in axes or array.shape[-1] != n:
            expected = " or ".join({1: f"({n},)", 2: f"(rows, {n})"}[axis] for axis in axes)
            raise ValueError(f"fastnp.jit: {name} has shape {array.shape}; expected {expected}")
        return array

    def __call__(self, x: Any) -> np.ndarray:
        """y = f(x)"""
        program, x = self._follow(), self._checked(x, "x", self.n_in)
        y = self._in_parts(program.predict, x if x.ndim == 2 else x[np.newaxis])
        return y if x.ndim == 2 else y[0]

    @staticmethod
    def _in_parts(predict: Callable[[np.ndarray], np.ndarray], rows: np.ndarray) -> np.ndarray:
        if len(rows) <= AT_ONCE:
            return predict(rows)
        return np.concatenate([predict(rows[start : start + AT_ONCE]) for start in range(0, len(rows), AT_ONCE)])

    def workspace(self) -> np.ndarray:
        """Room for `into`, in any one thread at a time."""
        self._follow()
        return np.empty(self._net.room if self._net else 0, self.dtype)

    def into(self, out: np.ndarray, x: Any, work: np.ndarray) -> None:
        """out = f(x)"""
        x = self._checked(x, "x", self.n_in)
        for name, array in ("out", out), ("work", work):
            if not isinstance(array, np.ndarray) or array.dtype != self.dtype:
                raise TypeError(f"fastnp.jit: {name} must be an array of {self.dtype}")
        if out.shape != (*x.shape[:-1], self.n_out):
            raise ValueError(f"fastnp.jit: out has shape {out.shape}; expected {(*x.shape[:-1], self.n_out)}")
        if work.ndim != 1 or (self._net and work.size < self._net.room):
            raise ValueError("fastnp.jit: work is too small; make it with f.workspace()")
        out[...] = self(x)

    def vjp(self, x: Any, dy: Any) -> tuple[np.ndarray, np.ndarray]:
        """y = f(x), and dx = dyᵀ·J"""
        x = self._checked(x, "x", self.n_in)
        dy = self._checked(dy, "dy", self.n_out, (x.ndim,))
        x_rows, dy_rows = (x, dy) if x.ndim == 2 else (x[np.newaxis], dy[np.newaxis])
        if len(x_rows) != len(dy_rows):
            raise ValueError(f"fastnp.jit: x has {len(x_rows)} rows, and dy {len(dy_rows)}")
        y, dx = self(x_rows), self._back(x_rows, dy_rows)
        return (y, dx) if x.ndim == 2 else (y[0], dx[0])

    def jacobian(self, x: Any) -> tuple[np.ndarray, np.ndarray]:
        """y = f(x), and J[i, j] = dy[i] / dx[j]"""
        x = self._checked(x, "x", self.n_in, (1,))
        copies = np.broadcast_to(x, (self.n_out, self.n_in))
        return self(x), self._back(copies, np.eye(self.n_out, dtype=self.dtype))

    def _back(self, x: np.ndarray, dy: np.ndarray) -> np.ndarray:
        """dyᵀ·J of each row."""
        self._follow()
        x, dy = x.astype(self.dtype), dy.astype(self.dtype)
        running, dx = kernels(), np.empty(x.shape, self.dtype)
        step_forward, step_backward = (
            running.steps[name, 2 * self.dtype.char, True] for name in ("forward", "backward")
        )
        space = self._borrow(min(len(x), AT_ONCE))
        for start in range(0, len(x), AT_ONCE):
            part = slice(start, start + AT_ONCE)
            block, y = space.to_input(running), np.empty((len(x[part]), self.n_out), self.dtype)
            done = step_forward(y, x[part], block) or step_backward(dx[part], dy[part], block)
            assert not done
        self._spare.append(space)
        return dx

    def _borrow(self, count: int) -> Workspace:
        """A workspace that no other thread uses."""
        try:
            space = self._spare.pop()
        except IndexError:
            space = None
        program = self._program
        if space is None or space.arena is not program.arena or space.capacity < count:
            space = Workspace(self._ops, program.arena, program.is_all, count, self.dtype)
        return space

    def __repr__(self) -> str:
        return f"<fastnp.jit: {self.n_in} to {self.n_out}, {self.dtype}>"

    def __reduce__(self) -> Any:
        return type(self), (self._layers,)  # addresses are of this process
