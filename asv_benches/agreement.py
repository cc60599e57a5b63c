"""What every benchmark asserts before it is timed: that the kernels compute what their NumPy twins compute.

It compiles the kernels, too. The bounds here are loose; `tests/kernels/test_kernels.py` has the exact ones.
"""

import numpy as np

from fastnp.backend import BACKENDS, kernels_of, use_backend

FRACTION = 2 / 3  # of the digits must be equal


def assert_close(what, fast, twin, dtype="float32"):
    """AssertionError, naming `what`, where two results of `dtype` arithmetic are apart.

    What the twin leaves NaN is open.
    """
    fast, twin = np.atleast_1d(fast, twin)
    given = ~np.isnan(twin)
    if not given.any():
        return
    bound = np.finfo(dtype).eps ** FRACTION * max(1.0, float(np.abs(twin[given]).max()))
    apart = np.abs(fast - twin)[given].max()
    if not apart <= bound:  # NaN is apart, too
        raise AssertionError(f"{what}: kernel and twin are {apart:.3g} apart, more than {bound:.3g}; not timed")


def agreed_call(kernel, case, dtype, backend):
    """A `Call` for timing, on aligned arrays, after kernel and twin have agreed on its like."""
    from cases import build

    what = f"{kernel}, {case}, {np.dtype(dtype).name}"
    calls = {name: build(kernel, case, dtype) for name in BACKENDS}
    results = {name: call.run(kernels_of(name)) for name, call in calls.items()}
    if results["numpy"] is not None:
        assert_close(f"{what}, result", *results.values(), dtype)
    for name, twin in calls["numpy"].arguments.items():
        if kernel == "train_batches" and name in ("work", "x"):  # left in different states, and read by nobody
            continue
        if isinstance(twin, np.ndarray) and twin.dtype.kind == "f":
            assert_close(f"{what}, {name}", calls["numba"][name], twin, dtype)
    return build(kernel, case, dtype, offset=0)


def assert_same_training(what, job, epochs=2):
    """AssertionError, naming `what`, where the backends train to different parameters.

    `job()` gives a model and a function of a number of epochs that trains it.
    """
    parameters = []
    for backend in BACKENDS:
        np.random.seed(0)
        with use_backend(backend):
            model, train = job()
            train(epochs)
        parameters.append(np.concatenate([tensor.data.ravel() for tensor in model.parameters()]))
    assert_close(what, *parameters, parameters[0].dtype)
