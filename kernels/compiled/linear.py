"""Linear forward and backward on register tiles.

All three products are one loop (`product`) over tiles of four rows by up to `WIDE` vectors:

    forward      y  = x · w + b       starts from b, runs over the inputs
    input        dx = dy · wᵀ         wᵀ is packed a strip at a time, then as forward, over the outputs
    parameters   dw = xᵀ · dy         the numbers of x are read down its columns, over the batch

A *panel* is a strip of columns as wide as one tile. The `_panels` functions fill as many panels as there
is room for, starting at column j, and return the column where they stopped; a tile one vector wide does
the rest (one of two vectors between them was no faster, and took a second more to compile).
In tiles one vector wide, each sum waits for the one before, and there are few beside it: forward and dx take eight rows
at once there, where there are so many.

Up to three rows are left over below the tiles of four. There is a tile of one row for them, for the sake of single
samples; dx, in tiles one vector wide, takes the tile of four for each, with a distance of 0 between its rows, and dw
that for all.

Where the output is one wide, the weights are a *column*, whose numbers lie side by side (`column`): its products are
sums of four rows at once, an outer product, and vectors along the inputs.
"""

from ..table import Operation
from ._jit import inlined, inner
from .simd import (
    WIDE,
    add,
    at,
    keep_columns,
    load,
    number_like,
    numbers,
    one_row,
    outer_fma,
    positive_part,
    read,
    row_of,
    splat,
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
def _forward_tile(tile, y, ldy, x, ldx, w, ldw, b, depth, rectified):
    acc = product(load(tile, b, 0), depth, x, ldx, 1, w, ldw)
    if rectified:
        acc = positive_part(acc)
    store(acc, y, ldy)


@inlined
def _forward_wide(tile, y, ldy, x, ldx, w, b, batch, n_in, n_out, rectified):
    j = 0
    while ldy - j >= width(tile):
        depth = n_in if j < n_out else 0  # pads alone: nothing to sum
        for i in range(0, batch - 3, 4):
            yij, xi, wj, bj = at(y, i * ldy + j), at(x, i * ldx), at(w, j), at(b, j)
            _forward_tile(tile, yij, ldy, xi, ldx, wj, ldy, bj, depth, rectified)
        for i in range(batch - batch % 4, batch):
            yij, xi, wj, bj = at(y, i * ldy + j), at(x, i * ldx), at(w, j), at(b, j)
            _forward_tile(one_row(tile), yij, ldy, xi, ldx, wj, ldy, bj, depth, rectified)
        j += width(tile)
    return j


@inlined
def _forward_narrow(tile, eight, start, y, ldy, x, ldx, w, b, batch, n_in, n_out, rectified):
    for j in range(start, ldy, width(tile)):
        depth, i = n_in if j < n_out else 0, 0
        while batch - i >= 8:
            yij, xi, wj, bj = at(y, i * ldy + j), at(x, i * ldx), at(w, j), at(b, j)
            _forward_tile(eight, yij, ldy, xi, ldx, wj, ldy, bj, depth, rectified)
            i += 8
        while batch - i >= 4:
            yij, xi, wj, bj = at(y, i * ldy + j), at(x, i * ldx), at(w, j), at(b, j)
            _forward_tile(tile, yij, ldy, xi, ldx, wj, ldy, bj, depth, rectified)
            i += 4
        while i < batch:
            yij, xi, wj, bj = at(y, i * ldy + j), at(x, i * ldx), at(w, j), at(b, j)
            _forward_tile(one_row(tile), yij, ldy, xi, ldx, wj, ldy, bj, depth, rectified)
            i += 1


def forward(op, x, work, params, batch):
    """y = x·w + b, or its positive part."""
    y, w, b = at(work, op.y), at(params, op.weights), at(params, op.bias)
    ldy, ldx, n_in, n_out, rectified = op.ld_out, op.ld_in, op.n_in, op.n_out, op.rectified != 0
    j = _forward_wide(zeros(y, 4, WIDE), y, ldy, x, ldx, w, b, batch, n_in, n_out, rectified)
    _forward_narrow(zeros(y, 4, 1), zeros(y, 8, 1), j, y, ldy, x, ldx, w, b, batch, n_in, n_out, rectified)


# --- dx = dy·wᵀ ---


@inlined
def _pack_transposed(scratch, ld, columns, w, ldw, n_in, n_out):
    """scratch[n, k] = w[k, n] for k < columns; past the last row of w, its last row again."""
    vector = zeros(w, 1, 1)
    for k in range(0, columns, width(vector)):
        row = min(k, n_in - 1)
        for n in range(0, n_out, width(vector)):
            transpose(vector, at(scratch, n * ld + k), ld, at(w, row * ldw + n), ldw, n_in - row)


@inlined
def _input_tile(tile, i, x_row, y_row, j, dx, ldx, dy, ldy, wt, ldwt, x, n_in, depth, masked):
    """Rows i, i + 1, … of dx from column j on; their distance is given, and 0 for a row left over."""
    acc = product(tile, depth, at(dy, i * ldy), y_row, 1, wt, ldwt)
    acc = keep_columns(acc, n_in - j)
    if masked:
        acc = where_positive(load(tile, at(x, i * ldx + j), x_row), acc)
    store(acc, at(dx, i * ldx + j), x_row)


@inlined
def _input_rows(tile, rest, i, j, dx, ldx, dy, ldy, wt, ldwt, x, batch, n_in, depth, masked):
    while batch - i >= 4:
        _input_tile(tile, i, ldx, ldy, j, dx, ldx, dy, ldy, wt, ldwt, x, n_in, depth, masked)
        i += 4
    while i < batch:
        _input_tile(rest, i, 0, 0, j, dx, ldx, dy, ldy, wt, ldwt, x, n_in, depth, masked)
        i += 1


def input_gradient(op, x, work, params, batch):
    """dx = dy·wᵀ; where x is the positive part of something, only where it is positive."""
    dx, dy, w, scratch = at(work, op.dx), at(work, op.dy), at(params, op.weights), at(work, op.scratch)
    ldx, ldy, n_in, masked = op.ld_in, op.ld_out, op.n_in, op.masked != 0
    wide, narrow, eight = zeros(dx, 4, WIDE), zeros(dx, 4, 1), zeros(dx, 8, 1)
    j, ld = 0, width(wide)  # of the scratch space, whatever stands there: a constant
    while j < ldx:
        columns = ld if ldx - j >= ld else width(narrow)
        depth = op.n_out if j < n_in else 0
        _pack_transposed(scratch, ld, columns, at(w, j * ldy), ldy, n_in - j, depth)
        if columns == ld:
            _input_rows(wide, one_row(wide), 0, j, dx, ldx, dy, ldy, scratch, ld, x, batch, n_in, depth, masked)
        else:
            i = 0
            while batch - i >= 8:
                _input_tile(eight, i, ldx, ldy, j, dx, ldx, dy, ldy, scratch, ld, x, n_in, depth, masked)
                i += 8
            _input_rows(narrow, narrow, i, j, dx, ldx, dy, ldy, scratch, ld, x, batch, n_in, depth, masked)
        j += columns


# --- dw = xᵀ·dy, db = Σ dy, and what is done with them ---


@inner
def _parameter_panels(rule, ahead, tile, j, w, b, tw, tb, far, nw, nb, dy, ldy, x, ldx, batch, n_in, n_out):
    row = one_row(tile)
    while j < n_out and ldy - j >= width(tile):
        total = row
        for i in range(batch):
            total = add(total, load(row, at(dy, i * ldy + j), 0))
        rule(keep_columns(total, n_out - j), at(b, j), at(tb, j), far, 0, nb)
        for k in range(0, n_in, 4):  # where fewer than four are left, pads of x are behind them
            kj, left = k * ldy + j, n_in - k
            if batch > 8:  # else the product is over before they arrive
                ahead(tile, at(w, kj), at(tw, kj), far, ldy * (left >= 4))
            acc = keep_columns(product(tile, batch, at(x, k), 1, ldx, at(dy, j), ldy), n_out - j)
            # Row by row: with all that a rule reads and keeps, a tile would not fit in the registers.
            rule(row_of(acc, 0), at(w, kj), at(tw, kj), far, 0, nw)
            if left > 1:
                rule(row_of(acc, 1), at(w, kj + ldy), at(tw, kj + ldy), far, 0, nw)
            if left > 2:
                rule(row_of(acc, 2), at(w, kj + 2 * ldy), at(tw, kj + 2 * ldy), far, 0, nw)
            if left > 3:
                rule(row_of(acc, 3), at(w, kj + 3 * ldy), at(tw, kj + 3 * ldy), far, 0, nw)
        j += width(tile)
    return j


def parameters(rule, ahead):
    """The part that makes dw and db, a tile at a time, and does with each what `rule` says (see `updates`)."""

    def part(op, x, work, params, target, far, numbers, batch):
        dy, w, b = at(work, op.dy), at(params, op.weights), at(params, op.bias)
        tw, tb = at(target, op.weights), at(target, op.bias)
        nw, nb = at(numbers, op.weight_numbers), at(numbers, op.bias_numbers)
        ldx, ldy, n_in, n_out = op.ld_in, op.ld_out, op.n_in, op.n_out
        wide, narrow = zeros(dy, 4, WIDE), zeros(dy, 4, 1)
        j = _parameter_panels(rule, ahead, wide, 0, w, b, tw, tb, far, nw, nb, dy, ldy, x, ldx, batch, n_in, n_out)
        _parameter_panels(rule, ahead, narrow, j, w, b, tw, tb, far, nw, nb, dy, ldy, x, ldx, batch, n_in, n_out)

    return part


linear = Operation(forward, input_gradient, parameters)


# --- the same, where n_out is 1 ---


def column_forward(op, x, work, params, batch):
    """y = x·w + b, or its positive part."""
    y, w, b, ldy, ldx = at(work, op.y), at(params, op.weights), at(params, op.bias), op.ld_out, op.ld_in
    i = 0
    while i < batch:
        four = batch - i >= 4  # else the same row four times
        yi, xi = at(y, i * ldy), at(x, i * ldx)
        _forward_tile(numbers(y, 4), yi, ldy * four, xi, ldx * four, w, 1, b, op.n_in, op.rectified != 0)
        i += 4 if four else 1


def column_input_gradient(op, x, work, params, batch):
    """dx = dy·wᵀ; where x is the positive part of something, only where it is positive."""
    dx, dy, w, ldx, ldy = at(work, op.dx), at(work, op.dy), at(params, op.weights), op.ld_in, op.ld_out
    tile = zeros(dx, 4, 1)
    for j in range(0, ldx, width(tile)):
        _input_rows(tile, tile, 0, j, dx, ldx, dy, ldy, at(w, j), 0, x, batch, op.n_in, 1, op.masked != 0)


def column_parameters(rule, ahead):
    """As `parameters`; a column is so small that nothing is asked for ahead."""

    def part(op, x, work, params, target, far, of_rule, batch):
        dy, w, b = at(work, op.dy), at(params, op.weights), at(params, op.bias)
        tw, tb, ldx, ldy = at(target, op.weights), at(target, op.bias), op.ld_in, op.ld_out
        vector, total = zeros(dy, 1, 1), number_like(dy, 0.0)
        for i in range(batch):
            total += read(at(dy, i * ldy))
        rule(keep_columns(splat(vector, total), 1), b, tb, far, 0, at(of_rule, op.bias_numbers))
        for k in range(0, op.n_in, width(vector)):
            dw = keep_columns(product(vector, batch, dy, 0, ldy, at(x, k), ldx), op.n_in - k)
            rule(dw, at(w, k), at(tw, k), far, 0, at(of_rule, op.weight_numbers))

    return part


column = Operation(column_forward, column_input_gradient, column_parameters)
