"""The same training job in different libraries: float32, batches in a fixed order, from the same parameters.

Each function sets up a job on so many batches. It returns a function of a number of epochs that trains for so long,
and one that gives the parameters as they are then: weights (in, out) and bias of each layer in turn, or None where
they cannot be compared. A library that is not installed raises ImportError.
"""

from .compiled_by_jax import jax_scan
from .ours import fit, loop
from .plain import numpy_baseline
from .pytorch import torch_eager
from .scikit import scikit_learn

CONTESTANTS = {
    "fit": fit,
    "loop": loop,
    "NumPy": numpy_baseline,
    "PyTorch": torch_eager,
    "JAX scan": jax_scan,
    "sklearn": scikit_learn,
}
