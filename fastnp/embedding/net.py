"""The net of a network, by which jitted code finds it: addresses, and whoever holds what is there."""

import importlib
import weakref
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..arena import Arena
from ..backend import kernels_of
from ..kernels._shelter import sheltered
from ..kernels.blocks import address
from ..kernels.nets import (
    AHEAD,
    CAPACITY,
    FORWARD,
    JACOBIAN,
    LINE,
    MANY,
    N_IN,
    N_OUT,
    NET_COLUMNS,
    NO_MORE,
    ONE,
    PARAMS,
    ROOM,
    ROOM_FOR_ONE,
    ROWS,
    SAMPLE,
    SAMPLE_VJP,
    VJP,
)
from ..program.lowering import Workspace
from ..program.op import Op

AT_ONCE = 32  # rows
_ended: list[np.ndarray] = []  # the columns of nets that are no more: jitted code may have their addresses for ever


def _end(columns: np.ndarray) -> None:
    """Let code that has the address of these find that there is nothing more for it."""
    columns[N_IN] = NO_MORE
    _ended.append(columns)


class Net:
    """The columns of a net for operations, in one place for ever, and what they name for as long as it lives.

    `type` is what Numba takes it for, `from_c` the address of the function that C calls with it.
    """

    def __init__(self, dtype: np.dtype):
        names = (f"fastnp.kernels.compiled.{name}" for name in ("embedded", "jitted", "methods"))
        embedded, jitted, _ = (sheltered(importlib.import_module, name) for name in names)
        code = embedded.code_of(dtype.char)
        self.dtype, self.from_c = dtype, code.from_c
        self.type = jitted.type_of(dtype.char)
        self.columns = np.zeros(NET_COLUMNS, np.int64)
        self.address = address(self.columns)
        self.columns[[SAMPLE, FORWARD, SAMPLE_VJP, VJP, JACOBIAN]] = code[:5]
        self._named: Any = None
        weakref.finalize(self, _end, self.columns).atexit = False

    @property
    def room(self) -> int:
        """How many numbers a workspace has."""
        return int(self.columns[ROOM])

    def point(self, ops: Sequence[Op], arena: Arena, is_all: bool) -> None:
        """Name the tables of these operations, and the arena with their tensors."""
        running, columns, more = kernels_of("numba"), self.columns.copy(), LINE // self.dtype.itemsize
        one, many = (Workspace(ops, arena, is_all, capacity, self.dtype) for capacity in (1, AT_ONCE))
        tables = one.to_input(running)[1:], many.to_input(running)[1:]
        columns[N_IN], columns[N_OUT], columns[ROWS] = ops[0].n_in, ops[-1].n_out, len(ops)
        columns[ONE], columns[MANY] = map(address, tables)
        columns[CAPACITY], columns[PARAMS] = AT_ONCE, address(arena.data)
        columns[ROOM_FOR_ONE], columns[ROOM] = one.work.size + more, many.work.size + more
        columns[AHEAD] = columns[ROOM_FOR_ONE] - one.rows[0].x
        before, self._named = self._named, (self._named, tables, arena)
        self.columns[...] = columns
        self._named = tables, arena
        del before  # only now: Ctrl-C may come at any line

    def let_go(self) -> None:
        """Let code that has the address find that there is nothing more for it."""
        self.columns[N_IN] = NO_MORE
