"""One thread for every library that is measured; imports no NumPy, which reads the variables once, as PyTorch does."""

import os

VARIABLES = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS")


def one_thread():
    """For this process and those it starts; to be called before NumPy is imported."""
    os.environ.update(dict.fromkeys(VARIABLES, "1"))


def one_core():
    """Keep this process on one core, where the system can: XLA has threads of its own."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
