"""What a program is told: of its layers, and of a training."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np

from ..kernels.table import COUNT_BASE, RULE_NUMBERS
from ..overrides import definer, is_plain
from ..prediction import anybody_predicts
from ..tensor import Tensor


class Kind(NamedTuple):
    """What a class of layers, or of losses, is to the kernels.

    `name` is known to both of their wings: a module, a dot and a name in it; `variants` are others that stand in for it
    where the settings of an object say so. Of an operation: whether it has `weights` and bias; whether its output, and
    its gradients, may stand `in_place` of those of its input, though not the output where going back `needs_input`;
    whether it `keeps_output`, to go back or to show it, so that what comes behind may not write there; how many numbers
    for each row it has in its `memory` from one call for the next; whether it takes the positive part of its input, a
    `rectifier`, which an operation that `rectifies` does in the same pass.
    """

    name: str
    variants: tuple[str, ...] = ()
    weights: bool = False
    in_place: bool = False
    needs_input: bool = False
    keeps_output: bool = False
    memory: int = 0
    rectifier: bool = False
    rectifies: bool = False


class Rule(NamedTuple):
    """What a class of optimizers is to the kernels: a rule of `updates`, and the names of what it keeps.

    `variants` are other rules that stand in for it where the settings of an object say so. It may be one that `counts`
    updates: whose numbers are others in each, also where the learning rate stays the same.
    """

    name: str
    kept: tuple[str, ...] = ()
    variants: tuple[str, ...] = ()
    counts: bool = False


def own_of(value: Any, attribute: str, expected: type) -> Any:
    """The `Kind` or `Rule` of an object that does all that its class declares; None where it does otherwise.

    A class declares it once. A subclass that redefines something of that class runs by itself.
    """
    cls = type(value)
    declared = getattr(cls, attribute, None)
    if not isinstance(declared, expected):
        return None
    base = cls if attribute in cls.__dict__ else definer(cls, attribute)
    return declared if base is not None and is_plain(value, base) else None


def kind_of(value: Any) -> Kind | None:
    """The kind of a layer or loss, or None where it runs by itself."""
    kind: Kind | None = own_of(value, "_kernel_kind", Kind)
    return kind


class Holder(Protocol):
    """What holds the forward states of layers: a program."""

    def lose_state(self) -> None:
        """Another now holds that of one of the layers."""


class ForwardState:
    """Where a layer's last forward is remembered: by a program, in one of its rows; `held_by` is None before it."""

    held_by: Any = None
    row = 0

    def move(self, holder: Holder, row: int) -> None:
        """Let `holder` be the one that remembers, from now on."""
        before = self.held_by
        if before is not None and before is not holder:
            before.lose_state()
        self.held_by, self.row = holder, row

    def forget(self, holder: Holder) -> None:
        """Where it was `holder` that remembers, nobody does."""
        if self.held_by is holder:
            self.held_by = None


def move_states(ops: Sequence["Op"], holder: Holder) -> None:
    """From now on `holder` remembers the last forward of the layers of these operations, and nobody else does."""
    for row, op in enumerate(ops):
        state = op.state()
        if state is not None:
            state.move(holder, row)


def forget_states(ops: Sequence["Op"], holder: Holder) -> None:
    """Where it was `holder` that remembers the last forward of a layer of these operations, nobody does."""
    for op in ops:
        state = op.state()
        if state is not None:
            state.forget(holder)


class Noise:
    """What a layer that draws random numbers tells the programs that run it.

    While it is `training`, and not where a model predicts by a `forward` of the user's own, `share` of the numbers is
    left out; `count` is how often it drew. A program hands this to the operation in the first numbers of its memory,
    where the operation itself counts on.
    """

    def __init__(self, seed: int, share: float):
        self.seed, self.share = seed, share
        self.training = True
        self.count = 0

    def write(self, memory: np.ndarray) -> None:
        """Hand it over: the share, and the count in two numbers that are exact in any dtype."""
        high, low = divmod(self.count, COUNT_BASE)
        memory[:3] = self.share if self.training and not anybody_predicts() else 0.0, low, high
        if memory[0] == 1:  # to which a share is rounded, though it is below
            memory[0] = np.nextafter(memory[0], memory.dtype.type(0))

    def read(self, memory: np.ndarray) -> None:
        """Take the count back."""
        self.count = int(memory[1]) + COUNT_BASE * int(memory[2])


class Op(NamedTuple):
    """One layer as a program sees it."""

    kind: Kind
    part: str  # the name of the kind, or of a variant of it
    name: str
    n_in: int
    n_out: int
    state: Callable[[], ForwardState | None]  # a weak reference: layers hold their program by way of their state
    tensors: tuple[Tensor, ...] = ()  # weights and bias
    setting: float = 0.0
    noise: Noise | None = None
    words: str = ""  # the layer as a message names it, where it says how wide its input must be


class NumbersAt(NamedTuple):
    """Where in the numbers of a rule those of weights and bias begin, for a row whose parameters change."""

    weight_numbers: int
    bias_numbers: int


def trained_rows(ops: Sequence[Op], parameters: Iterable[Tensor], apart: bool) -> tuple[NumbersAt | None, ...] | None:
    """Which operations an optimizer of these tensors trains, each whole; None where it holds anything else.

    Tensors that do not decay may stand `apart`, with numbers of their own.
    """
    held = {id(tensor) for tensor in parameters}
    trained: list[NumbersAt | None] = []
    for op in ops:
        numbers = [0 if tensor.decays or not apart else RULE_NUMBERS for tensor in op.tensors]
        trained.append(NumbersAt(*numbers) if numbers and all(id(tensor) in held for tensor in op.tensors) else None)
    count = sum(len(op.tensors) for op, of in zip(ops, trained, strict=True) if of is not None)
    return tuple(trained) if 0 < count == len(held) else None


class Job(NamedTuple):
    """What a training run is told of its batches."""

    loss: int  # the number of its part
    batch_size: int
    rows: int  # of an epoch
    stride: int  # from the first row of an epoch to that of the next
    reduction: int
    rate_step: int = 0  # from the learning rate of an update to that of the next
    settings_step: int = 0  # from the settings of an update to those of the next


class Update(NamedTuple):
    """What a training run is told of its optimizer; see the kernel `train`."""

    rule: str  # of the rows that are trained: what is done with their gradients
    trained: tuple[NumbersAt | None, ...]
    plan: np.ndarray
    kept: np.ndarray
    gradients: np.ndarray
    settings: np.ndarray
    rates: np.ndarray
    before: int  # how many updates were made
    clip_norm: float


class Told(NamedTuple):
    """What a training run tells of each batch, if anything; see the kernel `train`."""

    each: np.ndarray = np.zeros((0, 2))
    penalty: np.ndarray = np.zeros(0, np.int64)


class Watched(NamedTuple):
    """What a training run is told of what watches it; see the kernel `train_and_watch`."""

    stopping: np.ndarray
    best: np.ndarray
    best_kept: np.ndarray
    validation_losses: np.ndarray
    job: Job  # of the validation
    counts: np.ndarray
    x: np.ndarray
    y: np.ndarray
