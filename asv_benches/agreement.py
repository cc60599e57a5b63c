"""What every benchmark asserts before it is timed: that the kernels compute what their NumPy twins compute.

It compiles the kernels, too. The bounds here are loose; `tests/kernels` has the exact ones.
"""

import numpy as np

from fastnp.backend import BACKENDS, use_backend

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
