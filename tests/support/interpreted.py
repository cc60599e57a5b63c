"""The compiled kernels, run by the Python interpreter: stand-ins for what only compiled code has.

A pointer is a flat array with an offset and refuses to leave the array; a tile is a small NumPy array.
Slow, but it shows which line runs, and where a kernel reads or writes outside of its arguments.
"""

import ctypes
import functools
import importlib
import importlib.util
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
from numba import types

import fastnp.kernels
from fastnp.backend import kernels_of
from fastnp.kernels.table import COLUMNS, ROW

MAPPINGS = ("name", "parts", "steps")


class OutsideError(IndexError):
    """A kernel left the array that a pointer was made from."""


class Pointer:
    def __init__(self, flat, offset):
        self.flat, self.offset = flat, offset

    def numbers(self, count):
        if not 0 <= self.offset <= self.offset + count <= self.flat.size:
            raise OutsideError(f"numbers {self.offset} to {self.offset + count} of {self.flat.size}")
        return self.flat[self.offset : self.offset + count]


class Tile:
    """rows × cols vectors, as an array of rows × (cols · lanes) numbers."""

    def __init__(self, values, cols):
        self.values, self.cols = values, cols


def stand_in(vector_bytes, wide):
    """A module with the names of `fastnp.kernels.compiled.simd`, for a CPU with vectors of so many bytes."""

    def pointer(array, offset):
        assert array.flags.c_contiguous
        return Pointer(array.reshape(-1), int(offset))

    def at(p, offset):
        return Pointer(p.flat, p.offset + int(offset))

    def read(p):
        return p.numbers(1)[0]

    def write(p, value):
        p.numbers(1)[0] = value

    def copy(target, source, count):
        target.numbers(count)[:] = source.numbers(count)

    def room(p, count):
        return Pointer(np.full(count, np.nan, p.flat.dtype), 0)

    def zeros(p, rows, cols):
        return Tile(np.zeros((rows, cols * vector_bytes // p.flat.itemsize), p.flat.dtype), cols)

    def numbers(p, rows):
        return Tile(np.zeros((rows, 1), p.flat.dtype), 1)

    def one_row(tile):
        return Tile(np.zeros_like(tile.values[:1]), tile.cols)

    def row_of(tile, r):
        return Tile(tile.values[r : r + 1], tile.cols)

    def width(tile):
        return tile.values.shape[1]

    def splat(like, value):
        return Tile(np.full_like(like.values, value), like.cols)

    def load(like, p, ld):
        rows = [at(p, r * ld).numbers(width(like)) for r in range(len(like.values))]
        return Tile(np.array(rows), like.cols)

    def store(tile, p, ld):
        for r, row in enumerate(tile.values):
            at(p, r * ld).numbers(width(tile))[:] = row

    def outer_fma(acc, a, a_row, b):
        column = np.array([read(at(a, r * a_row)) for r in range(len(acc.values))])
        return Tile(acc.values + np.outer(column, b.numbers(width(acc))), acc.cols)

    def elementwise(function):
        return lambda *tiles: Tile(function(*(tile.values for tile in tiles)), tiles[0].cols)

    def flush(x):
        return np.where(abs(x) < np.finfo(x.dtype).tiny, x.dtype.type(0), x)

    def constant(like, single, double):
        return splat(like, single if like.values.dtype == np.float32 else double)

    def power_of_two(n):
        return scaled(splat(n, 1), n)

    def scaled(a, n):
        with np.errstate(all="ignore"):
            return Tile(np.ldexp(a.values, n.values.astype(int)), n.cols)

    def polynomial(single, double):
        def value(x):
            coefficients = single if x.values.dtype == np.float32 else double
            return Tile(np.polynomial.Polynomial(np.array(coefficients, x.values.dtype))(x.values), x.cols)

        return value

    def keep_columns(a, columns):
        return Tile(np.where(np.arange(width(a)) < columns, a.values, a.values.dtype.type(0)), a.cols)

    def load_columns(like, p, columns, fill):
        tile, count = splat(like, fill), min(max(columns, 0), width(like))
        tile.values[0, :count] = p.numbers(count)
        return tile

    def store_columns(tile, p, columns):
        count = min(max(columns, 0), width(tile))
        p.numbers(count)[:] = tile.values[0, :count]

    def sixteen(p):
        return zeros(p, 1, max(1, 16 * p.flat.itemsize // vector_bytes))

    def by_halves(operation):
        def folded(a):
            numbers = a.values[0]
            while numbers.size > 1:
                numbers = operation(*np.split(numbers, 2))
            return numbers[0]

        return folded

    def transpose(like, dst, dst_ld, src, src_ld, src_rows):
        lanes = width(like)
        block = np.array([at(src, min(r, src_rows - 1) * src_ld).numbers(lanes) for r in range(lanes)])
        for r in range(lanes):
            at(dst, r * dst_ld).numbers(lanes)[:] = block[:, r]

    def mix(number):
        number = (number + 0x9E3779B97F4A7C15) % 2**64
        number = (number ^ number >> 30) * 0xBF58476D1CE4E5B9 % 2**64
        number = (number ^ number >> 27) * 0x94D049BB133111EB % 2**64
        return number ^ number >> 31

    def thin(vector, key, first, limit):
        kept = vector.values.copy()
        for lane in range(width(vector)):
            bits = (first + lane + key) % 2**32
            bits = ((bits ^ bits >> 17) * 0xED5AD4BB + (key >> 32)) % 2**32
            for shift, factor in (11, 0xAC4C1B51), (15, 0x31848BAB):
                bits = (bits ^ bits >> shift) * factor % 2**32
            if bits ^ bits >> 14 < limit:
                kept[0, lane] = 0
        return Tile(kept, vector.cols)

    module = ModuleType("simd")
    vars(module).update(
        VECTOR_BYTES=vector_bytes, WIDE=wide, pointer=pointer, at=at, read=read, write=write, zeros=zeros,
        number_like=lambda p, value: p.flat.dtype.type(value),
        numbers=numbers, one_row=one_row, width=width, splat=splat, load=load, prefetch=load, store=store,
        outer_fma=outer_fma,
        fma=elementwise(lambda a, b, c: a * b + c), add=elementwise(np.add), subtract=elementwise(np.subtract),
        multiply=elementwise(np.multiply), sign=elementwise(np.sign), flush=elementwise(flush),
        positive_part=elementwise(lambda a: np.where(a <= 0, a.dtype.type(0), a)),
        where_positive=elementwise(lambda a, b: np.where(a > 0, b, b.dtype.type(0))),
        constant=constant, power_of_two=power_of_two, scaled=scaled, nearest=elementwise(np.rint),
        absolute=elementwise(np.abs), negative=elementwise(np.negative),
        at_most=elementwise(lambda a, limit: np.where(limit < a, limit, a)),
        at_least=elementwise(lambda a, limit: np.where(limit > a, limit, a)),
        polynomial=polynomial, divide=elementwise(np.divide),
        where_less=elementwise(lambda a, b, x, y: np.where(a < b, x, y)), copy_sign=elementwise(np.copysign),
        widen=lambda a: Tile(a.values.astype(np.float64), a.cols), keep_columns=keep_columns, transpose=transpose,
        total=lambda start, a: sum(a.values.ravel().tolist(), start), sum_by_halves=by_halves(np.add),
        largest=by_halves(lambda x, y: np.where(x < y, y, x)), sixteen=sixteen,
        load_columns=load_columns, store_columns=store_columns, mix=mix, thin=thin, copy=copy, room=room, row_of=row_of,
        root=elementwise(np.sqrt),
    )  # fmt: skip
    return module


def calls():
    """A module with the names of `fastnp.kernels.compiled.calling`, in which an address is a place in a list."""
    functions = [None]

    def row(table, i):
        return SimpleNamespace(**dict(zip(ROW.names, table.view(ROW).ravel()[int(i)].item(), strict=True)))

    def call(address, arguments):
        return functions[int(address)](*arguments)

    module = ModuleType("calling")
    vars(module).update(ROW_TYPE=None, functions=functions, row=row, call=call, call_for_number=call)
    return module


def addresses():
    """Modules with the names of `memory` and `given` in `fastnp.kernels.compiled`."""

    def numbers(address, size, dtype):
        room = (ctypes.c_char * (int(size) * np.dtype(dtype).itemsize)).from_address(int(address)) if size else b""
        return Pointer(np.frombuffer(room, dtype), 0)

    def memory(like, address, size):
        return numbers(address, size, like.flat.dtype if isinstance(like, Pointer) else like.dtype)

    def table_at(p, count):
        return p.numbers(count * COLUMNS).reshape(count, COLUMNS)

    def take_in(target, ld, array):
        for i, row in enumerate(array):
            Pointer(target.flat, target.offset + i * int(ld)).numbers(len(row))[:] = row
        return True

    def give_out(array, source, ld):
        for i, row in enumerate(array):
            row[:] = Pointer(source.flat, source.offset + i * int(ld)).numbers(len(row))

    memories, given = ModuleType("memory"), ModuleType("given")
    vars(memories).update(
        memory=memory,
        integers=lambda address, size: numbers(address, size, np.int64),
        doubles=lambda address, size: numbers(address, size, np.float64),
        table_at=table_at,
    )
    vars(given).update(
        Given=lambda dtype: types.Tuple((dtype,)), rows=len, columns=lambda array: array.shape[1],
        take_in=take_in, give_out=give_out, first=lambda array: Pointer(array.reshape(-1), 0),
    )  # fmt: skip
    return memories, given


@functools.cache
def interpreted_kernels(vector_bytes, wide):
    """All kernels, as attributes, on the stand-ins: the very source files, imported a second time."""
    root, name = Path(fastnp.kernels.__file__).parent, f"interpreted_{vector_bytes}"
    for package, folder in (name, root), (f"{name}.compiled", root / "compiled"):
        spec = importlib.util.spec_from_file_location(
            package, folder / "__init__.py", submodule_search_locations=[str(folder)]
        )
        sys.modules[package] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[package])
    package = f"{name}.compiled"
    jit, calling = ModuleType("_jit"), calls()

    def part(function, signature, name):
        calling.functions.append(function)
        return len(calling.functions) - 1

    jit.kernel = jit.inner = jit.inlined = lambda function: function
    jit.part = part
    jit.entry = lambda function, *of: function
    memory, given = addresses()
    stands = {"_jit": jit, "calling": calling, "simd": stand_in(vector_bytes, wide), "memory": memory, "given": given}
    for module, stand in stands.items():
        sys.modules[f"{package}.{module}"] = stand
        setattr(sys.modules[package], module, stand)
    run, link = (importlib.import_module(f"{package}.{module}") for module in ("run", "link"))
    kernels = {kernel: getattr(run, kernel) for kernel in vars(kernels_of("numpy")) if kernel not in MAPPINGS}
    return SimpleNamespace(**kernels, parts=link.parts, steps=link.steps)
