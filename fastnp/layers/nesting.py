"""Lists of layers, as models are made of: what may stand in them."""

from collections.abc import Iterable, Iterator
from typing import Any

from ..checks import shown
from ..overrides import TrackedList
from .layer import Layer


def check_layers(owner: str, name: str, value: Any) -> TrackedList:
    """A list of layers, each only once. Raises TypeError or ValueError that says which is wrong."""
    if not isinstance(value, (list, tuple)):
        raise TypeError(f"{owner}: {name} must be a list of layers, got {shown(value)}")
    for layer in value:
        check_layer(owner, layer)
    check_once(value)
    return TrackedList(value)


def check_layer(owner: str, layer: Any) -> None:
    if not isinstance(layer, Layer):
        raise TypeError(f"{owner} takes Layer objects, got {shown(layer)} of type {type(layer).__name__}")


def check_once(layers: Iterable[Layer]) -> None:
    """Refuse a layer that stands twice."""
    seen: set[int] = set()
    for layer in nested(layers):
        if id(layer) in seen:
            raise ValueError(
                f"the layer {shown(layer)} stands twice in this Sequential: a layer keeps the state of one place; "
                "make a second one"
            )
        seen.add(id(layer))


def nested(layers: Iterable[Layer], around: tuple[Layer, ...] = ()) -> Iterator[Layer]:
    """Layers, and those inside of others among them."""
    for layer in layers:
        yield layer
        inside = layer._layers_inside()
        if inside is not None:
            if any(layer is outer for outer in around):
                raise ValueError("a Sequential cannot contain itself")
            yield from nested(inside, (*around, layer))


def pieces(layers: Iterable[Layer]) -> list[Layer]:
    """What runs one after the other: layers, and in the place of a plain `Sequential` those in it."""
    return [piece for layer in layers for piece in layer._layers_run()]
