"""Learning rates that change in the course of a training.

A schedule gives the rate of each update of the parameters from the number of updates that were made before it: 0 for
the first, and going on from epoch to epoch. An epoch makes `len(loader)` updates, 30 epochs `30 * len(loader)`.

Give one to an optimizer as its `learning_rate`. As good as those here is any callable of your own that takes that
number and returns a rate, always the same for the same number: `lambda update: 0.1 / (1 + 0.001 * update)`.
"""

from .between import Cosine, Linear, OneCycle
from .decay import Exponential, Step
from .schedule import Schedule

__all__ = ["Cosine", "Exponential", "Linear", "OneCycle", "Schedule", "Step"]

for _name in __all__:  # where pickles look for them
    globals()[_name].__module__ = __name__
