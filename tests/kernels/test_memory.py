"""What kernels read and write: their arrays, and nothing outside."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from twins import dtypes

import fastnp
from fastnp import kernels as layout


@dtypes
def test_padded_rows_are_whole_vectors_and_never_a_cache_stride_apart(dtype):
    itemsize = np.dtype(dtype).itemsize
    assert layout.padded(0, itemsize) == 0
    for n in range(1, 600):
        length = layout.padded(n, itemsize) * itemsize
        assert length % layout.PAD_BYTES == 0
        assert length % layout.CACHE_STRIDE != 0
        assert n * itemsize <= length < n * itemsize + 2 * layout.PAD_BYTES


# Buffers that end, or start, at a page that may not be touched: reading there kills the process. NaN around
# the buffers does not show a read whose result is thrown away.
PROTECTED = """
import ctypes
import mmap
import sys

import numpy as np

sys.path.insert(0, sys.argv[1])
from cases import DTYPES, NETWORKS, ON_NETWORKS, ON_SIZES, build
from sizes import CASES
from thinned import covering
from fastnp.backend import kernels_of

KERNELS, PAGE = kernels_of("numba"), mmap.PAGESIZE
libc = ctypes.CDLL(None, use_errno=True)
mapped = []


def fenced(arrays, at_end, *others):
    # One flat array in which each of these has pages of its own, between pages that may not be touched; and where.
    # Others of the same sizes lie behind them at the same distances, as the kinds of what is kept do.
    rooms = [(array.nbytes + PAGE - 1) // PAGE * PAGE for array in arrays]
    far = sum(rooms) + (len(rooms) + 1) * PAGE
    memory = mmap.mmap(-1, far * (1 + len(others)))
    mapped.append(memory)
    start = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    flat = np.frombuffer(memory, arrays[0].dtype)
    places = []
    for first, kind in zip(range(0, len(memory), far), [arrays, *others]):
        at = first
        for array, room in zip(kind, rooms):
            place = (at + PAGE + (room - array.nbytes if at_end else 0)) // array.itemsize
            flat[place : place + array.size] = array.reshape(-1)
            places.append(place)
            at += PAGE + room
        at = first
        for room in [*rooms, 0]:
            assert libc.mprotect(ctypes.c_void_p(start + at), PAGE, 0) == 0
            at += PAGE + room
    return flat, places[: len(arrays)]


def fenced_operation(call, at_end):
    op = call.op
    scratch = op.work[op.row["scratch"] :][: max(op.row["ld_in"], op.row["ld_out"]) * 256 // op.dtype.itemsize]
    fields = ["scratch", "memory", "x", "y", "dx", "dy"]
    buffers = [scratch, op.memory, *(op.padded(name) for name in fields[2:])]
    same = op.row["y"] == op.row["x"], op.row["dx"] == op.row["dy"]
    weights = [op.padded("weights"), op.padded("bias")]
    kept = list(zip(op.padded("weights_kept"), op.padded("bias_kept")))
    op.work, places = fenced(buffers, at_end)
    for field, place in zip(fields, places):
        op.row[field] = place
    if same[0]:
        op.row["y"] = op.row["x"]
    if same[1]:
        op.row["dx"] = op.row["dy"]
    op.params, (op.row["weights"], op.row["bias"]) = fenced(weights, at_end)
    op.target, _ = fenced(kept[0], at_end, *kept[1:])
    call.prepared(KERNELS)()


def fenced_arrays(call, at_end):
    for name, value in call.arguments.items():
        if isinstance(value, np.ndarray) and value.dtype.kind == "f" and value.size and name != "losses":
            if name in ("x", "y"):  # rows of a training, and three more
                value = value[:-3]
            flat, (offset,) = fenced([value], at_end)
            call.arguments[name] = flat[offset : offset + value.size].reshape(value.shape)
    call.make(KERNELS)


calls = [
    (name, case, dtype, at_end)
    for name in [*ON_SIZES, *ON_NETWORKS]
    for case in (NETWORKS if name in ON_NETWORKS else CASES)
    if case.batch and (not name.startswith("train") or case.trains)
    for dtype in DTYPES
    for at_end in (True, False)
]
for i in {"all": range(len(calls)), "some": sorted(covering(calls, 3))}[sys.argv[2]]:
    name, case, dtype, at_end = calls[i]
    print(name, case, dtype.__name__, "end" if at_end else "start", flush=True)
    call = build(name, case, dtype, offset=0)
    (fenced_operation if hasattr(call, "op") else fenced_arrays)(call, at_end)
    del call
    mapped.clear()
"""


@pytest.mark.skipif(sys.platform == "win32", reason="needs mprotect")
@pytest.mark.parametrize("which", ["some", pytest.param("all", marks=pytest.mark.slow)])
def test_nothing_outside_the_arrays_is_read(which):
    here = Path(__file__).parents[1] / "support"
    path = os.pathsep.join(filter(None, [str(Path(fastnp.__file__).parents[1]), os.environ.get("PYTHONPATH")]))
    command = [sys.executable, "-c", PROTECTED, str(here), which]
    environment = {**os.environ, "PYTHONPATH": path}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, f"{done.stderr}\nthe last call: {done.stdout.splitlines()[-1:]}"
