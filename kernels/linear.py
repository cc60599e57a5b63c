"""Linear forward and backward on register tiles.

All three products are one loop (`product`) over tiles of four rows by up to `WIDE` vectors:

    forward      y  = x · w + b       starts from b, runs over the inputs
    input        dx = dy · wᵀ         wᵀ is packed a strip at a time, then as forward, over the outputs
    parameters   dw = xᵀ · dy         the numbers of x are read down its columns, over the batch

A *panel* is a strip of columns as wide as one tile. The `_panels` functions fill as many panels as there
is room for, starting at column j, and return the column where they stopped; a tile one vector wide does
the rest (one of two vectors between them was no faster, and took a second more to compile).
Up to three rows are left over below the tiles of four. Forward has a tile of one row for them, for the sake
of single samples; backward takes the tile of four for each, with a distance of 0 between its rows.
"""

from . import momentum
from ._jit import inlined, inner, kernel
from .simd import (
    WIDE,
    add,
    at,
    keep_columns,
    load,
    one_row,
    outer_fma,
    pointer,
    positive_part,
    prefetch,
    store,
    transpose,
    where_positive,
    width,
    zeros,
)


@inlined
def product(acc, depth, a, a_row, a_step, b, b_step):
    """acc[r, c] + Σ_d a[r·a_row + d·a_step] · b[d·b_step + c], d ascending."""
    for d in range(depth):
        acc = outer_fma(acc, at(a, d * a_step), a_row, at(b, d * b_step))
    return acc


# --- y = x·w + b ---


@inlined
def _forward_tile(tile, y, ldy, x, ldx, w, b, depth, relu):
    acc = product(load(tile, b, 0), depth, x, ldx, 1, w, ldy)
    if relu:
        acc = positive_part(acc)
    store(acc, y, ldy)


@inner
def _forward_panels(tile, j, y, ldy, x, ldx, w, b, batch, n_in, n_out, relu):
    while ldy - j >= width(tile):
        depth = n_in if j < n_out else 0  # pads alone: nothing to sum
        for i in range(0, batch - 3, 4):
            _forward_tile(tile, at(y, i * ldy + j), ldy, at(x, i * ldx), ldx, at(w, j), at(b, j), depth, relu)
        for i in range(batch - batch % 4, batch):
            _forward_tile(one_row(tile), at(y, i * ldy + j), ldy, at(x, i * ldx), ldx, at(w, j), at(b, j), depth, relu)
        j += width(tile)
    return j


@inlined
def forward(y, ldy, x, ldx, w, b, batch, n_in, n_out, relu):
    """y = x·w + b, or its positive part. Rows of y and w are ldy apart, rows of x ldx."""
    j = _forward_panels(zeros(y, 4, WIDE), 0, y, ldy, x, ldx, w, b, batch, n_in, n_out, relu)
    _forward_panels(zeros(y, 4, 1), j, y, ldy, x, ldx, w, b, batch, n_in, n_out, relu)


# --- dx = dy·wᵀ ---


@inner
def _pack_transposed(scratch, scratch_ld, columns, w, ldw, n_in, n_out):
    """scratch[n, k] = w[k, n] for k < columns; past the last row of w, its last row again."""
    vector = zeros(w, 1, 1)
    for k in range(0, columns, width(vector)):
        row = min(k, n_in - 1)
        for n in range(0, n_out, width(vector)):
            transpose(vector, at(scratch, n * scratch_ld + k), scratch_ld, at(w, row * ldw + n), ldw, n_in - row)


@inlined
def _input_tile(tile, i, x_row, y_row, j, dx, ldx, dy, ldy, wt, x, n_in, depth, relu_input):
    """Rows i, i + 1, … of dx from column j on; their distance is given, and 0 for a row left over."""
    acc = product(tile, depth, at(dy, i * ldy), y_row, 1, wt, width(tile))
    acc = keep_columns(acc, n_in - j)
    if relu_input:
        acc = where_positive(load(tile, at(x, i * ldx + j), x_row), acc)
    store(acc, at(dx, i * ldx + j), x_row)


@inner
def _input_panels(tile, j, dx, ldx, dy, ldy, w, scratch, x, batch, n_in, n_out, relu_input):
    ld = width(tile)
    while ldx - j >= ld:
        depth = n_out if j < n_in else 0
        _pack_transposed(scratch, ld, ld, at(w, j * ldy), ldy, n_in - j, depth)
        i = 0
        while i < batch:
            four = batch - i >= 4  # else the same row four times
            _input_tile(tile, i, ldx * four, ldy * four, j, dx, ldx, dy, ldy, scratch, x, n_in, depth, relu_input)
            i += 4 if four else 1
        j += ld
    return j


@inlined
def backward_input(dx, ldx, dy, ldy, w, scratch, x, batch, n_in, n_out, relu_input):
    """dx = dy·wᵀ; where `relu_input`, only where x > 0. Rows of dx and x are ldx apart, of dy and w ldy."""
    j = _input_panels(zeros(dx, 4, WIDE), 0, dx, ldx, dy, ldy, w, scratch, x, batch, n_in, n_out, relu_input)
    _input_panels(zeros(dx, 4, 1), j, dx, ldx, dy, ldy, w, scratch, x, batch, n_in, n_out, relu_input)


# --- dw = xᵀ·dy, db = Σ dy ---


@inlined
def _accumulate(acc, g, ld, n, add_to):
    """Store the first n columns of a tile of sums as gradients, or add them to those that are there."""
    acc = keep_columns(acc, n)
    if add_to:
        acc = add(load(acc, g, ld), acc)
    store(acc, g, ld)


@inner
def _parameter_panels(tile, j, dw, db, dy, ldy, x, ldx, batch, n_in, n_out, add_to):
    row = one_row(tile)
    while j < n_out and ldy - j >= width(tile):
        total = row
        for i in range(batch):
            total = add(total, load(row, at(dy, i * ldy + j), 0))
        _accumulate(total, at(db, j), 0, n_out - j, add_to)
        k = 0
        while k < n_in:
            four = n_in - k >= 4  # else the same row four times
            acc = product(tile, batch, at(x, k), four, ldx, at(dy, j), ldy)
            _accumulate(acc, at(dw, k * ldy + j), ldy * four, n_out - j, add_to)
            k += 4 if four else 1
        j += width(tile)
    return j


@inlined
def backward_parameters(dw, db, dy, ldy, x, ldx, batch, n_in, n_out, add_to):
    """dw = xᵀ·dy and db = Σ dy over the batch, stored or added. Rows of dw and dy are ldy apart, of x ldx."""
    j = _parameter_panels(zeros(dy, 4, WIDE), 0, dw, db, dy, ldy, x, ldx, batch, n_in, n_out, add_to)
    _parameter_panels(zeros(dy, 4, 1), j, dw, db, dy, ldy, x, ldx, batch, n_in, n_out, add_to)


# --- dw and db, and at once the momentum update of w and b ---


@inner
def _update_panels(tile, j, w, b, vw, vb, dy, ldy, x, ldx, batch, n_in, n_out, rate, keep, decay, l1):
    row = one_row(tile)
    while j < n_out and ldy - j >= width(tile):
        total = row
        for i in range(batch):
            total = add(total, load(row, at(dy, i * ldy + j), 0))
        momentum.update(keep_columns(total, n_out - j), at(b, j), at(vb, j), 0, rate, keep, decay, l1)
        k = 0
        while k < n_in:
            four = n_in - k >= 4  # else the same row four times
            kj = k * ldy + j
            if batch > 8:  # else the product is over before they arrive
                prefetch(tile, at(w, kj), ldy * four)
                prefetch(tile, at(vw, kj), ldy * four)
            acc = keep_columns(product(tile, batch, at(x, k), four, ldx, at(dy, j), ldy), n_out - j)
            momentum.update(acc, at(w, kj), at(vw, kj), ldy * four, rate, keep, decay, l1)
            k += 4 if four else 1
        j += width(tile)
    return j


@inlined
def backward_update(w, b, vw, vb, dy, ldy, x, ldx, batch, n_in, n_out, rate, keep, decay, l1):
    """The momentum update of w and b with velocities vw and vb, by gradients that are never stored."""
    wide, narrow = zeros(dy, 4, WIDE), zeros(dy, 4, 1)
    j = _update_panels(wide, 0, w, b, vw, vb, dy, ldy, x, ldx, batch, n_in, n_out, rate, keep, decay, l1)
    _update_panels(narrow, j, w, b, vw, vb, dy, ldy, x, ldx, batch, n_in, n_out, rate, keep, decay, l1)


# --- the kernels ---


@kernel
def linear_forward(y, x, w, b, batch, n_in, relu):
    """y = x·w + b, or its positive part where `relu`.

    y (rows, ld_out) padded; x (rows, ld_in), any row length ≥ n_in; w (n_in, ld_out) padded;
    b (1, ld_out) padded. The first `batch` rows of y are written, pads included.
    """
    args = pointer(x, 0), x.shape[1], pointer(w, 0), pointer(b, 0)
    forward(pointer(y, 0), y.shape[1], args[0], args[1], args[2], args[3], batch, n_in, y.shape[1], relu)


@kernel
def linear_backward_input(dx, dy, w, scratch, x, batch, n_in, n_out, relu_input):
    """dx = dy·wᵀ; where `relu_input`, x came out of a ReLU and dx is 0 where x is not positive.

    dx, x (rows, ld_in) padded; dy (rows, ld_out) padded; w (n_in, ld_out) padded; scratch (ld_out,
    SCRATCH_ROW_BYTES) is overwritten. The first `batch` rows of dx are written, their pads with zeros.
    """
    p, ldx = pointer(dx, 0), dx.shape[1]
    backward_input(
        p, ldx, pointer(dy, 0), dy.shape[1], pointer(w, 0), pointer(scratch, 0), pointer(x, 0),
        batch, n_in, n_out, relu_input,
    )  # fmt: skip


@kernel
def linear_backward_parameters(dw, db, dy, x, batch, n_in, n_out, add_to):
    """dw = xᵀ·dy and db = Σ dy over the first `batch` rows, added to dw and db where `add_to`.

    dw (n_in, ld_out) padded; db (1, ld_out) padded; dy (rows, ld_out) padded; x (rows, ld_in).
    """
    dy_, ldy = pointer(dy, 0), dy.shape[1]
    backward_parameters(pointer(dw, 0), pointer(db, 0), dy_, ldy, pointer(x, 0), x.shape[1], batch, n_in, n_out, add_to)
