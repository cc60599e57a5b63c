"""What optimizers keep of parameters, laid out as these are."""

from ..arrays import aligned_zeros
from ..overrides import is_plain
from ..tensor import Arena, Tensor


class Range:
    """Tensors that lie side by side in one arena, and their velocities: one kernel call updates all."""

    def __init__(self, tensors: list[Tensor]):
        self.arena: Arena = tensors[0]._arena
        self.arena.followed = True
        self.tensors = tensors
        start = tensors[0]._offset
        stop = tensors[-1]._offset + tensors[-1]._size
        self.data = self.arena.data[start:stop]
        self.grad = self.arena.grad[start:stop]
        self.velocity = aligned_zeros(stop - start, self.arena.dtype)
        self.whole_arena = stop - start == self.arena.data.size
        # Whether data and gradients may be changed without asking the tensors.
        self.plain = all(is_plain(tensor, Tensor) for tensor in tensors)
        self._replaced = [tensor._replaced for tensor in tensors]
        self.velocities = [tensor._view(self.velocity[tensor._offset - start :]) for tensor in tensors]

    def has_changed(self) -> bool:
        """Whether the tensors have moved, or have other methods now."""
        return self.arena.dead or self._replaced != [tensor._replaced for tensor in self.tensors]


def ranges_of(parameters: list[Tensor]) -> list[Range]:
    """Cut parameters, in the order of their storage, into as few ranges as possible."""
    groups: list[list[Tensor]] = []
    for tensor in sorted(parameters, key=lambda tensor: (id(tensor._arena), tensor._offset)):
        last = groups[-1][-1] if groups else None
        if last is not None and last._arena is tensor._arena and last._offset + last._size == tensor._offset:
            groups[-1].append(tensor)
        else:
            groups.append([tensor])
    return [Range(tensors) for tensors in groups]
