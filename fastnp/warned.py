"""Warnings that point at the user's line."""

import sys
import warnings
from collections.abc import Collection


def warn(message: str, category: type[Warning] = UserWarning, through: Collection[str] = ()) -> None:
    """Warn of the line that called fastnp, also `through` other packages, by their names."""
    ours = {__name__.partition(".")[0], *through}
    level, frame = 2, sys._getframe(1)
    while frame.f_back is not None and frame.f_globals.get("__name__", "").partition(".")[0] in ours:
        level, frame = level + 1, frame.f_back
    warnings.warn(message, category, stacklevel=level)
