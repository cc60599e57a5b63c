"""Training: `fit`, and what goes with it."""

from .fit import fit as fit
from .history import History as History
