"""A training, or its validation beside it, as the call of a kernel."""

from typing import Any

import numpy as np

from .op import Job, Told, Update, Watched

Arrays = tuple[np.ndarray, ...]


def train(
    backend: Any,
    losses: np.ndarray,
    job: Job,
    update: Update,
    arrays: Arrays,
    watched: Watched | None = None,
    apart: Arrays = (),
    told: Told = Told(),
) -> int:
    """Call `train`, or `train_and_watch`; returns how many updates were made.

    arrays: table, workspace and parameters, the numbers of the loss, x and y; apart: table and workspace of the
    validation.
    """
    table, work, params, *data = arrays
    _, _, plan, *of_update = update
    arguments = losses, np.array(job, np.int64), plan, table, work, params, *of_update, *data, *told
    if watched is None:
        return int(backend.train(*arguments))
    *rule, of_validation, counts, x, y = watched
    return int(backend.train_and_watch(*arguments, *rule, np.array(of_validation, np.int64), *apart, counts, x, y))
