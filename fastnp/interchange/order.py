"""In which order a loader gives its samples, and what draws that."""

from collections.abc import Callable
from typing import Any

import numpy as np

from ..checks import shown
from ..data.sampler import BatchSampler
from .container import Container
from .generators import into_generator, noted_generator
from .plain import Tensors, noted, read


def _sampler(loader: Any) -> BatchSampler | None:
    sampler = getattr(loader, "sampler", None)
    return sampler if isinstance(sampler, BatchSampler) else None


def noted_loader(loader: Any, tensors: Tensors, name: str = "dataloader") -> dict[str, Any]:
    """The order of a loader's sampler, and its generator; of a sampler of the user's own nothing."""
    sampler, notes = _sampler(loader), {"class": type(loader).__name__}
    if sampler is not None:
        order = sampler.indices
        narrow = order.astype(np.int32) if len(order) and order.max() < 2**31 else order
        notes["order"] = noted(narrow, tensors, f"{name}.order")
        if sampler.rng is not None:
            notes["rng"] = noted_generator(sampler.rng, tensors, f"{name}.rng")
    return notes


def into_loader(container: Container, notes: Any, loader: Any) -> Callable[[], None]:
    """What brings a loader to where the one that was saved stood. Raises BadFileError where they are not alike."""
    if not isinstance(notes, dict) or not isinstance(notes.get("class"), str):
        raise container.fault(f"its notes on the loader cannot be read: {shown(notes)}")
    sampler = _sampler(loader)
    if (sampler is not None) != ("order" in notes):
        raise container.fault(f"the loader was a {notes['class']} of another sort than that to fill, {shown(loader)}")
    if sampler is None:
        return lambda: None
    order = read(container, notes["order"])
    rows = len(sampler.indices)
    if not isinstance(order, np.ndarray) or order.shape != (rows,) or order.dtype.kind != "i":
        got = f"{order.dtype} {order.shape}" if isinstance(order, np.ndarray) else shown(order)
        raise container.fault(f"the order of the samples is {got}; the loader to fill has {rows} of them")
    if rows and (order.min() < 0 or order.max() > sampler.indices.max()):
        raise container.fault(f"the order of the samples reaches from {order.min()} to {order.max()}")
    draw: Callable[[], None] = lambda: None  # noqa: E731
    if (sampler.rng is None) != ("rng" not in notes):
        mine, theirs = (
            "NumPy's global one" if of is None else "one of its own" for of in (sampler.rng, notes.get("rng"))
        )
        raise container.fault(f"the loader drew from {theirs}, as a generator; that to fill draws from {mine}")
    if sampler.rng is not None:
        draw = into_generator(container, notes["rng"], sampler.rng)

    def fill() -> None:
        sampler.indices[:] = order
        draw()

    return fill
