"""fastnp's estimators beside scikit-learn's own networks: `python -m asv_benches.estimators`.

Both fit the same rows with the same settings and the same `random_state`, in turns, on one core and one thread; what
counts is the median over the rounds of the time of a fit, and of scikit-learn's over it in the same round. Scores are
those of five shuffled folds, stratified where there are classes. Inputs are standardised by each fold's rows for
training, and so are targets, but where they are "raw". What only fastnp has is compared with scikit-learn without it.
"""

import functools
import multiprocessing
import statistics
import warnings
from typing import Any, NamedTuple

import click
import numpy as np

from .latency import repeated
from .threads import one_core, one_thread
from .turns import seconds_of

FOLDS = 5
SECONDS = 0.1  # of a turn, at least
TURNS = 9  # of one row, and of the loop without an estimator


class Task(NamedTuple):
    """A data set of scikit-learn's, and what the estimators are told: both of them, and fastnp's besides."""

    data: str
    what: str = "defaults"
    both: dict[str, Any] = {}  # noqa: RUF012 - nobody writes to it
    ours: dict[str, Any] = {}  # noqa: RUF012
    raw: bool = False  # targets of a regression as they are

    def __str__(self):
        return f"{self.data}, {self.what}"

    @property
    def regression(self):
        return self.data == "diabetes"

    def estimators(self):
        """One of fastnp's and one of scikit-learn's; ImportError where one of these is missing."""
        from sklearn import neural_network

        from fastnp import estimators

        name = "MLPRegressor" if self.regression else "MLPClassifier"
        return (
            getattr(estimators, name)(random_state=0, **self.both, **self.ours),
            getattr(neural_network, name)(random_state=0, **self.both),
        )

    def folds(self):
        """For each fold (x, y) for training and (x, y) for scoring."""
        from sklearn import datasets
        from sklearn.model_selection import KFold, StratifiedKFold
        from sklearn.preprocessing import StandardScaler

        x, y = getattr(datasets, f"load_{self.data}")(return_X_y=True)
        split = (KFold if self.regression else StratifiedKFold)(FOLDS, shuffle=True, random_state=0).split
        for train, test in split(x, y):
            scaler = StandardScaler().fit(x[train])
            targets = y
            if self.regression and not self.raw:
                targets = (y - y[train].mean()) / y[train].std()
            yield (scaler.transform(x[train]), targets[train]), (scaler.transform(x[test]), targets[test])


EARLY = {"early_stopping": True}
ON_LOSS = {"scoring": "loss"}
TASKS = [
    Task("digits"),
    Task("digits", "batch 32", {"batch_size": 32}),
    *(Task(data) for data in ("breast_cancer", "wine", "iris", "diabetes")),
    *(Task(data, "early stopping", EARLY) for data in ("breast_cancer", "wine", "iris")),
    *(Task(data, "early stopping, scoring='loss'", EARLY, ON_LOSS) for data in ("breast_cancer", "wine", "iris")),
    Task("diabetes", "y raw", raw=True),
    Task("diabetes", "y raw, scale_y", ours={"scale_y": True}, raw=True),
]


def fitted(model, x, y):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that it has not converged
        return model.fit(x, y)


def fits(model, x, y, count=1):
    for _ in range(count):
        fitted(model, x, y)


def fits_in_turns(task, rounds):
    """For each estimator the seconds of a fit on the first fold, a list over the rounds."""
    one_core()
    (train, _), jobs = next(task.folds()), []
    for model in task.estimators():
        fitted(model, *train)  # compiles
        once = seconds_of(functools.partial(fits, model, *train))
        count = max(1, round(SECONDS / once))
        jobs.append((functools.partial(fits, model, *train, count), count))
    turns = [[seconds_of(job) / count for job, count in jobs] for _ in range(rounds)]
    return tuple(zip(*turns, strict=True))


def scores(task):
    """For each estimator its scores and its epochs over the folds: accuracy, or R²."""
    found = [([], []), ([], [])]
    for train, test in task.folds():
        for (points, epochs), model in zip(found, task.estimators(), strict=True):
            points.append(fitted(model, *train).score(*test))
            epochs.append(model.n_iter_)
    return found


def rows_in_turns(task):
    """Seconds of a prediction for one row, by way; the median over turns."""
    one_core()
    train, (x, _) = next(task.folds())
    ours, theirs = (fitted(model, *train) for model in task.estimators())
    row = x[:1]
    ways = {
        "predict": functools.partial(ours.predict, row),
        "check_input=False": functools.partial(ours.predict, row, check_input=False),
        "scikit-learn": functools.partial(theirs.predict, row),
        "its _predict": functools.partial(theirs._predict, row, check_input=False),
    }
    answers = [np.ravel(way())[0] for way in ways.values()]
    if task.regression:
        np.testing.assert_allclose(answers, answers[0], rtol=1e-4)
    elif len(set(answers)) > 1:
        raise AssertionError(f"{task}: predictions of one row differ: {answers}; not timed")
    jobs = [repeated(way) for way in ways.values()]
    turns = [[seconds_of(job) / count for job, count in jobs] for _ in range(TURNS)]
    return dict(zip(ways, map(statistics.median, zip(*turns, strict=True)), strict=True))


def over_plain_fit(epochs):
    """The time of an estimator's fit on digits over that of `fastnp.fit` on the same job; the median over turns."""
    import fastnp as nn

    one_core()
    task = Task("digits", both={"max_iter": epochs, "tol": 0.0, "n_iter_no_change": epochs})
    x, y = next(task.folds())[0]
    estimator = task.estimators()[0]

    def plain():
        model = nn.Sequential(nn.Linear(64, 100, dtype="float64"), nn.ReLU(), nn.Linear(100, 10, dtype="float64"))
        loader = nn.DataLoader(nn.ArrayDataset(x, y), batch_size=200, shuffle=True)
        nn.fit(model, nn.CrossEntropy(), nn.Adam(model.parameters(), 1e-3), loader, epochs, progress=False)

    jobs = plain, functools.partial(fits, estimator, x, y)
    for job in jobs:
        job()
    turns = [[seconds_of(job) for job in jobs] for _ in range(TURNS)]
    return statistics.median(theirs / ours for ours, theirs in turns), min(ours for ours, _ in turns)


def spread(points):
    return f"{statistics.mean(points):.3f} ± {statistics.pstdev(points):.3f}"


def seconds(value):
    return f"{value * 1e3:.1f} ms" if value < 1 else f"{value:.2f} s"


def print_task(task, rounds, apply):
    """A row of the table."""
    ours, theirs = apply(fits_in_turns, (task, rounds))
    ratio = statistics.median(their / our for our, their in zip(ours, theirs, strict=True))
    cells = [seconds(statistics.median(ours)), seconds(statistics.median(theirs)), f"{ratio:.1f} x"]
    for points, epochs in apply(scores, (task,)):
        cells += [spread(points), f"{statistics.mean(epochs):.0f}"]
    click.echo(f"{task!s:46}{cells[0]:>10}{cells[1]:>14}{cells[2]:>9}" + "{:>18}{:>8}{:>18}{:>8}".format(*cells[3:]))


@click.command()
@click.option("--rounds", default=9, show_default=True, type=click.IntRange(1), help="Turns that each takes.")
@click.option("--row", "chosen", multiple=True, type=click.IntRange(1, len(TASKS)), help="Rows; all by default.")
@click.option("--epochs", default=50, show_default=True, type=click.IntRange(1), help="Of fastnp.fit.")
def main(rounds, chosen, epochs):
    """Print what a fit takes by fastnp's estimators and by scikit-learn's, and how well each predicts."""
    one_thread()
    pool = multiprocessing.get_context("spawn").Pool(1)  # a process whose libraries have one thread
    click.echo(
        f"{'data, settings':46}{'fastnp':>10}{'scikit-learn':>14}{'ratio':>9}"
        f"{'fastnp':>18}{'epochs':>8}{'scikit-learn':>18}{'epochs':>8}"
    )
    for i, task in enumerate(TASKS, 1):
        if not chosen or i in chosen:
            print_task(task, rounds, pool.apply)
    for data in "digits", "diabetes":
        task = Task(data, both={"max_iter": 20})
        times = pool.apply(rows_in_turns, (task,))
        click.echo(f"one row, {task.data}: " + ", ".join(f"{way} {time * 1e6:.1f} us" for way, time in times.items()))
    ratio, took = pool.apply(over_plain_fit, (epochs,))
    click.echo(f"digits, {epochs} epochs: {ratio:.2f} times as long as fastnp.fit, which takes {seconds(took)}")
    pool.close()
    pool.join()


if __name__ == "__main__":
    main()
