"""Training: `fit`, and what goes with it."""

from .early_stopping import EarlyStopping as EarlyStopping
from .fit import fit as fit
from .history import History as History
