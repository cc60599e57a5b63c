"""The norm of gradients, by which they are clipped (R. Pascanu, T. Mikolov, Y. Bengio, 2013)."""

import numpy as np


def gradients(g):
    """Σ g² in double."""
    return float(np.sum(np.square(g, dtype=np.float64)))
