"""fastnp beside the machine's peak and other libraries: `python -m asv_benches.peers`.

Each contestant has a process of its own. First each trains for an epoch, and must have come to the parameters that
`fit` has come to. Then they train in turns, and what counts is the median over the rounds of the time of a step, and
of its ratio to fastnp's `fit` in the same round. "Own data" is a `Dataset` as users write it, row by row, in the place
of arrays. fastnp is on one core, the others, too, unless they are given as many threads as they take by default.
"""

import multiprocessing
import statistics
import time

import click

from .jobs import JOBS
from .threads import one_core, one_thread
from .turns import epochs_for

SECONDS = 0.3  # that a contestant trains in a round
BATCHES = 25  # in an epoch


def serve(connection, name, job, threads):
    """Train for a round whenever asked; answer (seconds of a step, peak FLOP/s).

    Before the first, answer why that is not possible, or None and the parameters after an epoch.
    """
    from .contestants import CONTESTANTS, OURS

    if threads == "one" or name in OURS:
        one_core()
    try:
        train, parameters = CONTESTANTS[name](job, BATCHES)
    except ImportError as error:
        connection.send((str(error), None))
        return
    train(1)
    reached = parameters()
    epochs = epochs_for(train, SECONDS)
    connection.send((None, reached))
    while connection.recv():
        peak = None
        if name == "fit":
            from .peak import peak_flops

            peak = max(peak_flops() for _ in range(5))
        start = time.perf_counter()
        train(epochs)
        connection.send(((time.perf_counter() - start) / (epochs * BATCHES), peak))


def started(job, names, threads):
    """The process and connection of each contestant that does what `fit` does, and why others are missing."""
    from .agreement import assert_same_job

    context = multiprocessing.get_context("spawn")
    workers, missing, reached = {}, {}, None
    for name in names:
        ours, theirs = context.Pipe()
        process = context.Process(target=serve, args=(theirs, name, job, threads), daemon=True)
        process.start()
        theirs.close()  # so that a process that dies ends the wait
        reason, parameters = ours.recv()
        if reason is not None:
            missing[name] = reason
            continue
        workers[name] = process, ours
        reached = parameters if name == "fit" else reached
        assert_same_job(f"{job}: {name}", job, reached, parameters)
    return workers, missing


def measure(job, names, rounds, threads):
    """Seconds of a step by contestant, a list over the rounds; and the peak in the same rounds."""
    workers, missing = started(job, names, threads)
    seconds, peaks = {name: [] for name in workers}, []
    for _ in range(rounds):
        for name, (_, connection) in workers.items():
            connection.send(True)
            step, peak = connection.recv()
            seconds[name].append(step)
            if peak:
                peaks.append(peak)
    for process, connection in workers.values():
        connection.send(False)
        process.join()
    return seconds, peaks, missing


def heading(name):
    """Of a column."""
    return f"{name:>{max(len(name), 8) + 2}}"


@click.command()
@click.option("--rounds", default=9, show_default=True, type=click.IntRange(1), help="Turns that each takes.")
@click.option("--job", "chosen", multiple=True, type=click.IntRange(1, len(JOBS)), help="Rows; all by default.")
@click.option("--only", multiple=True, help="Contestants, besides fit; all that are installed by default.")
@click.option(
    "--threads", default="one", show_default=True, type=click.Choice(["one", "default"]), help="What others may use."
)
def main(rounds, chosen, only, threads):
    """Print what a step of fit takes and, for each other contestant, how many times as long it takes there."""
    from .contestants import CONTESTANTS

    if threads == "one":
        one_thread()
    names = [name for name in CONTESTANTS if name == "fit" or not only or name in only]
    others = [name for name in names if name != "fit"]
    click.echo(f"{'network, batch':24}{'GFLOP/s':>9}{'of peak':>9}{'fit':>12}" + "".join(map(heading, others)))
    said, recipe = {}, None
    for i, job in enumerate(JOBS, 1):
        if chosen and i not in chosen:
            continue
        if job.recipe != recipe:
            recipe = job.recipe
            click.echo(recipe)
        seconds, peaks, missing = measure(job, names, rounds, threads)
        said |= missing
        step, flops = statistics.median(seconds["fit"]), job.network.flops
        fraction = statistics.median(flops / s / p for s, p in zip(seconds["fit"], peaks, strict=True))
        cells = f"{job.network!s:24}{flops / step / 1e9:9.1f}{fraction:9.2f}{step * 1e6:9.2f} us"
        for name in others:
            if name in seconds:
                ratio = statistics.median(s / f for s, f in zip(seconds[name], seconds["fit"], strict=True))
                digits = 0 if ratio >= 100 else 1 if ratio >= 10 else 2
                cells += f"{ratio:.{digits}f} x".rjust(len(heading(name)))
            else:
                cells += "-".rjust(len(heading(name)))
        click.echo(cells)
    for name, reason in said.items():
        click.echo(f"{name} is left out: {reason}")


if __name__ == "__main__":
    main()
