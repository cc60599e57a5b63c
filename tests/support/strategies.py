"""Hypothesis strategies for arrays: sizes at the edges of vectors, all layouts, dtypes, and awkward values."""

import tempfile

import numpy as np
from hypothesis import strategies as st

NAN = float("nan")

# One vector is 8 (float64) or 16 (float32) numbers, one panel 64.
WIDTHS = st.sampled_from([1, 2, 3, 7, 8, 9, 15, 16, 17, 31, 33, 63, 64, 65])
ROWS = st.sampled_from([0, 1, 2, 3, 4, 5, 7, 8, 9, 13])
SEEDS = st.integers(0, 2**32 - 1)
DTYPES = st.sampled_from([np.float32, np.float64])

SPECIAL = [0.0, -0.0, 1.0, -1.0, 1e-40, -1e-40, 1e-310, 5e-324, 1e30, -1e30, np.inf, -np.inf, NAN]


# --- values: (generator, shape) → float64 ---


def normal(rng, shape):
    return rng.standard_normal(shape)


def integers(rng, shape):
    """Within ±7: products of these have the same bits in any order."""
    return rng.integers(-7, 8, shape).astype(float)


def with_zeros(rng, shape):
    return rng.standard_normal(shape) * rng.choice([0.0, -0.0, 1.0], shape)


def subnormal(rng, shape):
    return rng.standard_normal(shape) * 1e-41


def large(rng, shape):
    return rng.standard_normal(shape) * 1e12


def of_all_sizes(rng, shape):
    return rng.standard_normal(shape) * 10.0 ** rng.integers(-12, 12, shape)


def special(rng, shape):
    return rng.choice(SPECIAL, shape)


FINITE = st.sampled_from([normal, integers, with_zeros, subnormal, large, of_all_sizes])
ANY = st.sampled_from([normal, with_zeros, subnormal, of_all_sizes, special])


def draw_values(draw, kind, shape, dtype):
    with np.errstate(over="ignore"):
        return kind(np.random.default_rng(draw(SEEDS)), shape).astype(dtype)


# --- layouts: a 2-D array → the same numbers, laid out otherwise; gaps hold NaN ---


def fortran(a):
    return np.asfortranarray(a)


def strided(a):
    gaps = np.full((2 * len(a) + 1, 3 * a.shape[1] + 2), NAN, a.dtype)
    view = gaps[1::2, 2::3]
    view[...] = a
    return view


def padded_rows(a):
    gaps = np.full((len(a), a.shape[1] + 3), NAN, a.dtype)
    gaps[:, : a.shape[1]] = a
    return gaps[:, : a.shape[1]]


def reversed_rows(a):
    return a[::-1].copy()[::-1]


def reversed_both(a):
    return a[::-1, ::-1].copy()[::-1, ::-1]


def reversed_with_gaps(a):
    return strided(a[::-1, ::-1])[::-1, ::-1]


def misaligned(a):
    raw = np.empty(a.nbytes + 1, np.uint8)
    view = raw[1:].view(a.dtype).reshape(a.shape) if a.size else a.copy()
    view[...] = a
    return view


def byte_swapped(a):
    return a.astype(a.dtype.newbyteorder("S"))


def read_only(a):
    a = a.copy()
    a.flags.writeable = False
    return a


def memory_mapped(a):
    if not a.size:
        return a.copy()
    with tempfile.TemporaryFile() as file:
        mapped = np.memmap(file, a.dtype, "w+", shape=a.shape)
    mapped[...] = a
    return mapped


LAYOUTS = [
    np.array,
    fortran,
    strided,
    padded_rows,
    reversed_rows,
    reversed_both,
    reversed_with_gaps,
    misaligned,
    byte_swapped,
    read_only,
    memory_mapped,
]


def broadcast_rows(a):
    """Stride 0: every row is the first."""
    return np.broadcast_to(a[:1], a.shape) if len(a) else a


def broadcast_columns(a):
    return np.broadcast_to(a[:, :1], a.shape)


@st.composite
def arrays(draw, shape, values=FINITE, dtypes=DTYPES):
    """(plain, laid_out): a C-contiguous array, and one of the same numbers in any layout."""
    plain = draw_values(draw, draw(values), shape, draw(dtypes))
    layout = draw(st.sampled_from([*LAYOUTS, broadcast_rows, broadcast_columns]))
    laid_out = layout(plain)
    return np.array(laid_out, plain.dtype, order="C"), laid_out
