"""A program, forward and backward: what its rows say is done, row by row."""

from .link import function_of
from .operands import Operands, rows_of


def forward(inputs, work, params, table, batch):
    """All rows of a table forward; the input of the first is `inputs`."""
    for i, row in enumerate(rows_of(table)):
        if row.forward:
            function_of(row.forward)(Operands(row, work[row.x :] if i else inputs, work, params, batch))


def backward(inputs, work, params, target, numbers, table, batch):
    """All rows of a table backward: of each first dx, then what becomes of its parameters' gradients."""
    for i, row in reversed(list(enumerate(rows_of(table)))):
        op = Operands(row, work[row.x :] if i else inputs, work, params, batch, target, numbers)
        if row.input:
            function_of(row.input)(op)
        if row.parameters:
            function_of(row.parameters)(op)
