"""Layers that joined a model after its optimizer was made, and that nobody trains: said once."""

import itertools
import sys
import warnings
import weakref
from collections.abc import Iterable
from typing import Any

_clock = itertools.count(1)
_optimizers: weakref.WeakValueDictionary[int, Any] = weakref.WeakValueDictionary()


def now() -> int:
    """A number that grows with every call: what happened later has the larger one."""
    return next(_clock)


def holds_since_now(optimizer: Any) -> int:
    """Note that an optimizer has just been given its parameters; returns when that was."""
    _optimizers[id(optimizer)] = optimizer
    return now()


def warn_of_newcomers(model: Any, layers: Iterable[Any]) -> None:
    """Warn of the layers with parameters that joined a model after the optimizers that train it were made.

    A layer whose parameters any optimizer holds is trained; one that was there before is left out on purpose.
    """
    layers = list(layers)
    ours = {id(tensor) for layer in layers for tensor in layer.parameters()}
    alive = [ref() for ref in _optimizers.valuerefs()]  # a list of its own: other threads make optimizers meanwhile
    trainers = [o for o in alive if o is not None and any(id(tensor) in ours for tensor in o.parameters)]
    if not trainers:
        return
    made = max(optimizer._held_since for optimizer in trainers)
    held = {id(tensor) for optimizer in trainers for tensor in optimizer.parameters}
    for layer in layers:
        if model._born < made < layer._joined and any(id(tensor) not in held for tensor in layer.parameters()):
            warnings.warn(
                f"the layer {layer!r} joined the model after its optimizer was made, and no optimizer holds its "
                "parameters: it is not trained. Add them with optimizer.parameters.extend(layer.parameters()), "
                "or make the optimizer anew",
                stacklevel=_users_level(),
            )


def _users_level() -> int:
    """How many calls up the code stands that called fastnp, counted from the caller of this function."""
    ours = __name__.partition(".")[0]
    level, frame = 1, sys._getframe(1)
    while frame.f_back is not None and frame.f_globals.get("__name__", "").partition(".")[0] == ours:
        level, frame = level + 1, frame.f_back
    return level
