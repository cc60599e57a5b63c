"""Training: `fit`, and what goes with it."""

from .fit import fit
from .history import History

__all__ = ["History", "fit"]
