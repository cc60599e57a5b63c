"""What every benchmark asserts before it is timed: that the kernels compute what their NumPy twins compute.

It compiles the kernels, too. The bounds here are loose; `tests/kernels` has the exact ones.
"""

import numpy as np

from fastnp.backend import BACKENDS, use_backend

FRACTION = 2 / 3  # of the digits must be equal
APART = 1e-3  # of the way, at most; seen in float32 and beside double: 2e-4


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


def by_each_backend(job, epochs):
    """The parameters, flat: at the start, and as each backend has trained them.

    `job()` gives a model and a function of a number of epochs that trains it.
    """
    start, reached = None, []
    for backend in BACKENDS:
        np.random.seed(0)
        with use_backend(backend):
            model, train = job()
            start = np.concatenate([tensor.data.ravel() for tensor in model.parameters()])
            train(epochs)
        reached.append(np.concatenate([tensor.data.ravel() for tensor in model.parameters()]))
    return start, *reached


def assert_same_training(what, job, epochs=2):
    """AssertionError, naming `what`, where the backends train to different parameters; `job` as above."""
    _, fast, twin = by_each_backend(job, epochs)
    assert_close(what, fast, twin, fast.dtype)


def assert_same_way(what, start, ours, theirs):
    """AssertionError, naming `what`, where two trainings from the same start went different ways.

    By the norm of all parameters together: some optimizers divide gradients by their size, so that rounding decides
    where a parameter goes whose gradient is near 0.
    """
    share = np.linalg.norm(theirs - ours) / np.linalg.norm(ours - start)
    if not share <= APART:
        raise AssertionError(f"{what}: trainings end {share:.3g} of their way apart, more than {APART:g}; not timed")


def assert_same_job(what, job, ours, theirs):
    """The same of a job by fastnp and by another library: what each gives as its parameters, or None."""
    if theirs is not None:
        flat = (np.concatenate([np.ravel(array) for array in arrays]) for arrays in (job.start(), ours, theirs))
        assert_same_way(what, *flat)
