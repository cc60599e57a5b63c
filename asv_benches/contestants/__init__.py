"""The same training job in different libraries: float32, batches in a fixed order, from the same parameters.

Each function sets up a job on so many batches. It returns a function of a number of epochs that trains for so long,
and one that gives the parameters as they are then: weights (in, out) and bias of each layer in turn, or None where
they cannot be compared. A library that is not installed raises ImportError.
"""

from .compiled_by_jax import jax_scan
from .ours import fit, fit_own_data, loop, loop_own_data
from .plain import numpy_baseline
from .pytorch import torch_eager
from .scikit import scikit_learn

OURS = {"fit": fit, "fit, own data": fit_own_data, "loop": loop, "loop, own data": loop_own_data}
LIBRARIES = {"PyTorch": torch_eager, "JAX scan": jax_scan, "sklearn": scikit_learn}
CONTESTANTS = {**OURS, "NumPy": numpy_baseline, **LIBRARIES}
