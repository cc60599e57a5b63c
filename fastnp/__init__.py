"""fastnp: small neural networks on a CPU, with the API of a from-scratch NumPy library, on Numba kernels."""

import importlib.util
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

# In a checkout that shadows an installed fastnp, the kernels stand beside this folder, not inside it.
_inside, _beside = Path(__file__).parent / "kernels", Path(__file__).parents[1] / "kernels"
if not _inside.exists() and _beside.exists():  # neither of them does in an archive
    _spec = importlib.util.spec_from_file_location(
        f"{__name__}.kernels", _beside / "__init__.py", submodule_search_locations=[str(_beside)]
    )
    assert _spec is not None and _spec.loader is not None
    globals()["kernels"] = sys.modules[_spec.name] = importlib.util.module_from_spec(_spec)
    _spec.loader.exec_module(sys.modules[_spec.name])

from . import schedules as schedules
from .backend import get_backend, set_backend, use_backend
from .data.dataset import ArrayDataset, Dataset
from .data.loader import DataLoader
from .data.sampler import BatchSampler
from .embedding.jit import jit
from .errors import BadFileError, CheckFailed, DivergedError
from .initializers import (
    Constant,
    HeNormal,
    HeUniform,
    Initializer,
    Normal,
    Uniform,
    XavierNormal,
    XavierUniform,
)
from .interchange.files import load, save
from .layers.activations import Sigmoid, Softmax, Softplus, Tanh
from .layers.dropout import Dropout
from .layers.gates import GELU, SiLU
from .layers.layer import Layer
from .layers.linear import Linear
from .layers.normalization import LayerNorm
from .layers.rectifiers import ELU, LeakyReLU, ReLU
from .layers.sequential import Sequential
from .losses.bce_with_logits import BCEWithLogits
from .losses.cross_entropy import CrossEntropy
from .losses.elementwise import MAE, MSE, Huber, Quantile
from .losses.loss import Loss
from .losses.poisson_nll import PoissonNLL
from .optimizers.adam import Adam, AdamW
from .optimizers.optimizer import Optimizer
from .optimizers.rmsprop import RMSprop
from .optimizers.sgd import SGD
from .tensor import Tensor
from .training.early_stopping import EarlyStopping
from .training.fit import fit
from .training.history import History
from .trust.cross_check import cross_check
from .trust.gradient_check import gradient_check

try:
    __version__ = version("fastnp")
except PackageNotFoundError:  # a checkout that was never installed
    __version__ = "0+unknown"

__all__ = [
    "ELU",
    "GELU",
    "MAE",
    "MSE",
    "SGD",
    "Adam",
    "AdamW",
    "ArrayDataset",
    "BCEWithLogits",
    "BadFileError",
    "BatchSampler",
    "CheckFailed",
    "Constant",
    "CrossEntropy",
    "DataLoader",
    "Dataset",
    "DivergedError",
    "Dropout",
    "EarlyStopping",
    "HeNormal",
    "HeUniform",
    "History",
    "Huber",
    "Initializer",
    "Layer",
    "LayerNorm",
    "LeakyReLU",
    "Linear",
    "Loss",
    "Normal",
    "Optimizer",
    "PoissonNLL",
    "Quantile",
    "RMSprop",
    "ReLU",
    "Sequential",
    "SiLU",
    "Sigmoid",
    "Softmax",
    "Softplus",
    "Tanh",
    "Tensor",
    "Uniform",
    "XavierNormal",
    "XavierUniform",
    "cross_check",
    "fit",
    "get_backend",
    "gradient_check",
    "jit",
    "load",
    "save",
    "set_backend",
    "use_backend",
]

for _name in __all__:  # where pickles look for them, whatever room they stand in
    globals()[_name].__module__ = __name__

# Where pickles from before there were rooms look for two of them.
sys.modules[f"{__name__}.sequential"] = sys.modules[f"{__name__}.layers.sequential"]
sys.modules[f"{__name__}.history"] = sys.modules[f"{__name__}.training.history"]
