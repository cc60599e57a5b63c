"""The networks whose training is measured, from the smallest to those that fill the caches."""

import itertools
from typing import NamedTuple

import numpy as np


class Network(NamedTuple):
    """Widths of the layers, with ReLU between them, and the batch they are trained with."""

    widths: tuple[int, ...]
    batch: int

    def __str__(self):
        return f"{'-'.join(map(str, self.widths))}, {self.batch}"

    @property
    def flops(self):
        """Floating-point operations of one training step: 6·in·out·batch a layer, less the first layer's dX."""
        products = [n_in * n_out for n_in, n_out in itertools.pairwise(self.widths)]
        return self.batch * (6 * sum(products) - 2 * products[0])

    def data(self, batches):
        """Random arrays (x, y), float32, of so many batches."""
        rng = np.random.default_rng(0)
        return [
            rng.standard_normal((batches * self.batch, n), dtype=np.float32) for n in (self.widths[0], self.widths[-1])
        ]


NETWORKS = [
    Network((1, 16, 64, 16, 1), 4),
    Network((1, 16, 64, 16, 1), 32),
    Network((64, 64, 64, 64), 32),
    Network((784, 128, 10), 64),
    Network((256, 256, 256), 128),
    Network((1024, 1024, 1024), 256),
]
