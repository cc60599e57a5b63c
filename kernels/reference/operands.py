"""What a part works on, as arrays."""

import weakref

import numpy as np

from ..table import ROW, Row, rows

silent = np.errstate(over="ignore", invalid="ignore")


_decoded = {}  # the rows of tables, by the ids of these: a training brings the same few again and again


def rows_of(table):
    """The rows of a table, which came as integers and does not change."""
    found = _decoded.get(id(table))
    if found is None or found[0]() is not table:
        for key, (ref, _) in _decoded.copy().items():  # of which a thread may make others meanwhile
            if ref() is None:
                _decoded.pop(key, None)
        found = weakref.ref(table), [Row(*row) for row in table.view(ROW).ravel().tolist()]
        _decoded[id(table)] = found
    return found[1]


class Operands:
    """The sizes of one row of a table, and views of what its offsets mean, for `batch` rows of each buffer.

    `numbers` are those of a rule; what it keeps of the parameters stands in `target`, one kind behind the other.
    """

    def __init__(self, row, inputs, work, params, batch, target=None, numbers=None):
        self.row, self.batch, self._numbers = row, batch, numbers
        self._inputs, self._work, self._params, self._target = inputs, work, params, target
        self.n_in, self.n_out, self.setting = row.n_in, row.n_out, row.setting
        self.rectified, self.masked, self.seed = row.rectified, row.masked, row.seed

    @property
    def x(self):
        return rows(self._inputs, 0, self.batch, self.row.ld_in)

    @property
    def y(self):
        return rows(self._work, self.row.y, self.batch, self.row.ld_out)

    @property
    def dx(self):
        return rows(self._work, self.row.dx, self.batch, self.row.ld_in)

    @property
    def dy(self):
        return rows(self._work, self.row.dy, self.batch, self.row.ld_out)

    def memory(self, count):
        """The first numbers of what the operation remembers."""
        return self._work[self.row.memory : self.row.memory + count]

    @property
    def weights(self):
        return rows(self._params, self.row.weights, self.n_in, self.row.ld_out)

    @property
    def weight_row(self):
        """The weights of an operation that has one for each column."""
        return rows(self._params, self.row.weights, 1, self.row.ld_out)

    @property
    def weight_column(self):
        """The weights of an operation whose output is one wide."""
        return rows(self._params, self.row.weights, self.n_in, 1)

    @property
    def bias(self):
        return rows(self._params, self.row.bias, 1, self.row.ld_out)

    @property
    def weight_numbers(self):
        return self._numbers[self.row.weight_numbers :]

    @property
    def bias_numbers(self):
        return self._numbers[self.row.bias_numbers :]

    @property
    def weights_kept(self):
        return self._kept(self.row.weights, self.n_in)

    @property
    def weight_row_kept(self):
        return self._kept(self.row.weights, 1)

    @property
    def weight_column_kept(self):
        return self._kept(self.row.weights, self.n_in, 1)

    @property
    def bias_kept(self):
        return self._kept(self.row.bias, 1)

    def _kept(self, offset, count, ld=None):
        """(kinds, count, ld): what is kept of a parameter, whose rows are those of the output where nothing is said."""
        ld = self.row.ld_out if ld is None else ld
        kinds = self._target.reshape(-1, self._params.size)
        return kinds[:, offset : offset + count * ld].reshape(len(kinds), count, ld)
