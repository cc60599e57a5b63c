"""fastnp: small neural networks on a CPU, with the API of a from-scratch NumPy library, on Numba kernels."""

from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

# In a checkout that shadows an installed fastnp, the kernels stand beside this folder, not inside it.
if not (Path(__file__).parent / "kernels").exists():
    __path__.append(str(Path(__file__).parents[1]))

from .backend import get_backend, set_backend, use_backend
from .cross_check import cross_check
from .data import ArrayDataset, BatchSampler, DataLoader, Dataset
from .errors import CheckFailed, DivergedError
from .gradient_check import gradient_check
from .history import History
from .initializers import Constant, HeNormal, Initializer, Normal
from .layers import Layer, Linear, ReLU
from .losses import MSE
from .optimizers import SGD, Optimizer
from .sequential import Sequential
from .tensor import Tensor
from .training import fit

try:
    __version__ = version("fastnp")
except PackageNotFoundError:  # a checkout that was never installed
    __version__ = "0+unknown"

__all__ = [
    "MSE",
    "SGD",
    "ArrayDataset",
    "BatchSampler",
    "CheckFailed",
    "Constant",
    "DataLoader",
    "Dataset",
    "DivergedError",
    "HeNormal",
    "History",
    "Initializer",
    "Layer",
    "Linear",
    "Normal",
    "Optimizer",
    "ReLU",
    "Sequential",
    "Tensor",
    "cross_check",
    "fit",
    "get_backend",
    "gradient_check",
    "set_backend",
    "use_backend",
]
