"""Layers, and layers in a row."""

from .activations import *  # noqa: F403
from .dropout import Dropout as Dropout
from .gates import *  # noqa: F403
from .layer import Layer as Layer
from .linear import Linear as Linear
from .normalization import LayerNorm as LayerNorm
from .rectifiers import *  # noqa: F403
from .sequential import Sequential as Sequential
