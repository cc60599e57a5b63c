"""Dropout against a mask of its own evaluation; both wings have the same bits."""

import bounds
import numpy as np
import pytest
from calls import NAN
from cases import build
from references import check_pads
from sizes import Case
from twins import BOOLS, NUMBA, backends, dtypes, run_both, shapes

from fastnp.kernels.alone import Alone
from fastnp.kernels.table import COUNT_BASE
from fastnp.program.op import Noise
from fastnp.trust.masks import factors

SEED = 2**62 + 5
probabilities = pytest.mark.parametrize("p", [0.0, 1e-9, 0.3, 0.5, 0.999])
SPECIAL = (0.0, -0.0, 1.0, -1.0, 1e-45, -1e-45, 5e-324, 3e38, np.inf, -np.inf, NAN)


def special(rng, shape):
    return rng.choice(SPECIAL, shape)


def expected(z, p, count, seed=SEED):
    noise = Noise(seed, p)
    noise.count = count
    factor = factors(noise, z.shape, z.dtype)
    with np.errstate(all="ignore"):
        return np.where(factor == 0, z.dtype.type(0), z * factor)


@pytest.mark.pairs
@dtypes
@shapes
@probabilities
@pytest.mark.parametrize("in_place", BOOLS)
def test_forward(case, dtype, p, in_place):
    n, before = case.n_out, (4, 2)
    x = build("dropout_forward", case, dtype, draw=special)["x"][:, :n].copy()
    count = before[0] + COUNT_BASE * before[1] + (p > 0)
    for call in run_both("dropout_forward", case, dtype, draw=special, p=p, in_place=in_place, count=before):
        assert bounds.same_bits(call["y"][:, :n], expected(x, p, count))
        assert call["memory"][:3].tolist() == [dtype(p), count % COUNT_BASE, count // COUNT_BASE]


@pytest.mark.pairs
@dtypes
@shapes
@probabilities
@pytest.mark.parametrize("in_place", BOOLS)
def test_input(case, dtype, p, in_place):
    """The mask of the count that forward left, which stays."""
    n, count = case.n_out, (4, 2)
    dy = build("dropout_input", case, dtype, draw=special)["dy"][:, :n].copy()
    for call in run_both("dropout_input", case, dtype, draw=special, p=p, in_place=in_place, count=count):
        assert bounds.same_bits(call["dx"][:, :n], expected(dy, p, count[0] + COUNT_BASE * count[1]))
        check_pads(call["dx"], n)
        assert call["memory"][1:3].tolist() == list(count)


@dtypes
@backends
def test_the_count_goes_on_beyond_what_is_exact_in_single(kernels, dtype):
    masks = []
    call = build("dropout_forward", Case(3, 40, 40), dtype, count=(COUNT_BASE - 2, 0))
    for count in range(COUNT_BASE - 1, COUNT_BASE + 3):
        call.run(kernels)
        assert call["memory"][1:3].tolist() == [count % COUNT_BASE, count // COUNT_BASE]
        masks.append((call["y"][:, :40] == 0).tobytes())
    assert len(set(masks)) == 4


@dtypes
@pytest.mark.parametrize("seed", [0, 1, 2**31, 2**63 - 1])
def test_any_seed(seed, dtype):
    case = Case(5, 33, 33)
    x = build("dropout_forward", case, dtype)["x"][:, :33].copy()
    for call in run_both("dropout_forward", case, dtype, drawn_by=seed, count=(0, 0)):
        assert bounds.same_bits(call["y"][:, :33], expected(x, 0.3, 1, seed))


@dtypes
@backends
def test_a_workspace_that_was_handed_nothing_draws_nothing(kernels, dtype):
    op = Alone("dropout.dropout", 3, 5, 5, dtype, seed=SEED, remembered=3)
    op.x[...] = np.arange(15).reshape(3, 5)
    op.call(kernels, "forward")
    assert np.array_equal(op.y, op.x) and not op.memory.any()


@dtypes
def test_a_row_does_not_depend_on_those_behind_it(dtype):
    calls = [build("dropout_forward", Case(8, 20, 20), dtype) for _ in range(2)]
    calls[1].arguments["batch"] = 3
    for call in calls:
        call.run(NUMBA)
    assert bounds.same_bits(calls[0]["y"][:3, :20], calls[1]["y"][:3, :20])
