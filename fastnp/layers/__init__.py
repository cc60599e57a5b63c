"""Layers, and layers in a row."""

from .activations import ReLU
from .layer import Layer
from .linear import Linear
from .sequential import Sequential

__all__ = ["Layer", "Linear", "ReLU", "Sequential"]
