"""Layers in a row, cut into what kernels run at once and what runs by itself."""

from collections.abc import Iterable, Sequence
from typing import Any, TypeGuard

import numpy as np

from ..program.op import Op, kind_of
from ..program.program import Program
from .built_in import BuiltIn
from .layer import Layer

SEED_STEP = 0x5851F42D4C957F2D  # odd: no seed comes back before all others


def is_built_in(layer: Layer) -> TypeGuard[BuiltIn]:
    """Whether kernels do all that this layer does."""
    return isinstance(layer, BuiltIn) and kind_of(layer) is not None


def what(layer: Layer) -> Any:
    """What a program was made for: where it is another, the program has to be made anew."""
    return layer._what() if is_built_in(layer) else None


class Run:
    """A run of built-in layers, as one program."""

    def __init__(self, layers: Sequence[BuiltIn], program: Program):
        self.layers, self.program = layers, program
        self.forward, self.predict = program.forward, program.predict

    def backward(self, gradient: Any) -> np.ndarray:
        """Pass a gradient back through all layers."""
        if self.program.holds_state:
            return self.program.backward(gradient)
        for layer in reversed(self.layers):  # one of them was run by itself since: each holds its own state
            gradient = layer.backward(gradient)
        return gradient


def cut(layers: Sequence[Layer]) -> list[Run | Layer]:
    """As few runs as possible, each of one dtype, and the layers that run by themselves."""
    _tell_apart(layers)
    segments: list[Run | Layer] = []
    run: list[BuiltIn] = []
    dtype = None
    for layer in layers:
        own = layer._what()[0] if is_built_in(layer) else None
        if not is_built_in(layer) or None is not own != dtype is not None:
            segments.extend(_run(run, dtype))
            run, dtype = [], None
        if not is_built_in(layer):
            segments.append(layer)
            continue
        run.append(layer)
        dtype = dtype if own is None else own
    segments.extend(_run(run, dtype))
    return segments


def _tell_apart(layers: Iterable[Layer]) -> None:
    """Give layers of one model that would draw the same numbers, as copies of a block would, seeds of their own."""
    seeds: set[int] = set()
    for layer in layers:
        noise = layer._noise if isinstance(layer, BuiltIn) else None
        if noise is not None:
            while noise.seed in seeds:
                noise.seed = (noise.seed + SEED_STEP) % 2**63
            seeds.add(noise.seed)


def _run(layers: Sequence[BuiltIn], dtype: np.dtype | None) -> Sequence[Run | Layer]:
    """Built-in layers as one run; without a width, or a dtype, they stay as they are."""
    ops = ops_of(layers)
    return [Run(layers, Program(ops, dtype))] if ops and dtype is not None else layers


def ops_of(layers: Sequence[BuiltIn]) -> list[Op]:
    """Built-in layers as operations one behind the other; none where no layer says how wide anything is."""
    widths = [width for layer in layers if (width := layer._widths()) is not None]
    n = widths[0][0] if widths else 0
    ops: list[Op] = []
    for layer in layers if widths else ():
        ops.append(layer._op(n))
        n = ops[-1].n_out
    return ops


def check_widths(layers: Iterable[Layer]) -> None:
    """Refuse neighbours whose widths do not fit."""
    before: BuiltIn | None = None  # the last one whose width is known
    for layer in layers:
        if not is_built_in(layer):
            before = None
            continue
        widths = layer._widths()
        if widths is None:
            continue
        given = None if before is None else before._widths()
        if given is not None and widths[0] != given[1]:
            raise ValueError(
                f"the layer '{layer}' takes {widths[0]} features, but '{before}' before it gives {given[1]}"
            )
        before = layer


def output_width(layers: Sequence[Layer]) -> int | None:
    """How wide the output of the last layer is; None where that is not known."""
    for layer in reversed(layers):
        if not is_built_in(layer):
            return None
        widths = layer._widths()
        if widths is not None:
            return widths[1]
    return None


def last_known(layers: Sequence[Layer]) -> Sequence[Layer]:
    """The layers from the last on whose width is known, which say how wide the next has to be."""
    for i in range(len(layers) - 1, -1, -1):
        layer = layers[i]
        if isinstance(layer, BuiltIn) and layer._widths() is not None:
            return layers[i:]
    return layers
