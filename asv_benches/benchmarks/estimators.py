"""Estimators and scikit-learn's, if installed. `python -m asv_benches.estimators` is the careful version."""

import functools
import time

from asv_benches.agreement import assert_close
from asv_benches.estimators import Task, fits, fitted
from asv_benches.turns import median_ratio

JOBS = {
    str(task): task
    for task in (
        Task("digits", both={"max_iter": 5}),
        Task("digits", "batch 32", both={"max_iter": 2, "batch_size": 32}),
        Task("iris", both={"max_iter": 30}),
        Task("diabetes", both={"max_iter": 20}),
        Task("iris", "early stopping", both={"max_iter": 30, "early_stopping": True}),
    )
}


def pair(job):
    """The estimators of a job, fitted, once they have come to the same numbers, and its rows."""
    task = JOBS[job]
    try:
        ours, theirs = task.estimators()
    except ImportError as error:
        raise NotImplementedError(f"an older commit, or no scikit-learn: {error}") from None
    train, test = next(task.folds())
    for model in ours, theirs:
        fitted(model, *train)
    for mine, other in zip([*ours.coefs_, *ours.intercepts_], [*theirs.coefs_, *theirs.intercepts_], strict=True):
        assert_close(job, mine, other, mine.dtype)
    return ours, theirs, train, test


class Fit:
    """A few epochs, in seconds of CPU, float64."""

    timer = time.process_time
    params = (list(JOBS),)
    param_names = ("job",)

    def setup(self, job):
        self.model, _, self.train, _ = pair(job)

    def time_fit(self, job):
        fitted(self.model, *self.train)


class OverScikitLearn:
    """The time of a fit, in percent of what scikit-learn's takes."""

    params = (list(JOBS),)
    param_names = ("job",)
    unit = "% of its time"

    def setup(self, job):
        ours, theirs, train, _ = pair(job)
        self.sides = [(functools.partial(fits, model, *train, 3), 3) for model in (ours, theirs)]

    def track_fit(self, job):
        return 100 * median_ratio(*self.sides)


class OneRow:
    """A prediction for one row, checked by scikit-learn's rules or taken as it is."""

    timer = time.process_time
    params = (["digits, defaults", "diabetes, defaults"], ["checked", "unchecked"])
    param_names = ("job", "input")

    def setup(self, job, checked):
        model, _, _, (x, _) = pair(job)
        options = {} if checked == "checked" else {"check_input": False}
        self.predict = functools.partial(model.predict, x[:1], **options)
        assert self.predict() == model.predict(x)[:1]

    def time_predict(self, *_):
        self.predict()
