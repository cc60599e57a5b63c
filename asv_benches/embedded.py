"""A network inside jitted code, beside what people write there without one: `python -m asv_benches.embedded`.

All ways run in one process, on one core, in turns. A call of each is a loop inside `@njit`; but for `model(x)`, which
is called from Python.
"""

import functools
import itertools
import statistics

import click
import numba
import numpy as np

import fastnp

from .agreement import assert_close
from .contestants.ours import fastnp_model
from .threads import one_core, one_thread
from .turns import seconds_of

WIDTHS = (4, 64, 64, 2)
ROWS = 100
TURNS = 15
CALLS = 3000  # in a turn


@numba.njit
def of_sample(f, x, count):
    total = np.float32(0)
    for _ in range(count):
        total += f(x)[0]
    return total


@numba.njit
def of_rows(f, x, count):
    total = np.float32(0)
    for _ in range(count):
        total += f(x)[0, 0]
    return total


@numba.njit
def into(f, x, count):
    work, out, total = f.workspace(), f(x), np.float32(0)
    for _ in range(count):
        f.into(out, x, work)
        total += out[0]
    return total


@numba.njit
def vjp(f, x, count):
    dy, total = np.ones_like(f(x)), np.float32(0)
    for _ in range(count):
        total += f.vjp(x, dy)[1][0]
    return total


@numba.njit
def jacobian(f, x, count):
    total = np.float32(0)
    for _ in range(count):
        total += f.jacobian(x)[1][0, 0]
    return total


@numba.njit
def dots(parameters, x, count):
    """A chain of `np.dot`, its ReLU in place."""
    w1, b1, w2, b2, w3, b3 = parameters
    total = np.float32(0)
    for _ in range(count):
        h = np.dot(x, w1)
        for i in range(len(h)):
            h[i] = max(h[i] + b1[i], np.float32(0))
        h = np.dot(h, w2)
        for i in range(len(h)):
            h[i] = max(h[i] + b2[i], np.float32(0))
        y = np.dot(h, w3)
        for i in range(len(y)):
            y[i] += b3[i]
        total += y[0]
    return total


@numba.njit
def _naive_layer(x, w, b, rectified):
    y = np.empty(len(b), x.dtype)
    for j in range(len(b)):
        total = b[j]
        for i in range(len(x)):
            total += x[i] * w[i, j]
        y[j] = max(total, np.float32(0)) if rectified else total
    return y


@numba.njit
def loops(parameters, x, count):
    """As one writes it who has the parameters, and loops."""
    w1, b1, w2, b2, w3, b3 = parameters
    total = np.float32(0)
    for _ in range(count):
        h = _naive_layer(_naive_layer(x, w1, b1, True), w2, b2, True)
        total += _naive_layer(h, w3, b3, False)[0]
    return total


def in_python(model, x, count):
    for _ in itertools.repeat(None, count):
        y = model(x)
    return y[0, 0] * count


def ways():
    """For each way, a function of how often to call; all have agreed on what they give."""
    np.random.seed(0)
    model = fastnp_model(WIDTHS)
    f = fastnp.jit(model)
    x = np.random.default_rng(0).standard_normal((ROWS, WIDTHS[0]), dtype=np.float32)
    tensors = model.parameters()
    flat = tuple(np.squeeze(tensor.data, axis=tuple(range(i % 2))).copy() for i, tensor in enumerate(tensors))
    found = {
        "f(x)": functools.partial(of_sample, f, x[0]),
        "f.into": functools.partial(into, f, x[0]),
        "naive loops": functools.partial(loops, flat, x[0]),
        "model(x), Python": functools.partial(in_python, model, x[:1]),
    }
    try:
        dots(flat, x[0], 1)
        found["np.dot"] = functools.partial(dots, flat, x[0])
    except ImportError:  # Numba's products are those of SciPy
        pass
    expected = float(model.predict(x[:1])[0, 0])
    for name, call in found.items():
        assert_close(name, np.float32(call(1)), np.float32(expected))
    return found | {
        "f.vjp": functools.partial(vjp, f, x[0]),
        "f.jacobian": functools.partial(jacobian, f, x[0]),
        f"f(x), {ROWS} rows": functools.partial(of_rows, f, x),
    }


@click.command()
def main():
    """Print nanoseconds of a call inside jitted code, and how many times f(x) of one sample that is."""
    one_thread()
    one_core()
    found = ways()
    counts = {name: CALLS // (20 if "rows" in name else 1) for name in found}
    for name, call in found.items():
        call(counts[name])
    turns = [
        {name: seconds_of(functools.partial(call, counts[name])) / counts[name] for name, call in found.items()}
        for _ in range(TURNS)
    ]
    for name in found:
        time = statistics.median(turn[name] for turn in turns)
        ratio = statistics.median(turn[name] / turn["f(x)"] for turn in turns)
        click.echo(f"{name:20}{time * 1e9:10.0f} ns {ratio:8.2f} x")


if __name__ == "__main__":
    main()
