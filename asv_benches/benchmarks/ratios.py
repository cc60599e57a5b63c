"""Ratios: both sides of one are measured in turns, within milliseconds, so that what slows the machine slows both.

Time over time, so that less is better: asv takes every rise of a number for a regression.
"""

import functools
import itertools

import numpy as np

import fastnp
from asv_benches.agreement import assert_same_training
from asv_benches.contestants import CONTESTANTS
from asv_benches.contestants.ours import arrays, fitted, job_parts, own_data, written_out
from asv_benches.jobs import PLAIN
from asv_benches.latency import SAMPLED, repeated, ways
from asv_benches.peak import peak_flops
from asv_benches.turns import TURNS, epochs_for, median_ratio, seconds_of

BATCHES = 5  # in an epoch
ROWS = {str(job.network): job for job in PLAIN}


def check(job):
    """AssertionError where the backends differ on a job, by `fit` or by the loop, over either data set."""
    for way, dataset in itertools.product((fitted, written_out), (arrays, own_data)):

        def training(way=way, dataset=dataset):
            parts = job_parts(job, 1, dataset)
            return parts[0], way(*parts)

        assert_same_training(f"{job}, {way.__name__}, {dataset.__name__}", training)


def trainings(job, *names):
    """For each contestant, a function that trains for some ten milliseconds, and its steps."""
    for name in names:
        train, _ = CONTESTANTS[name](job, BATCHES)
        epochs = epochs_for(train)
        yield functools.partial(train, epochs), epochs * BATCHES


class OverBaseline:
    """The time of a step, in percent of what it takes the plain NumPy of baseline.py."""

    params = (list(ROWS),)
    param_names = ("network, batch",)
    unit = "% of NumPy's time"

    def setup(self, row):
        check(ROWS[row])

    def track_fit(self, row):
        return 100 * median_ratio(*trainings(ROWS[row], "fit", "NumPy"))

    def track_loop(self, row):
        return 100 * median_ratio(*trainings(ROWS[row], "loop", "NumPy"))

    def track_fit_own_data(self, row):
        return 100 * median_ratio(*trainings(ROWS[row], "fit, own data", "NumPy"))

    def track_loop_own_data(self, row):
        return 100 * median_ratio(*trainings(ROWS[row], "loop, own data", "NumPy"))


class OneSample:
    """The time of a call for one sample, in percent of what the same takes in another way."""

    params = (("model(x) over np.dot", "predict(x) over np.dot", "predict(x) over model(x)"), list(SAMPLED))
    param_names = ("ways", "network")
    unit = "% of the other's time"

    def setup(self, pair, row):
        self.calls = ways(SAMPLED[row])  # which agree

    def track_call(self, pair, row):
        return 100 * median_ratio(*(repeated(self.calls[way]) for way in pair.split(" over ")))


class Placement:
    """Twelve equal models in one process: the time of a step of the slowest over that of the fastest.

    They differ in where their arrays lie. Of each the best of many turns.
    """

    params = (list(ROWS)[:2],)
    param_names = OverBaseline.param_names
    unit = "× the fastest's time"

    def setup(self, row):
        check(ROWS[row])

    def track_fit(self, row):
        models = list(trainings(ROWS[row], *["fit"] * 12))
        turns = [[seconds_of(train) / steps for train, steps in models] for _ in range(2 * TURNS)]
        best = list(map(min, zip(*turns, strict=True)))
        return max(best) / min(best)


class OverUnwatched:
    """The time of 100 epochs of 25 steps in which `fit` also looks at 100 other rows, in percent of that without.

    Where it stops early it judges each epoch, and copies the network and its velocities when that is better.
    """

    params = (["validation", "early stopping", "both"],)
    param_names = ("with",)
    unit = "% of the time without"

    def setup(self, what):
        if not hasattr(fastnp, "EarlyStopping"):
            raise NotImplementedError  # an older commit
        assert_same_training(what, lambda: self.job(what))

    @staticmethod
    def job(what):
        """A model, and a function of a number of epochs that trains it."""
        parts, options = job_parts(PLAIN[0], 25), {}
        if what in ("validation", "both"):
            options["validation"] = tuple(np.random.default_rng(1).standard_normal((2, 100, 1)))
        if what in ("early stopping", "both"):
            monitor = "loss" if what == "early stopping" else "validation_loss"
            options["early_stopping"] = fastnp.EarlyStopping(monitor, patience=10**6)
        return parts[0], fitted(*parts, **options)

    def track_fit(self, what):
        jobs = [self.job(watched)[1] for watched in (what, "nothing")]
        for job in jobs:
            job(100)
        return 100 * median_ratio(*((functools.partial(several, job), 1) for job in jobs))


def several(train):
    """Ten trainings of 100 epochs."""
    for _ in range(10):
        train(100)


class OverPeak:
    """The time of a step of `fit`, float32, over what its multiply-adds take at the peak of one core.

    Its inverse is the fraction of the peak that `fit` reaches. The best of many turns on both sides: another tenant
    of the core may slow a small network to half its speed and the multiply-adds not at all, for seconds on end.
    """

    params = OverBaseline.params
    param_names = OverBaseline.param_names
    unit = "× the time at peak"

    def setup(self, row):
        check(ROWS[row])
        peak_flops()

    def track_fit(self, row):
        ((train, steps),) = trainings(ROWS[row], "fit")
        flops = steps * ROWS[row].network.flops
        # Of five readings of the peak in a row: the first after the training is a tenth too low.
        turns = [(seconds_of(train), max(peak_flops() for _ in range(5))) for _ in range(5 * TURNS)]
        seconds, peaks = zip(*turns, strict=True)
        return min(seconds) * max(peaks) / flops
