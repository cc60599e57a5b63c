"""The jobs that fastnp and other libraries are measured on: one table."""

import itertools
from typing import NamedTuple

import numpy as np

from .networks import NETWORKS, Network

LEARNING_RATE = 1e-3
MOMENTUM = 0.9  # of SGD
BETAS, EPSILON = (0.9, 0.999), 1e-8  # of Adam


class Job(NamedTuple):
    """A network, and by the names of fastnp's classes what stands between its layers and what trains it."""

    network: Network
    activation: str = "ReLU"
    loss: str = "MSE"
    optimizer: str = "SGD"

    def __str__(self):
        return f"{self.network}, {self.recipe}"

    @property
    def recipe(self):
        return f"{self.activation}, {self.optimizer}, {self.loss}"

    def data(self, batches):
        """Random arrays (x, y), float32, of so many batches; for cross-entropy y are labels, (rows,).

        Labels cannot be learned by heart, for each row comes twice: gradients would fall to where arithmetic is slow,
        below the smallest normal number.
        """
        x, y = self.network.data(batches)
        if self.loss != "CrossEntropy":
            return x, y
        half = len(x) // 2
        x[-half:] = x[:half]
        return x, y.argmax(1)

    def start(self):
        """The parameters to start from, float32, layer by layer: weights (in, out) and bias (out,)."""
        rng, arrays = np.random.default_rng(1), []
        for n_in, n_out in itertools.pairwise(self.network.widths):
            weights = rng.standard_normal((n_in, n_out), dtype=np.float32) * np.float32(np.sqrt(2 / n_in))
            arrays += [weights, np.zeros(n_out, np.float32)]
        return arrays


PLAIN = [Job(network) for network in NETWORKS]
JOBS = [
    *PLAIN,
    *(Job(network, "Tanh", "MSE", "Adam") for network in NETWORKS[:4]),
    *(Job(network, "ReLU", "CrossEntropy", "Adam") for network in (Network((64, 64, 10), 32), NETWORKS[3])),
]
