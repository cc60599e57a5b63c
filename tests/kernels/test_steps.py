"""The steps of a loop: the same numbers as the kernels on arrays give, whatever arrays a user gives."""

import weakref

import bounds
import numpy as np
import pytest
import step_cases
from cases import NETWORKS, build
from program_cases import backward, forward
from sizes import CASES
from step_cases import STEPS_OF_NETWORKS, STEPS_OF_SIZES
from twins import BOOLS, NUMBA, backends, dtypes

from fastnp.kernels.blocks import DEAD, STALE
from fastnp.kernels.table import rows

some_networks = pytest.mark.parametrize("network", NETWORKS[:6], ids=str)


@backends
@dtypes
@some_networks
@pytest.mark.parametrize("holds", BOOLS)
@pytest.mark.parametrize("strided", BOOLS)
@pytest.mark.parametrize("other", BOOLS)
@pytest.mark.pairs
def test_forward(kernels, dtype, network, strided, holds, other):
    given = ({np.float32, np.float64} - {dtype}).pop() if other else dtype
    call = build("step_forward", network, dtype, strided=strided, given_as=given, holds=holds)
    x = call["given"].copy()
    assert call.run(kernels) == 0
    plain = build("forward", network, dtype)
    first = plain["table"][0]
    plain["work"][first["x"] :][: network.batch * first["ld_in"]].reshape(network.batch, first["ld_in"])[
        :, : network.n_in
    ] = x
    plain["params"][...] = call["params"]
    plain.run(kernels)
    last = plain["table"][-1]
    y = plain["work"][last["y"] :][: network.batch * last["ld_out"]].reshape(network.batch, last["ld_out"])[
        :, : last["n_out"]
    ]
    assert bounds.same_bits(call["out"], y)
    assert bounds.same_bits(call["given"], x)


@backends
@dtypes
@some_networks
@pytest.mark.parametrize("holds", BOOLS)
@pytest.mark.parametrize("strided", BOOLS)
@pytest.mark.parametrize("add_to", BOOLS)
@pytest.mark.pairs
def test_backward(kernels, dtype, network, strided, holds, add_to):
    call = build("step_backward", network, dtype, strided=strided, add_to=add_to, holds=holds)
    plain = build("backward", network, dtype, add_to=add_to)
    last, first = plain["table"][-1], plain["table"][0]
    dy = rows(plain["work"], last["dy"], network.batch, last["ld_out"])
    dy[:, : last["n_out"]] = call["given"]
    assert call.run(kernels) == 0 and call["flags"][STALE] == 0
    plain.run(kernels)
    dx = rows(plain["work"], first["dx"], network.batch, first["ld_in"])
    assert bounds.same_bits(call["dx"], dx[:, : network.n_in])
    assert bounds.same_bits(call["grads"], plain["grads"])


@backends
@dtypes
@pytest.mark.parametrize("case", CASES[:9], ids=str)
@pytest.mark.parametrize("other", BOOLS)
@pytest.mark.parametrize("strided", BOOLS)
def test_loss(kernels, dtype, case, strided, other):
    given = ({np.float32, np.float64} - {dtype}).pop() if other else dtype
    call = build("step_loss", case, dtype, strided=strided, given_as=given)
    loss = call.run(kernels)
    pred, target = call["pred"], call["target"].astype(dtype)
    difference = pred - target
    size = max(difference.size, 1)
    assert loss == pytest.approx(0.5 * np.sum(np.square(difference, dtype=float)) / size, rel=1e-12)
    gradient, *copies = call["kept"].reshape(3, *pred.shape)
    assert all(map(np.array_equal, copies, (pred, target)))
    np.testing.assert_allclose(gradient, difference / size, rtol=4 * np.finfo(dtype).eps)


@backends
@pytest.mark.parametrize("strided", BOOLS)
@pytest.mark.parametrize("name", ["step_forward", "step_loss"])
def test_numbers_too_large_to_be_converted_change_nothing(name, strided, kernels):
    """But those that are infinite, or NaN, may stay so."""
    of = NETWORKS[1] if name == "step_forward" else CASES[1]
    for value, fits in (1e300, False), (-1e39, False), (np.inf, True), (np.nan, True), (3e38, True):
        call = build(name, of, np.float32, strided=strided, given_as=np.float64)
        call["given" if name == "step_forward" else "target"][-1, -1] = value
        before = [array.tobytes() for array in call.arguments.values() if isinstance(array, np.ndarray)]
        result = call.run(kernels)
        if name == "step_forward":
            assert result == 1 - fits
        after = [array.tobytes() for array in call.arguments.values() if isinstance(array, np.ndarray)]
        assert (after == before) == (not fits)


def odd_arrays(right):
    """Arrays of the dtype of the right one that are not as it is."""
    rows, n = right.shape
    yield from (right[:-1], right[:, :-1], right.reshape(-1), right[np.newaxis], np.array(right.sum()))
    yield np.zeros((rows + 1, n), right.dtype)
    yield np.zeros((rows, n + 1), right.dtype)
    yield np.zeros((1,) * 30, right.dtype)
    yield right[..., np.newaxis]  # the first sizes are right
    yield np.lib.stride_tricks.as_strided(right, (rows,), (n,))  # so is the number behind the only one


@dtypes
@pytest.mark.parametrize("name", ["step_forward", "step_backward"])
def test_an_array_of_another_shape_changes_nothing(name, dtype):
    call = build(name, NETWORKS[0], dtype)
    right = call["given"]
    for odd in odd_arrays(right):
        call.arguments["given"] = odd
        before = {key: value.copy() for key, value in call.arguments.items() if isinstance(value, np.ndarray)}
        assert call.run(NUMBA) == 1
        assert all(bounds.same_bits(call[key], value) for key, value in before.items() if value.dtype.kind == "f")
    call.arguments["given"] = right
    assert call.run(NUMBA) == 0


@dtypes
def test_a_loss_of_another_shape_is_none(dtype):
    for name in "pred", "target":
        call = build("step_loss", CASES[1], dtype)
        for odd in odd_arrays(call[name]):
            of_odd = build("step_loss", CASES[1], dtype)
            of_odd.arguments[name] = odd
            assert np.isnan(of_odd.run(NUMBA))
            assert np.isnan(of_odd["kept"]).all()


@backends
@dtypes
def test_a_loss_has_no_room_for_another_batch(kernels, dtype):
    call = build("step_loss", CASES[1], dtype)
    for room in call["kept"][:, :-1], np.concatenate([call["kept"]] * 2, axis=1):
        other = build("step_loss", CASES[1], dtype)
        other.arguments["kept"] = kept = room.copy()
        assert np.isnan(other.run(kernels)) and np.isnan(kept).all()


@backends
@pytest.mark.parametrize("flag", [DEAD, STALE])
@pytest.mark.parametrize("name", [*STEPS_OF_NETWORKS, "step_update"])
def test_a_flag_stops_a_step(name, flag, kernels):
    call = build(name, NETWORKS[0] if name in STEPS_OF_NETWORKS else CASES[1], np.float32)
    call["flags"][:] = 0
    call["flags"][flag] = 1
    stops = flag == DEAD or name == "step_update"
    before = [value.copy() for value in call.arguments.values() if isinstance(value, np.ndarray)]
    assert call.run(kernels) == stops
    if stops:
        after = [value for value in call.arguments.values() if isinstance(value, np.ndarray)]
        assert all(old.tobytes() == new.tobytes() for old, new in zip(before, after, strict=True))


@backends
def test_where_others_have_gradients_too_somebody_clears_them_first(kernels):
    call = build("step_backward", NETWORKS[0], np.float32, whole=False)
    before = call["grads"].copy()
    assert call.run(kernels) == 1 and call["flags"][STALE] == 1
    assert before.tobytes() == call["grads"].tobytes()
    call["flags"][STALE] = 0
    assert call.run(kernels) == 0


@dtypes
@pytest.mark.parametrize("given", [np.int32, np.int64, np.float32, np.float64])
def test_numbers_of_another_size_change_nothing(given, dtype):
    """Who calls has to see to the kind of numbers, but not to their size."""
    call = build("step_forward", NETWORKS[0], dtype)
    step = NUMBA.steps["forward", 2 * np.dtype(dtype).char, True]
    right = call["given"]
    call.make = lambda kernels: step(call["out"], right.astype(given), call.block(kernels))
    assert call.run(NUMBA) == (np.dtype(given).itemsize != np.dtype(dtype).itemsize)


def test_what_is_no_array_changes_nothing():
    call = build("step_forward", NETWORKS[0], np.float32)
    step = NUMBA.steps["forward", "ff", True]
    for odd in None, [[1.0]], "x", np.float32(1):
        call.make = lambda kernels, odd=odd: step(call["out"], odd, call.block(kernels))
        assert call.run(NUMBA) == 1


@backends
@pytest.mark.parametrize("name", [*STEPS_OF_NETWORKS, *STEPS_OF_SIZES])
def test_nobody_holds_a_block(name, kernels, monkeypatch):
    blocks = []
    for maker in "block_of_pass", "block_of_loss", "block_of_update":
        make = getattr(step_cases, maker)
        monkeypatch.setattr(step_cases, maker, lambda *of, make=make: blocks.append(make(*of)) or blocks[-1])
    call = build(name, NETWORKS[0] if name in STEPS_OF_NETWORKS else CASES[1], np.float32)
    call.run(kernels)
    (found,) = map(weakref.ref, blocks)
    blocks.clear()
    assert found() is None


def test_forward_and_backward_are_those_of_the_kernels_on_arrays():
    assert {name.removeprefix("step_") for name in STEPS_OF_NETWORKS} == {forward.__name__, backward.__name__}
    assert set(STEPS_OF_SIZES) == {"step_loss", "step_update"}
