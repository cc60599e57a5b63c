"""Layers, and layers in a row."""

from .activations import *  # noqa: F403
from .layer import Layer as Layer
from .linear import Linear as Linear
from .sequential import Sequential as Sequential
