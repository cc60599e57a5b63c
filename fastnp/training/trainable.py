"""What a kernel can train alone."""

from typing import Any, NamedTuple

from ..data.dataset import ArrayDataset
from ..data.loader import DataLoader
from ..data.sampler import BatchSampler
from ..layers.sequential import Sequential
from ..optimizers.kept import Held
from ..overrides import is_plain
from ..program.op import NumbersAt, Rule, kind_of, own_of
from ..program.program import Program


class Trained(NamedTuple):
    """What a kernel trains alone."""

    program: Program
    rows: tuple[NumbersAt | None, ...]  # of the program: whose parameters change, and by which numbers of the rule
    held: Held  # these parameters, and what the optimizer keeps of them


def trainable(model: Any, loss_fn: Any, optimizer: Any, loader: Any) -> Trained | None:
    """What a kernel can train alone on arrays, or None where it cannot, or a loader gives anything else.

    No method of any of them may have been redefined.
    """
    if not (_is_plain_loader(loader) and is_plain(loader.dataset, ArrayDataset)):
        return None
    return trained_on(model, loss_fn, optimizer, loader.dataset.X.shape, loader.dataset.Y.shape)


def gives_of_its_own(loader: Any) -> bool:
    """Whether batches are those of a plain loader, of a data set that says itself what it gives."""
    return _is_plain_loader(loader) and not is_plain(loader.dataset, ArrayDataset)


def _is_plain_loader(loader: Any) -> bool:
    return is_plain(loader, DataLoader) and is_plain(loader.sampler, BatchSampler)


def is_of_kernels(model: Any, loss_fn: Any, optimizer: Any) -> bool:
    """Whether these do all that their classes declare to the kernels, and the loss is a number."""
    return (
        is_plain(model, Sequential)
        and kind_of(loss_fn) is not None
        and loss_fn.reduction != "none"
        and own_of(optimizer, "_kernel_rule", Rule) is not None
    )


def trained_on(
    model: Any, loss_fn: Any, optimizer: Any, of_x: tuple[int, ...], of_y: tuple[int, ...]
) -> Trained | None:
    """What a kernel can train alone on data of these shapes, or None where the loop has to run.

    One program must be the whole model, the optimizer must hold the parameters of some of its rows and no others, and
    no gradient may be left over.
    """
    if not is_of_kernels(model, loss_fn, optimizer):
        return None
    program = model.whole_program()
    if program is None or of_x[1:] != (program.n_in,) or loss_fn._columns(program.n_out, of_y) is None:
        return None
    held = optimizer._kernel_held()
    apart = not optimizer.decay_bias and optimizer.clip_norm is None  # else the rows only keep gradients
    rows = held[0].trained_in(program, apart, optimizer.parameters) if held else None
    if rows is None or program.has_gradients() or not all(of.plain and of.arena is program.arena for of in held):
        return None
    return Trained(program, rows, held[0])
