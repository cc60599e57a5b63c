"""What an optimizer keeps and counts, and parameters of an earlier epoch: snapshots, in notes and tensors."""

from collections.abc import Iterator, Mapping
from typing import Any

from ..checks import shown
from ..optimizers.arenas import ArenaOptimizer
from ..optimizers.snapshot import Snapshot, own_optimizers
from ..tensor import Tensor
from .architecture import parameters_of
from .container import Container
from .plain import Tensors, is_plain, noted, read

Named = dict[str, Tensor]


def named_tensors(model: Any, optimizer: Any) -> Named:
    """The parameters of a model by their names, and those that the optimizer alone holds by numbers."""
    named = {parameter.name: parameter.tensor for parameter in parameters_of(model)}
    known = {id(tensor) for tensor in named.values()}
    for tensor in _held(optimizer, ()):
        if id(tensor) not in known:
            known.add(id(tensor))
            named[f"other.{len(known)}"] = tensor
    return named


def _held(optimizer: Any, around: tuple[Any, ...]) -> Iterator[Tensor]:
    yield from optimizer.parameters
    for other in own_optimizers(optimizer, (*around, optimizer)):
        yield from _held(other, (*around, optimizer))


def kinds_of(optimizer: Any) -> tuple[str, ...]:
    """The names of what an optimizer keeps of each parameter."""
    return optimizer._kernel_rule.kept if isinstance(optimizer, ArenaOptimizer) else ()


# --- saving ---


def noted_snapshot(
    left: Snapshot, optimizer: Any, named: Named, tensors: Tensors, at: str, besides: frozenset[str] = frozenset()
) -> dict[str, Any]:
    """A snapshot in notes, but the parameters `besides`; its tensors have names that begin with `at`."""
    names = {id(tensor): name for name, tensor in named.items()}
    notes: dict[str, Any] = {"updates": left.updates, "data": {}, "kept": {}, "attributes": {}, "inside": []}
    for key, array in left.data.items():
        if key in names and names[key] not in besides:
            notes["data"][names[key]] = noted(array, tensors, f"{at}.{names[key]}")
    for key, arrays in left.kept.items():
        if key in names:
            kept = zip(kinds_of(optimizer), arrays, strict=True)
            notes["kept"][names[key]] = [noted(array, tensors, f"{at}.{kind}.{names[key]}") for kind, array in kept]
    for name, value in left.attributes.items():
        by_tensor = isinstance(value, dict) and value and all(key in names for key in value)
        if by_tensor:
            value = {names[key]: of for key, of in value.items()}
        if is_plain(value):
            notes["attributes"][name] = {"by_tensor": by_tensor, "value": noted(value, tensors, f"{at}.{name}")}
    everything = frozenset(named)
    for i, (other, inside) in enumerate(left.inside):
        notes["inside"].append(noted_snapshot(inside, other, named, tensors, f"{at}.inside.{i}", everything))
    return notes


# --- loading ---


def read_snapshot(container: Container, notes: Any, optimizer: Any, named: Named) -> Snapshot:
    """A snapshot of these tensors. Raises BadFileError where the file has no such one."""
    parts = {"updates": object, "data": dict, "kept": dict, "attributes": dict, "inside": list}
    if not isinstance(notes, dict) or set(notes) != set(parts):
        raise container.fault(f"its notes on the optimizer cannot be read: {shown(notes)}")
    for name, kind in parts.items():
        if not isinstance(notes[name], kind):
            raise container.fault(f"its notes on the optimizer cannot be read: {name} is {shown(notes[name])}")
    updates = notes["updates"]
    if updates is not None and (type(updates) is not int or not 0 <= updates <= 2**53):
        raise container.fault(f"the number of updates is {shown(updates)}")
    data = {id(named[name]): array for name, (array,) in _arrays(container, notes["data"], named, 1)}
    kept = {
        id(named[name]): arrays for name, arrays in _arrays(container, notes["kept"], named, len(kinds_of(optimizer)))
    }
    attributes = {name: _attribute(container, note, named) for name, note in notes["attributes"].items()}
    others = list(own_optimizers(optimizer, (optimizer,)))
    if len(others) != len(notes["inside"]):
        raise container.fault(f"the optimizer had {len(notes['inside'])} others in it; that to fill has {len(others)}")
    pairs = zip(others, notes["inside"], strict=True)
    inside = [(other, read_snapshot(container, note, other, named)) for other, note in pairs]
    return Snapshot({id(tensor): tensor for tensor in named.values()}, data, kept, updates, attributes, inside)


def _arrays(container: Container, notes: Mapping[str, Any], named: Named, count: int) -> Iterator[Any]:
    """The arrays of each tensor, so many of its shape and dtype."""
    for name, note in notes.items():
        listed = note if isinstance(note, list) else [note]
        if name not in named or len(listed) != count:
            raise container.fault(
                f"it has {len(listed)} arrays of a parameter {name!r}, which the optimizer does not hold"
            )
        for each in listed:
            if not isinstance(each, dict) or not isinstance(each.get("tensor"), str):
                raise container.fault(f"a part of its notes on the optimizer cannot be read: {shown(each)}")
            container.check(each["tensor"], named[name].shape, named[name].dtype)
        yield name, [container.read(each["tensor"]) for each in listed]


def _attribute(container: Container, note: Any, named: Named) -> Any:
    if not isinstance(note, dict) or set(note) != {"by_tensor", "value"}:
        raise container.fault(f"an attribute of the optimizer cannot be read: {shown(note)}")
    value = read(container, note["value"])
    if not note["by_tensor"]:
        return value
    if not isinstance(value, dict) or not value.keys() <= named.keys():
        raise container.fault(f"an attribute of the optimizer is of parameters that are not there: {shown(note)}")
    return {id(named[name]): of for name, of in value.items()}


def restored(left: Snapshot, model: Any, optimizer: Any) -> None:
    """Bring an optimizer to a snapshot that was read, also with the attributes that it gets when it first steps."""
    for name, value in left.attributes.items():
        if name not in vars(optimizer):
            setattr(optimizer, name, value)
    left.restore(model, optimizer)
