"""The machine's own limit: a kernel of multiply-adds that depend on nothing but themselves."""

import time

import numpy as np

from asv_benches.layouts import jit, simd

kernel = jit.kernel
fma, pointer, splat, store, width, zeros = simd.fma, simd.pointer, simd.splat, simd.store, simd.width, simd.zeros

REPEATS = 20_000


@kernel
def multiply_add(out, repeats):
    """12 independent chains of vector multiply-adds; returns how many floating-point operations were done."""
    p = pointer(out, 0)
    acc = zeros(p, 4, 3)
    factor = splat(acc, 0.999)
    for _ in range(repeats):
        acc = fma(acc, factor, factor)
    store(acc, p, width(acc))
    return repeats * 2 * 4 * width(acc)


def peak_flops():
    """float32 operations a second of one core, right now, by its own clock: other processes count less."""
    out = np.zeros(4 * 3 * 16, np.float32)
    start = time.process_time()
    done = multiply_add(out, REPEATS)
    return done / (time.process_time() - start)
