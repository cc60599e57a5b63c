"""Jobs timed in turns, so that what slows the machine slows both."""

import functools
import statistics
import time

SECONDS = 0.03  # of a turn, about
TURNS = 5


def seconds_of(job):
    """Of CPU: other processes count less."""
    start = time.process_time()
    job()
    return time.process_time() - start


def epochs_for(train, seconds=SECONDS):
    """How many epochs take so long, about; `train`, a function of a number of epochs, is warm for that number."""
    epochs, taken = 1, 0.0
    while taken < seconds / 3:
        if taken:
            epochs = min(epochs * 10, max(epochs + 1, int(epochs * seconds / taken)))
        train(epochs)  # a library may compile for each number of epochs
        taken = seconds_of(functools.partial(train, epochs))
    return epochs


def median_ratio(first, second):
    """The time of a step of the first job over that of the second, each (job, steps in it)."""
    ratios = []
    for _ in range(TURNS):
        ours, theirs = (seconds_of(job) / steps for job, steps in (first, second))
        ratios.append(ours / theirs)
    return statistics.median(ratios)
