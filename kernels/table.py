"""What a program is: a table of rows, one for each operation, over flat arrays."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

# Offsets count numbers, in one of three flat arrays of one dtype: `work` (activations, their gradients, scratch
# space), `params`, and `target`, which is laid out as params: the gradients, or what an optimizer keeps.
ROW = np.dtype(
    [
        # What to call, each by the number that `link` gives for a part, or 0 for nothing:
        ("forward", "i8"),  # y
        ("input", "i8"),  # dx
        ("parameters", "i8"),  # the gradients of the parameters, and what is done with them
        # With what:
        ("n_in", "i8"),  # real width of the input …
        ("n_out", "i8"),  # … and of the output
        ("ld_in", "i8"),  # padded row length of the input …
        ("ld_out", "i8"),  # … and of the output
        ("x", "i8"),  # offset of the input, in work
        ("y", "i8"),  # offset of the output; where it is computed in place, that of x
        ("dx", "i8"),  # offset of the gradient with respect to the input
        ("dy", "i8"),  # offset of the gradient with respect to the output; may be that of dx
        ("scratch", "i8"),  # offset of the scratch space, in work
        ("memory", "i8"),  # offset of what the operation remembers from one call for the next, in work
        ("weights", "i8"),  # offset of the weights, in params
        ("bias", "i8"),  # offset of the bias, in params
        ("weight_numbers", "i8"),  # offset of the rule's numbers for the weights …
        ("bias_numbers", "i8"),  # … and of those for the bias
        ("rectified", "i8"),  # whether the positive part of y is stored
        ("masked", "i8"),  # whether x is such a part: dx is 0 where x is not positive
        ("seed", "i8"),  # of the random numbers that the operation draws
        ("setting", "f8"),  # a number of the operation's own, such as a slope
    ]
)
Row = NamedTuple("Row", [(name, float if ROW[name].kind == "f" else int) for name in ROW.names])  # for Python
COUNT_BASE = 2**24  # in float32, whole numbers are exact up to here
COLUMNS = ROW.itemsize // 8  # of the table as the 8-byte integers that kernels take it for

# One call of `train`, as integers: its columns.
LOSS = 0  # the loss, by number
BATCH_SIZE = 1
ROWS = 2  # of an epoch
STRIDE = 3  # from the first row of an epoch to that of the next
REDUCTION = 4
RATE_STEP = 5  # from the learning rate of an update to that of the next: 1, or 0 where all have one
SETTINGS_STEP = 6  # from the settings of an update to those of the next, in sets; 0 where all have one
JOB_COLUMNS = 7

# How an optimizer changes the parameters in one arena, as integers: a *plan*. Its columns:
BEGIN = 0  # what makes the numbers of an update, by number …
FLAT = 1  # … what changes parameters by gradients that were kept …
SQUARES = 2  # … and what sums up the squares of gradients
FAR = 3  # from what is kept of one kind to that of the next
SETS = 4  # of numbers: a second one for parameters that do not decay
COUNTS = 5  # whether numbers depend on how many updates were made, and not only on the learning rate
RANGES = 6  # how many there are: (start, size, offset of their numbers), each behind the one before …
TENSORS = 7  # … and how many tensors: (start, size), behind the ranges
PLAN_COLUMNS = 8
RULE_NUMBERS = 16  # of one set, at most

# When to stop for want of a better epoch, in doubles: settings first, then how far it is. Its columns:
PATIENCE = 0  # how many epochs in a row may be no better; 0 where none is judged
MIN_DELTA = 1  # by how much more than nothing an epoch has to be better
BY_VALIDATION = 2  # whether the loss over the validation data is judged; else that of the training, …
BATCHES = 3  # … the mean over so many, those of an epoch
BEST = 4  # what the best epoch came to
WAITS = 5  # how many came since
BETTER = 6  # which epoch of a call was the best last, or -1
STOPPING_COLUMNS = 7

# What becomes of the losses of a batch:
SUM = 0
MEAN = 1  # over what the losses count, which rows with a weight do so often
EACH = 2  # SUM, and they are written out
BATCHMEAN = 3  # over the rows, each of which counts as often as its weight says


class Operation(NamedTuple):
    """The parts of an operation, in one of the wings.

    Compiled, `forward` and `input` take (op, x, work, params, batch): a row, where its input starts (that of the first
    row of a program may lie outside of work), the flat arrays, and how many rows of each buffer are in use.
    `parameters(rule, ahead)` makes the part that takes (op, x, work, params, target, far, numbers, batch): what a rule
    keeps stands in target, each kind of it `far` behind the one before. In NumPy, all of them take `Operands`.
    """

    forward: Callable[..., Any]
    input: Callable[..., Any]
    parameters: Callable[..., Any] | None = None  # given what is to be done with a gradient, the part


class Parts(dict[tuple[str, str], int]):
    """The number to call each part by, and to write in a table, by its name and the character of its dtype, 'f' or 'd'.

    A name is a module, what is in it, and a role: of an operation 'forward', 'input' or 'parameters', the last followed
    by a rule of `updates`, as in 'linear.linear.parameters.momentum'; 'sum' of a loss; 'begin' and 'flat' of a rule;
    'squares' of gradients. A part is made when it is first asked for.
    """

    def __init__(self, make: Callable[[str, str], int]):
        super().__init__()
        self._make = make

    def __missing__(self, key: tuple[str, str]) -> int:
        number = self[key] = self._make(*key)
        return number


SOON = 1 << 17  # multiplications in a pass forward, or numbers, that keep Python's lock until they are done


class Steps(dict[tuple[str, str, bool], Callable[..., Any]]):
    """What to call for a function of `step`: by its name, the characters of the dtypes of its arrays, the library's own
    first, and whether it holds Python's lock, as what is over soon should. It is made when it is first asked for.
    """

    def __init__(self, make: Callable[[str, str, bool], Callable[..., Any]]):
        super().__init__()
        self._make = make

    def __missing__(self, key: tuple[str, str, bool]) -> Callable[..., Any]:
        step = self[key] = self._make(*key)
        return step


def clipping(squares: float, clip_norm: float) -> float:
    """What gradients are multiplied by, the sum of whose squares this is, so that their norm is at most `clip_norm`."""
    norm = math.sqrt(squares)
    return 1.0 if norm <= clip_norm else clip_norm / norm


def is_better(stopping: np.ndarray, value: float) -> bool:
    """Judge an epoch by what it came to, and take that up; NaN is never better."""
    better = value < stopping[BEST] - stopping[MIN_DELTA]
    if better:
        stopping[BEST], stopping[WAITS] = value, 0
    else:
        stopping[WAITS] += 1
    return better


def as_integers(table: np.ndarray) -> np.ndarray:
    """A table as kernels take it: a view."""
    return table.view(np.int64).reshape(len(table), COLUMNS)


def rows(flat: np.ndarray, offset: int, count: int, ld: int) -> np.ndarray:
    """`count` rows of `ld` numbers of a flat array, from an offset on: a view."""
    return flat[offset : offset + count * ld].reshape(count, ld)
