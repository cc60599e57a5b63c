"""One table of cases: the equality tests and the benchmarks take sizes, networks and arguments from here.

`build(kernel, case, dtype, …)` gives a `Call`: arguments for one kernel, each array cut out of a larger
buffer full of NaN. What the contract in `fastnp.kernels` leaves open is filled with NaN, too: the pads of
activations, rows past the batch, outputs before they are written. A kernel that reads there returns NaN,
and `Call.run` finds one that writes there.
"""

from typing import Any, NamedTuple

import numpy as np

from fastnp import kernels as layout
from fastnp.kernels import SCRATCH_ROW_BYTES, padded

DTYPES = (np.float32, np.float64)
NAN = float("nan")


class Case(NamedTuple):
    """The sizes of a layer."""

    batch: int
    n_in: int
    n_out: int

    def __str__(self):
        return f"{self.batch}x{self.n_in}x{self.n_out}"


class Network(NamedTuple):
    """A network: the width of its input, then the width of each Linear or "relu"."""

    name: str
    n_in: int
    layers: tuple[Any, ...]
    batch: int

    def __str__(self):
        return f"{self.name}-{self.batch}"

    @property
    def trains(self):
        """Whether there is anything to train, and on."""
        return self.batch > 0 and any(layer != "relu" for layer in self.layers)


SIN_LAYERS = (16, "relu", 64, "relu", 16, "relu", 1)

# Widths stand at, below and past the multiples of 8, 16 and 64: one vector, one tile, several panels.
CASES = [
    Case(*sizes)
    for sizes in (
        (1, 1, 1), (4, 1, 16), (4, 16, 64), (4, 64, 16), (4, 16, 1), (2, 1, 16), (2, 16, 1),  # the sin network
        (0, 1, 1), (0, 16, 16), (0, 3, 65), (1, 1, 65), (1, 65, 1), (3, 1, 1), (5, 1, 7), (5, 7, 1),
        (3, 7, 9), (5, 8, 8), (2, 9, 7), (3, 15, 17), (4, 16, 16), (5, 17, 15), (4, 2, 3), (1, 3, 2), (6, 4, 4),
        (1, 31, 33), (2, 33, 31), (3, 32, 32), (6, 63, 65), (7, 64, 64), (8, 65, 63), (5, 24, 40), (4, 40, 24),
        (3, 80, 97), (4, 97, 80), (5, 112, 113), (2, 128, 127), (3, 127, 129), (11, 48, 48), (4, 20, 200),
        (13, 100, 10), (100, 2, 3), (32, 64, 64), (128, 256, 256),
    )
]  # fmt: skip

NETWORKS = [
    Network(*network)
    for network in (
        ("sin", 1, SIN_LAYERS, 4),
        ("sin", 1, SIN_LAYERS, 2),
        ("sin", 1, SIN_LAYERS, 1),
        ("sin", 1, SIN_LAYERS, 0),
        ("one", 1, (1,), 3),
        ("linear", 17, (9,), 5),
        ("chain", 4, (9, 33, 2), 5),
        ("relu-first", 5, ("relu", 7, "relu"), 3),
        ("relu-twice", 3, (18, "relu", "relu", 5), 6),
        ("relu-alone", 6, ("relu",), 4),
        ("relus-alone", 6, ("relu", "relu"), 3),
        ("relu-last", 8, (16, 65, "relu"), 4),
        ("mixed", 20, ("relu", 70, 33, "relu", "relu", 1, "relu", 12), 7),
        ("wide", 40, (130, "relu", 100, "relu", 10), 33),
        ("one-pad-more", 128, (256, "relu", 127), 5),
    )
]


def _nans(size: int, dtype: np.dtype, seed: int) -> np.ndarray:
    """NaNs that differ in their payloads, so that one written over another shows."""
    bits = np.random.default_rng(seed).integers(1, 2**22, size, dtype=f"u{dtype.itemsize}")
    quiet = np.array(NAN, dtype).view(bits.dtype)
    return (bits | quiet).view(dtype).copy()  # an owner: views of it have it as their base


class Call:
    """One call of a kernel: `arguments` by name in the order of its signature, in guarded memory.

    Arrays start `offset` numbers past a cache line.
    """

    def __init__(self, kernel: str, dtype: Any, offset: int):
        self.kernel = kernel
        self.dtype = np.dtype(dtype)
        self.arguments: dict[str, Any] = {}
        self._offset = offset
        self._buffers: list[tuple[np.ndarray, np.ndarray]] = []  # each with a mask of what may be written

    def __getitem__(self, name: str) -> Any:
        return self.arguments[name]

    def array(self, values: Any, ld: int | None = None, *, pad: float = 0.0, spare: int = 0, written: int = 0):
        """A 2-D array with `values` in its top left corner, `pad` to their right and `spare` rows of NaN below.

        The first `written` rows may be written.
        """
        values = np.asarray(values, self.dtype)
        rows, n = values.shape
        ld = n if ld is None else ld
        guard = padded(4 * ld + 64, self.dtype.itemsize)
        size = (rows + spare) * ld
        raw = _nans(guard + size + guard + 64, self.dtype, seed=len(self._buffers))
        start = guard + -raw.ctypes.data // self.dtype.itemsize % (64 // self.dtype.itemsize) + self._offset
        may_write = np.zeros(raw.size, bool)
        may_write[start : start + written * ld] = True
        self._buffers.append((raw, may_write))
        array = raw[start : start + size].reshape(rows + spare, ld)
        np.copyto(array[:rows, :n], values, where=~np.isnan(values))
        if not np.isnan(pad):
            array[:rows, n:] = pad
        return array

    def allow(self, array: np.ndarray, offset: int, count: int) -> None:
        """`count` numbers of a flat array of this call may be written."""
        raw, may_write = next(pair for pair in self._buffers if pair[0] is array.base)
        start = (array.ctypes.data - raw.ctypes.data) // self.dtype.itemsize + offset
        may_write[start : start + count] = True

    def run(self, kernels: Any) -> Any:
        """Call the kernel; AssertionError where it wrote what it may not. Returns what the kernel returns."""
        before = [raw.copy() for raw, _ in self._buffers]
        result = getattr(kernels, self.kernel)(*self.arguments.values())
        for (raw, may_write), old in zip(self._buffers, before, strict=True):
            changed = (raw.view(np.uint8) != old.view(np.uint8)).reshape(raw.size, -1).any(axis=1)
            where = np.flatnonzero(changed & ~may_write)
            assert not where.size, f"{self.kernel} wrote outside its outputs, at {where[:9]} of {raw.size} numbers"
        return result


def normal(rng: np.random.Generator, shape: Any) -> np.ndarray:
    return rng.standard_normal(shape)


def exact(rng: np.random.Generator, shape: Any) -> np.ndarray:
    """Integers within ±7: sums of their products have the same bits in any order."""
    return rng.integers(-7, 8, shape).astype(np.float64)


# --- one builder for each kernel: fills call.arguments ---


def linear_forward(call, case, rng, draw, relu=False):
    batch, n_in, n_out = case
    itemsize = call.dtype.itemsize
    ld_in = n_in if batch % 2 else padded(n_in, itemsize)  # any row length will do
    ld_out = padded(n_out, itemsize)
    call.arguments.update(
        y=call.array(np.full((batch, n_out), NAN), ld_out, pad=NAN, spare=3, written=batch),
        x=call.array(draw(rng, (batch, n_in)), ld_in, pad=NAN, spare=3),
        w=call.array(draw(rng, (n_in, n_out)), ld_out),
        b=call.array(draw(rng, (1, n_out)), ld_out),
        batch=batch, n_in=n_in, relu=relu,
    )  # fmt: skip


def linear_backward_input(call, case, rng, draw, relu_input=False):
    batch, n_in, n_out = case
    itemsize = call.dtype.itemsize
    ld_in, ld_out = padded(n_in, itemsize), padded(n_out, itemsize)
    scratch = np.full((ld_out, SCRATCH_ROW_BYTES // itemsize), NAN)
    call.arguments.update(
        dx=call.array(np.full((batch, n_in), NAN), ld_in, pad=NAN, spare=3, written=batch),
        dy=call.array(draw(rng, (batch, n_out)), ld_out, spare=3),
        w=call.array(draw(rng, (n_in, n_out)), ld_out),
        scratch=call.array(scratch, written=ld_out),
        x=call.array(draw(rng, (batch, n_in)), ld_in, pad=NAN, spare=3),
        batch=batch, n_in=n_in, n_out=n_out, relu_input=relu_input,
    )  # fmt: skip


def linear_backward_parameters(call, case, rng, draw, add_to=False):
    batch, n_in, n_out = case
    itemsize = call.dtype.itemsize
    ld_in = n_in if batch % 2 else padded(n_in, itemsize)
    ld_out = padded(n_out, itemsize)
    dw, db = draw(rng, (n_in, n_out)), draw(rng, (1, n_out))
    call.arguments.update(
        dw=call.array(dw if add_to else np.full_like(dw, NAN), ld_out, written=n_in),
        db=call.array(db if add_to else np.full_like(db, NAN), ld_out, written=1),
        dy=call.array(draw(rng, (batch, n_out)), ld_out, spare=3),
        x=call.array(draw(rng, (batch, n_in)), ld_in, pad=NAN, spare=3),
        batch=batch, n_in=n_in, n_out=n_out, add_to=add_to,
    )  # fmt: skip


def relu_forward(call, case, rng, draw, in_place=False):
    batch, _, n = case
    ld = padded(n, call.dtype.itemsize)
    x = call.array(draw(rng, (batch, n)), ld, pad=NAN, written=batch if in_place else 0)
    y = x if in_place else call.array(np.full((batch, n), NAN), ld, pad=NAN, written=batch)
    call.arguments.update(y=y, x=x)


def relu_backward(call, case, rng, draw, in_place=False):
    batch, _, n = case
    ld = padded(n, call.dtype.itemsize)
    dy = call.array(draw(rng, (batch, n)), ld, written=batch if in_place else 0)
    dx = dy if in_place else call.array(np.full((batch, n), NAN), ld, pad=NAN, written=batch)
    call.arguments.update(dx=dx, dy=dy, y=call.array(np.maximum(draw(rng, (batch, n)), 0), ld, pad=NAN))


def mse(call, case, rng, draw, scale=0.375):
    shape = (case.batch, case.n_out)
    call.arguments.update(
        dpred=call.array(np.full(shape, NAN), written=case.batch),
        pred=call.array(draw(rng, shape)),
        target=call.array(draw(rng, shape)),
        scale=scale,
    )


def momentum_update(call, case, rng, draw, learning_rate=0.01, momentum=0.9, weight_decay=0.0, l1=False):
    batch, _, n = case
    ld = padded(n, call.dtype.itemsize)
    call.arguments.update(
        {name: call.array(draw(rng, (batch, n)), ld, written=batch).reshape(-1) for name in "pv"},
        g=call.array(draw(rng, (batch, n)), ld).reshape(-1),
        learning_rate=learning_rate, momentum=momentum, weight_decay=weight_decay, l1=l1,
    )  # fmt: skip


def _table(network, itemsize, capacity, gap):
    """The table of a network, with `gap` numbers between all buffers; sizes of the workspace and the arena."""
    table = np.zeros((len(network.layers), layout.COLUMNS), np.int64)
    widths = [network.n_in]
    for layer in network.layers:
        widths.append(widths[-1] if layer == "relu" else layer)
    lds = [padded(n, itemsize) for n in widths]
    table[:, layout.SCRATCH] = gap
    work = 2 * gap + max(lds) * (SCRATCH_ROW_BYTES // itemsize)
    arena = gap
    places = []
    for i, ld in enumerate(lds):
        if i and network.layers[i - 1] == "relu":
            places.append(places[-1])
        else:
            places.append((work, work + capacity * ld + gap))
            work += 2 * (capacity * ld + gap)
    for i, layer in enumerate(network.layers):
        (x, dx), (y, dy) = places[i : i + 2]
        code = layout.RELU if layer == "relu" else layout.LINEAR
        table[i, : layout.WEIGHT] = code, widths[i], widths[i + 1], lds[i], lds[i + 1], x, y, dx, dy
        if code == layout.LINEAR:
            table[i, layout.WEIGHT] = arena
            arena += widths[i] * lds[i + 1] + gap
            table[i, layout.BIAS] = arena
            arena += lds[i + 1] + gap
    return table, work, arena


def rows(flat, offset, count, ld):
    """A view of `count` rows of `ld` numbers in a flat array."""
    return flat[offset : offset + count * ld].reshape(count, ld)


def parameter_views(flat, op):
    """Views (n_in, ld), (1, ld) of one Linear's weights and bias in an arena."""
    return (
        rows(flat, op[layout.WEIGHT], op[layout.N_IN], op[layout.LD_OUT]),
        rows(flat, op[layout.BIAS], 1, op[layout.LD_OUT]),
    )


def _program(call, network, rng, draw, odd=1):
    """Table, a workspace of NaN, and an arena with values in it; buffers start `odd` numbers past their row lengths."""
    itemsize = call.dtype.itemsize
    table, work_size, arena_size = _table(network, itemsize, network.batch + 2, gap=64 // itemsize + odd)
    work = call.array(np.full((1, work_size), NAN)).reshape(-1)
    params = call.array(np.full((1, arena_size), NAN)).reshape(-1)
    for op in table:
        if op[layout.OP] == layout.LINEAR:
            for view in parameter_views(params, op):
                view[:] = 0
                view[:, : op[layout.N_OUT]] = draw(rng, (len(view), op[layout.N_OUT]))
    return table, work, params


def program_forward(call, network, rng, draw):
    table, work, params = _program(call, network, rng, draw)
    batch = network.batch
    first = table[0]
    rows(work, first[layout.X], batch, first[layout.LD_IN])[:, : network.n_in] = draw(rng, (batch, network.n_in))
    for op in table:
        call.allow(work, op[layout.Y], batch * op[layout.LD_OUT])
    call.arguments.update(work=work, params=params, table=table, batch=batch, first=0, last=len(table))


def program_backward(call, network, rng, draw, add_to=False):
    table, work, params = _program(call, network, rng, draw)
    batch = network.batch
    grads = call.array(np.full((1, params.size), NAN)).reshape(-1)
    for i, op in enumerate(table):  # a state such as a forward run leaves behind
        n_in, n_out, ld_in, ld_out = op[layout.N_IN : layout.LD_OUT + 1]
        if not i:
            rows(work, op[layout.X], batch, ld_in)[:, :n_in] = draw(rng, (batch, n_in))
        y = rows(work, op[layout.Y], batch, ld_out)[:, :n_out]
        if op[layout.OP] == layout.RELU:
            np.maximum(y, 0, out=y)
        else:
            y[:] = draw(rng, (batch, n_out))
            for view in parameter_views(grads, op):
                view[:] = 0
                view[:, :n_out] = draw(rng, (len(view), n_out)) if add_to else NAN
                call.allow(grads, (view.ctypes.data - grads.ctypes.data) // grads.itemsize, view.size)
        call.allow(work, op[layout.DX], batch * ld_in)
    dy = rows(work, table[-1, layout.DY], batch, table[-1, layout.LD_OUT])
    dy[:] = 0
    dy[:, : table[-1, layout.N_OUT]] = draw(rng, (batch, table[-1, layout.N_OUT]))
    if any(layer != "relu" for layer in network.layers):
        call.allow(work, table[0, layout.SCRATCH], max(table[:, layout.LD_OUT]) * (SCRATCH_ROW_BYTES // work.itemsize))
    call.arguments.update(
        work=work, grads=grads, params=params, table=table, batch=batch, first=0, last=len(table), add_to=add_to
    )


def train_batches(
    call, network, rng, draw, epochs=2, stride=None, rates=(0.01, 0.9, 0.0), l1=False, mean=True, short=True
):
    """Two batches an epoch, and a shorter third where `short`; every epoch on the same rows where `stride` is 0."""
    table, work, params = _program(call, network, rng, draw, odd=0)
    batch, n_out = network.batch, int(table[-1, layout.N_OUT])
    count = 2 * batch + (batch // 2 if short else 0)
    stride = count if stride is None else stride
    velocity = call.array(np.full((1, params.size), NAN)).reshape(-1)
    for op in table:
        call.allow(work, op[layout.X], batch * op[layout.LD_IN])
        call.allow(work, op[layout.Y], batch * op[layout.LD_OUT])
        call.allow(work, op[layout.DX], batch * op[layout.LD_IN])
        call.allow(work, op[layout.DY], batch * op[layout.LD_OUT])
        rows(work, op[layout.DY], batch, op[layout.LD_OUT])[:] = 0  # kernels keep the pads zero
        if op[layout.OP] == layout.LINEAR:
            for view in parameter_views(params, op):
                view /= np.sqrt(op[layout.N_IN])  # or the training would diverge
            for view in parameter_views(velocity, op):
                view[:] = 0
                view[:, : op[layout.N_OUT]] = draw(rng, (len(view), op[layout.N_OUT])) / 100
    call.allow(work, table[0, layout.SCRATCH], max(table[:, layout.LD_OUT]) * (SCRATCH_ROW_BYTES // work.itemsize))
    call.allow(params, 0, params.size)  # the twin updates whatever is between the parameters, too
    call.allow(velocity, 0, velocity.size)
    total = count + (epochs - 1) * stride
    in_place = total if network.layers[0] == "relu" else 0
    call.arguments.update(
        losses=np.arange(1.0, epochs + 1),
        work=work, params=params, velocity=velocity, table=table,
        x=call.array(draw(rng, (total, network.n_in)), table[0, layout.LD_IN], pad=NAN, spare=3, written=in_place),
        y=call.array(draw(rng, (total, n_out)), spare=3),
        batch_size=batch, rows=count, stride=stride, rates=np.array(rates), l1=l1, mean=mean,
    )  # fmt: skip


BUILDERS = {
    builder.__name__: builder
    for builder in (
        linear_forward,
        linear_backward_input,
        linear_backward_parameters,
        relu_forward,
        relu_backward,
        mse,
        momentum_update,
        program_forward,
        program_backward,
        train_batches,
    )
}


def build(
    kernel: str, case: Any, dtype: Any, *, seed: int = 0, draw: Any = normal, offset: int = 1, **options: Any
) -> Call:
    """The arguments of `kernel` for a `Case`, or for a `Network` where it takes a table.

    `options` are those of its builder. The same seed gives the same numbers. `offset` = 0 aligns all arrays to
    cache lines.
    """
    call = Call(kernel, dtype, offset)
    BUILDERS[kernel](call, case, np.random.default_rng(seed), draw, **options)
    return call
