"""`fit` computes what the loop computes, to the bit: losses, parameters, velocities, and all state afterwards."""

import numpy as np
import pytest
from fits import CHAIN, compare, data, fit, setup
from fits import backend as backend
from fits import kernel_calls as kernel_calls

from fastnp.training import compiled

CHAINS = {
    "one layer": [(3, 2)],
    "tutorial": CHAIN,
    "without ReLU": [(3, 4), (4, 2)],
    "ReLU first": ["relu", (3, 17), "relu", (17, 2)],
    "ReLU twice first": ["relu", "relu", (3, 4), (4, 2)],
    "ReLU twice": [(3, 16), "relu", "relu", (16, 2)],
    "ReLU last": [(3, 33), "relu", (33, 2), "relu"],
    "ReLU twice last": [(3, 5), (5, 2), "relu", "relu"],
    "ReLU around one layer": ["relu", (3, 2), "relu"],
}


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", CHAINS)
def test_chains(name, dtype, kernel_calls):
    compare(layers=CHAINS[name], dtype=dtype)
    assert kernel_calls


@pytest.mark.parametrize("n_in, n_out", [(1, 1), (1, 17), (16, 1), (40, 33)])
def test_widths(n_in, n_out, kernel_calls):
    compare(layers=[(n_in, 8), "relu", (8, n_out)], arrays=data(19, n_in, n_out))
    assert kernel_calls


@pytest.mark.parametrize("reshuffle", [False, True])
@pytest.mark.parametrize("drop_last", [False, True])
@pytest.mark.parametrize("batch_size", [1, 4, 5, 22, 23, 24, 1000])
def test_batches(batch_size, drop_last, reshuffle, kernel_calls):
    if drop_last and batch_size > 23:
        pytest.skip("no batch is left")
    compare(batch_size=batch_size, drop_last=drop_last, reshuffle=reshuffle)
    assert kernel_calls


def test_a_batch_size_that_no_array_could_have():
    compare(batch_size=2**70, epochs=2)


@pytest.mark.parametrize("reduction", ["mean", "batchmean", "sum", "none"])
@pytest.mark.parametrize("decay_type", ["l1", "l2"])
@pytest.mark.parametrize("momentum, weight_decay", [(0, 0), (0, 0.1), (0.5, 0), (0.9, 0.1)])
def test_rates(momentum, weight_decay, decay_type, reduction, kernel_calls):
    sgd = {"momentum": momentum, "weight_decay": weight_decay, "decay_type": decay_type, "learning_rate": 0.002}
    compare(sgd=sgd, loss={"reduction": reduction})
    assert bool(kernel_calls) == (reduction != "none")


@pytest.mark.parametrize("own_rng", [True, False])
@pytest.mark.parametrize("shuffle", [False, True])
@pytest.mark.parametrize("reshuffle", [False, True])
def test_orders(shuffle, reshuffle, own_rng, kernel_calls):
    compare(shuffle=shuffle, reshuffle=reshuffle, own_rng=own_rng, epochs=5)
    assert kernel_calls


@pytest.mark.parametrize("reshuffle", [False, True])
@pytest.mark.parametrize("seconds", [1e-9, 1e9])
@pytest.mark.parametrize("batches", [0, 2, 4, 5, 11])
def test_staging_in_pieces(batches, seconds, reshuffle, kernel_calls, monkeypatch):
    """Five batches an epoch, with room for so many: epochs in pieces, one at a time, several at a time."""
    monkeypatch.setattr(compiled, "STAGED_BYTES", max(1, batches * 5 * (16 + 2) * 4))
    monkeypatch.setattr(compiled, "SECONDS_PER_CALL", seconds)
    compare(reshuffle=reshuffle, epochs=7)
    rows = sum(epochs * rows for epochs, rows in kernel_calls)
    assert rows == 7 * 23
    if batches < 5 or seconds < 1:
        assert all(epochs == 1 and rows < 23 for epochs, rows in kernel_calls)
    elif not reshuffle:
        assert kernel_calls == [(7, 23)]
    elif batches == 11:
        assert kernel_calls == [(2, 23)] * 3 + [(1, 23)]


@pytest.mark.parametrize("reshuffle", [False, True])
@pytest.mark.parametrize("batch_size", [5, 12])
def test_time_for_some_rows(batch_size, reshuffle, kernel_calls, monkeypatch):
    """Pieces that time limits are of whole batches."""
    monkeypatch.setattr(compiled.CompiledRun, "_rows_per_call", lambda self: 13)
    compare(batch_size=batch_size, reshuffle=reshuffle)
    assert {rows for _, rows in kernel_calls} == ({10, 3} if batch_size == 5 else {12, 11})


def test_whole_epochs_run_in_one_call(kernel_calls, monkeypatch):
    monkeypatch.setattr(compiled, "SECONDS_PER_CALL", 1e9)
    fit(setup(), 50)
    assert kernel_calls == [(50, 23)]


# --- data of any layout ---


def mapped(array, path):
    np.save(path / f"{array.shape[1]}.npy", array)
    return np.load(path / f"{array.shape[1]}.npy", mmap_mode="r")


def strided(array, path):
    wide = np.full((2 * len(array), 3 * array.shape[1]), np.nan)
    wide[::2, ::3] = array
    return wide[::2, ::3]


def read_only(array, path):
    array.flags.writeable = False
    return array


def misaligned(array, path):
    raw = np.zeros(array.nbytes + 1, np.uint8)
    view = raw[1:].view(array.dtype).reshape(array.shape)
    view[...] = array
    return view


LAYOUTS = {
    "mapped": mapped,
    "strided": strided,
    "read-only": read_only,
    "misaligned": misaligned,
    "Fortran": lambda a, _: np.asfortranarray(a),
    "backwards": lambda a, _: a[::-1, ::-1],
    "byte-swapped": lambda a, _: a.astype(a.dtype.newbyteorder()),
    "byte-swapped float32": lambda a, _: a.astype(">f4"),
    "one row for all": lambda a, _: np.broadcast_to(a[0], a.shape),
    "float16": lambda a, _: a.astype(np.float16),
    "float32": lambda a, _: a.astype(np.float32),
    "longdouble": lambda a, _: a.astype(np.longdouble),
    "int8": lambda a, _: (3 * a).astype(np.int8),
    "int64": lambda a, _: (3 * a).astype(np.int64) + 2**24 + 1,
    "bool": lambda a, _: a > 0,
    "lists": lambda a, _: a.tolist(),
}


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", LAYOUTS)
def test_layouts(name, dtype, tmp_path, kernel_calls):
    arrays = [LAYOUTS[name](array, tmp_path) for array in data()]
    rate = 1e-17 if name == "int64" else 0.02
    before = [np.array(array) for array in arrays]
    compare(arrays=arrays, dtype=dtype, sgd={"learning_rate": rate, "momentum": 0.5})
    assert kernel_calls
    assert all(np.array_equal(array, copy) for array, copy in zip(arrays, before, strict=True))
