"""Layers that joined a model after its optimizer was made, and that nobody trains: said once."""

import itertools
import weakref
from collections.abc import Iterable, Mapping
from typing import Any

from ..checks import shown
from ..overrides import put
from ..warned import warn

_clock = itertools.count(1)


def now() -> int:
    """A number that grows with every call: what happened later has the larger one."""
    return next(_clock)


def holds_since_now(optimizer: Any, tensors: Iterable[Any]) -> int:
    """Note that an optimizer has just been given these parameters; returns when that was."""
    holder = weakref.ref(optimizer)
    for tensor in tensors:
        others = (ref for ref in tensor._holders if ref() is not None and ref != holder)
        put(tensor, _holders=(*others, holder))
    return now()


def warn_of_newcomers(layers: Iterable[Any], joined: Mapping[int, int], born: int) -> None:
    """Warn of the layers with parameters that joined a model after the optimizers that train it were made.

    `joined` says when, by the id of a layer, `born` when the model was made. A layer whose parameters an
    optimizer holds is trained; one that was there before is left out on purpose.
    """
    layers = list(layers)
    tensors = {layer_id: layer.parameters() for layer_id, layer in zip(map(id, layers), layers, strict=True)}
    holders = {id(o): o for ts in tensors.values() for t in ts for ref in t._holders if (o := ref()) is not None}
    held = {id(tensor) for optimizer in holders.values() for tensor in optimizer.parameters}
    untrained = [layer for layer in layers if any(id(tensor) not in held for tensor in tensors[id(layer)])]
    trained = [joined.get(id(layer), 0) for layer in layers if any(id(t) in held for t in tensors[id(layer)])]
    if not untrained or not trained:
        return
    made = max(optimizer._held_since for optimizer in holders.values())
    for layer in untrained:
        # The model was trained before the layer came: what it trains was there when the optimizer was made.
        if born < made < joined.get(id(layer), 0) and min(trained) < made:
            warn(
                f"the layer {shown(layer)} joined the model after its optimizer was made, and no optimizer holds its "
                "parameters: it is not trained. Add them with optimizer.parameters.extend(layer.parameters()), "
                "or make the optimizer anew"
            )
