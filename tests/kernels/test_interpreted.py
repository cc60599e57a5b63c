"""The kernels' own source, interpreted with checked pointers, against their twins."""

import bounds
import numpy as np
import pytest
from cases import BUILDERS, NETWORKS, ON_NETWORKS, build
from declared import LOSSES
from interpreted import OutsideError, interpreted_kernels
from sizes import CASES, Case

from fastnp.backend import kernels_of
from fastnp.kernels.table import SUM

TWINS = kernels_of("numpy")
SMALL = [case for case in CASES if case.batch * case.n_in * case.n_out < 6000]
SMALL_NETWORKS = [network for network in NETWORKS if network.name not in ("wide", "mixed", "one-pad-more")]
OVERWRITTEN = ("work", "validation_work")  # where there is scratch space, too


VECTORS = [(64, 4), (32, 2)]  # their bytes, and the widest tile in them


@pytest.fixture(scope="module", params=VECTORS, ids=["avx512", "others"])
def interpreted(request):
    return interpreted_kernels(*request.param)


def jobs():
    for kernel in BUILDERS:
        for case in SMALL_NETWORKS if kernel in ON_NETWORKS else SMALL:
            if not kernel.startswith("train") or case.trains:
                yield pytest.param(kernel, case, id=f"{kernel}-{case}")


@pytest.mark.pairs
@pytest.mark.parametrize(("kernel", "case"), list(jobs()))
@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # pads of activations hold NaN
def test_a_kernel_stays_in_its_arrays_and_agrees_with_its_twin(interpreted, kernel, case):
    calls = build(kernel, case, np.float32), build(kernel, case, np.float32)
    results = calls[0].run(interpreted), calls[1].run(TWINS)
    assert np.allclose(*(np.float64(result or 0) for result in results), rtol=1e-5)
    for name, array in calls[0].arguments.items():
        if isinstance(array, np.ndarray) and array.dtype.kind == "f" and name not in OVERWRITTEN:
            twin = calls[1][name]
            close = np.isclose(array, twin, rtol=2e-4, atol=2e-4, equal_nan=True)
            assert close.all(), f"{name} differs at {np.argwhere(~close)[:5].tolist()}"


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("n", [1, 5, 16, 17, 60])
@pytest.mark.parametrize("of", LOSSES)
def test_gradients_of_losses_are_the_same_however_wide_vectors_are(of, n, dtype):
    calls = [build(of, Case(3, 1, n), dtype, weighted=True) for _ in VECTORS]
    for call, vectors in zip(calls, VECTORS, strict=True):
        call.run(interpreted_kernels(*vectors))
    assert bounds.same_bits(*(call["dpred"] for call in calls))


def test_a_pointer_does_not_leave_its_array(interpreted):
    x = np.zeros((2, 16), np.float32)
    with pytest.raises(OutsideError):
        interpreted.loss(interpreted.parts["losses.mse.sum", "f"], x[:1], x, x, x[0, :0], SUM)
    assert bounds.same_bits(x, np.zeros_like(x))
