"""Data sets as users write them, and trainings on them by `fit`, ahead and not, and by the loop."""

import numpy as np
from fits import CHAIN, data, setup, state

import fastnp as nn

X, Y = data()
ROWS = len(X)
W = np.random.default_rng(3).uniform(0, 2, ROWS)
LABELS = np.random.default_rng(4).integers(0, 2, ROWS)


class Rows(nn.Dataset):
    """Gives what `sample` makes of an index, and counts how often it was asked, also beyond the copies of it."""

    def __init__(self, sample, rows=ROWS):
        self.sample, self.rows, self.asked = sample, rows, []

    def __getitem__(self, i):
        self.asked.append(i)
        return self.sample(i)

    def __len__(self):
        return self.rows


class Whole(Rows):
    """Gives whole batches: what `sample` makes of many indices."""

    def __getitem__(self, i):
        raise AssertionError("a whole batch is to be asked for")

    def __getitems__(self, indices):
        self.asked.extend(indices.tolist())
        return self.sample(indices)


def plain(i):
    return X[i], Y[i]


def own(dataset, loss_of=nn.MSE, dtype=np.float32, layers=CHAIN, optimizer_of=nn.SGD, sgd=(), loss=(), **options):
    """A training made anew from seeds, on a data set of the user's own."""
    run = setup(layers, dtype=dtype, optimizer_of=optimizer_of, sgd=sgd, loss=loss, loss_of=loss_of)
    run.loader = nn.DataLoader(dataset, **{"shuffle": True, "batch_size": 5, "rng": run.rng} | options)
    return run


def outcome(run, epochs, stage, **options):
    """What comes of a training: the history's losses and rates, the error, and all that is seen of it."""
    history, error = nn.History(), None
    np.random.seed(6)
    try:
        nn.fit(
            run.model, run.loss_fn, run.optimizer, run.loader, epochs, progress=False, history=history, stage=stage,
            **options,
        )  # fmt: skip
    except BaseException as caught:
        error = type(caught), str(caught)
    if run.optimizer.schedule is not None:
        run.optimizer.learning_rate = 0.0  # `state` shall not ask one that has ended
    try:
        seen = state(run)
    except ValueError:  # no batch has passed yet
        seen = {f"data {i}": tensor.data.copy() for i, tensor in enumerate(run.model.parameters())}
    losses = history.loss, history.learning_rate, history.validation_loss, history.best_epoch
    return {"history": repr(losses), "error": error}, seen


def assert_same_outcome(mine, theirs):
    assert mine[0] == theirs[0]
    assert mine[1].keys() == theirs[1].keys()
    for name, value in mine[1].items():
        other = theirs[1][name]
        assert (value.dtype, value.shape) == (other.dtype, other.shape), name
        assert value.tobytes() == other.tobytes() or np.array_equal(value, other, equal_nan=value.dtype.kind == "f"), (
            name
        )


def assert_fit_is_the_loop(make, epochs=4, change=lambda run: None, fit_options=dict, **options):
    """`fit` on data sets that are made anew, ahead and by the loop; returns both trainings and what came of them."""
    runs = [own(make(), **options) for _ in range(2)]
    outcomes = []
    for run, stage in zip(runs, (True, False), strict=True):
        change(run)
        outcomes.append(outcome(run, epochs, stage, **fit_options()))
    assert_same_outcome(*outcomes)
    return runs, outcomes[0]
