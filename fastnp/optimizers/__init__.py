"""Optimizers, and what they keep of the parameters."""

from .optimizer import Optimizer as Optimizer
from .sgd import SGD as SGD
