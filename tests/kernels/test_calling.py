"""The smallest part there can be, compiled by itself and called by its address: what everything else rests on.

A version of Numba that breaks this is named here, and not by a thousand wrong numbers.
"""

import pytest
from cached import run

# `add` takes a row, a pointer and a number; `half` returns a double.
PART = """
import numpy as np
from numba import types
from fastnp.kernels.compiled._jit import kernel, part
from fastnp.kernels.compiled.calling import ROW_TYPE, call, call_for_number, row
from fastnp.kernels.compiled.simd import at, pointer, read, write
from fastnp.kernels.table import ROW, as_integers

def made(factor):
    def add(op, p, count):
        for i in range(count):
            write(at(p, op.y + i), read(at(p, op.x + i)) + factor * op.setting)
    return add

def half(p):
    return 0.5 * float(read(p))

@kernel
def run(table, numbers, halving):
    for i in range(len(table)):
        op = row(table, i)
        if op.forward:
            call(op.forward, (op, pointer(numbers, 0), 2))
    return call_for_number(halving, (pointer(numbers, 4),))

table = np.zeros(3, ROW)
table["x"], table["y"], table["setting"] = [0, 2, 0], [2, 4, 0], [0.25, 0.5, 9]
for dtype, number in (np.float32, types.float32), (np.float64, types.float64):
    p = types.CPointer(number)
    signature = types.void(ROW_TYPE, p, types.intp)
    name = f"add {dtype.__name__}"
    table["forward"] = part(made(1), signature, f"{name} once"), part(made(2), signature, f"{name} twice"), 0
    numbers = np.array([1, 2, 0, 0, 0, 0], dtype)
    halved = run(as_integers(table), numbers, part(half, types.float64(p), f"half {dtype.__name__}"))
    assert numbers.tolist() == [1, 2, 1.25, 2.25, 2.25, 3.25], numbers
    assert halved == 1.125, halved
"""


@pytest.mark.parametrize("check_bounds", [{}, {"NUMBA_BOUNDSCHECK": "1"}], ids=["plain", "with bounds checks"])
def test_a_part_called_by_its_address(tmp_path, check_bounds):
    said = run(PART, tmp_path, **check_bounds)
    assert said.startswith("fastnp: compiling kernels ")
    kept = {path.name.split("-numba-")[0] for path in tmp_path.rglob("*.nbi")}
    assert {"add float32 once", "add float32 twice", "half float64"} <= kept
    assert run(PART, tmp_path, **check_bounds) == "", "parts made by one function miss the cache"


def test_parts_have_symbols_of_their_own(tmp_path):
    """Also those that one function made, and that came from the cache of different processes."""
    code = """
from fastnp.backend import kernels_of
from fastnp.kernels.compiled import _jit
parts = kernels_of("numba").parts
{}
found = [(d.py_func.__qualname__, *(c.fndesc.llvm_func_name for c in d.overloads.values())) for d in _jit._parts]
assert len({{symbol for _, symbol in found}}) == len(found), found
for dispatcher, (name, symbol) in zip(_jit._parts, found):
    (compiled,) = dispatcher.overloads.values()
    assert compiled.library.get_pointer_to_function(symbol) in parts.values()
"""
    names = [f"activations.{name}.{role}" for name in ("relu", "leaky_relu") for role in ("forward", "input")]
    for name in names:
        run(code.format(f"parts[{name!r}, 'f']"), tmp_path)
    assert run(code.format(f"for name in {names}: parts[name, 'f']"), tmp_path) == ""
