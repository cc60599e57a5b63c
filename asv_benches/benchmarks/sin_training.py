"""The tutorial's training, 2 sin(x) on 200 points: `fit`, and the loop that a user writes, over either data set."""

import statistics
import time

import numpy as np

from asv_benches.agreement import assert_same_training
from asv_benches.contestants.ours import arrays, fastnp_parts, fitted, own_data, written_out
from asv_benches.networks import NETWORKS
from asv_benches.turns import seconds_of
from fastnp.backend import BACKENDS, set_backend
from fastnp.datasets import sin_data

WAYS = {
    "fit": (fitted, arrays),
    "fit, own data": (fitted, own_data),
    "loop": (written_out, arrays),
    "loop, own data": (written_out, own_data),
}
EPOCHS = 999


class SinTraining:
    """Sets up `self.train`, a function of a number of epochs, and `self.steps`, batches in an epoch."""

    params = (list(WAYS), BACKENDS, ("float32", "float64"), (4, 32))
    param_names = ("way", "backend", "dtype", "batch")
    points = 200  # that are trained on; None for a single batch

    def job(self, way, dtype, batch):
        x, y = sin_data(self.points or batch, rng=np.random.default_rng(0))
        trained, dataset = WAYS[way]
        parts = fastnp_parts(NETWORKS[0].widths, batch, x, y, dtype, dataset=dataset)
        self.steps = len(parts[-1])
        return parts[0], trained(*parts)

    def setup(self, way, backend, dtype, batch):
        assert_same_training(f"sin training, {way}, {dtype}, batch {batch}", lambda: self.job(way, dtype, batch))
        set_backend(backend)
        _, self.train = self.job(way, dtype, batch)
        self.train(1)


class Run(SinTraining):
    """All 999 epochs, as a user waits for them."""

    number, repeat, rounds, warmup_time = 1, (1, 5, 3.0), 1, 0

    def setup(self, way, backend, dtype, batch):
        if backend == "numpy" and "own data" in way:
            raise NotImplementedError("takes ten seconds, and shows no more than Step")
        super().setup(way, backend, dtype, batch)

    def time_999_epochs(self, *_):
        self.train(EPOCHS)


class Step(SinTraining):
    """A step within a long training: forward, loss, backward, update."""

    unit = "seconds"

    def track_step(self, *_):
        return statistics.median(seconds_of(lambda: self.train(20)) / (20 * self.steps) for _ in range(9))


class OneCall(SinTraining):
    """An epoch of a single step: what each call of `fit`, or each loop over a loader, costs besides its steps."""

    points = None
    timer = time.process_time  # seconds of CPU, so that other processes count less

    def time_one_step(self, *_):
        self.train(1)
