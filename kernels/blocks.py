"""What a function of `step` works on, as integers, with addresses: a *block*, (rows, ·).

Whoever makes a block holds the arrays that it names for as long as it is used, and does not change it.
"""

import numpy as np

from .table import COLUMNS

# The block of a pass through a program is as wide as its table, which stands in the rows behind the first. The columns
# of the first:
WORK = 0  # the address of work, …
WORK_SIZE = 1  # … how many numbers that has, …
PARAMS = 2  # … the address of params, …
SIZE = 3  # … how many these are, …
GRADIENTS = 4  # … and the address of as many gradients
FLAGS = 5  # the address of the flags of an arena
WHOLE = 6  # whether the gradients are all written by this pass, and nothing else is in the arena

# The flags of an arena:
STALE = 0  # the gradients are zeros, whatever stands there
DEAD = 1  # the tensors are elsewhere now
ARENA_FLAGS = 2

# The columns of the block of an update, besides PARAMS, SIZE, GRADIENTS and FLAGS:
PLAN = 0  # the address of the plan, …
PLAN_SIZE = 1  # … and how many integers that has
SETTINGS = 6  # the address of the settings of the rule, doubles, …
SETTINGS_SIZE = 7  # … and how many there are in a set
UPDATE_COLUMNS = 8

# The columns of the block of a loss:
PART = 0  # by number
REDUCED = 1  # what becomes of the losses
NUMBERS = 2  # the address of the loss's own numbers, …
NUMBERS_SIZE = 3  # … and how many these are
BATCH = 4  # how many rows pred and target have, …
WIDTH = 5  # … and how long these are
LOSS_COLUMNS = 6


def address(array: np.ndarray) -> int:
    """Where the first number of an array stands."""
    found: int = array.__array_interface__["data"][0]
    return found


def block_of_pass(
    table: np.ndarray, work: np.ndarray, params: np.ndarray, gradients: np.ndarray, flags: np.ndarray, whole: bool
) -> np.ndarray:
    """The block of a pass by a table, as integers, over these arrays."""
    block = np.zeros((1 + len(table), COLUMNS), np.int64)
    block[1:], head = table, block[0]
    head[WORK], head[PARAMS], head[GRADIENTS], head[FLAGS] = map(address, (work, params, gradients, flags))
    head[WORK_SIZE], head[SIZE], head[WHOLE] = work.size, params.size, whole
    return block


def block_of_loss(part: int, reduction: int, numbers: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """The block of a loss, by its number and its own numbers, of pred and target of this shape, (rows, n)."""
    block = np.zeros((1, LOSS_COLUMNS), np.int64)
    head = block[0]
    head[PART], head[REDUCED], head[NUMBERS], head[NUMBERS_SIZE] = part, reduction, address(numbers), numbers.size
    head[BATCH], head[WIDTH] = shape
    return block


def block_of_update(
    plan: np.ndarray, params: np.ndarray, gradients: np.ndarray, flags: np.ndarray, settings: np.ndarray
) -> np.ndarray:
    """The block of an update by a plan, with the settings of its rule, (sets, ·)."""
    block = np.zeros((1, UPDATE_COLUMNS), np.int64)
    head = block[0]
    arrays = plan, params, gradients, flags, settings
    head[PLAN], head[PARAMS], head[GRADIENTS], head[FLAGS], head[SETTINGS] = map(address, arrays)
    head[PLAN_SIZE], head[SIZE], head[SETTINGS_SIZE] = plan.size, params.size, settings.shape[1]
    return block
