"""fastnp beside the machine's peak and other libraries: `python -m asv_benches.peers`.

Each contestant has a process of its own with one thread; they train in turns, and what counts is the
median over the rounds of the time of a step, and of its ratio to fastnp's `fit` in the same round.
"""

import multiprocessing
import statistics
import time

import click

from .networks import NETWORKS
from .threads import one_core, one_thread
from .turns import epochs_for

SECONDS = 0.3  # that a contestant trains in a round
BATCHES = 25  # in an epoch


def serve(connection, name, network):
    """Train for a round whenever asked; answer (seconds of a step, peak FLOP/s), or why that is not possible."""
    from .contestants import CONTESTANTS

    one_core()
    try:
        train = CONTESTANTS[name](network.widths, network.batch, *network.data(BATCHES))
    except ImportError as error:
        connection.send(str(error))
        return
    epochs = epochs_for(train, SECONDS)
    connection.send(None)
    while connection.recv():
        peak = None
        if name == "fit":
            from .peak import peak_flops

            peak = max(peak_flops() for _ in range(5))
        start = time.perf_counter()
        train(epochs)
        connection.send(((time.perf_counter() - start) / (epochs * BATCHES), peak))


def measure(network, names, rounds):
    """Seconds of a step by contestant, a list over the rounds; and the peak in the same rounds."""
    context = multiprocessing.get_context("spawn")
    workers, missing = {}, {}
    for name in names:
        ours, theirs = context.Pipe()
        process = context.Process(target=serve, args=(theirs, name, network), daemon=True)
        process.start()
        theirs.close()  # so that a process that dies ends the wait
        reason = ours.recv()
        if reason is None:
            workers[name] = process, ours
        else:
            missing[name] = reason
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


@click.command()
@click.option("--rounds", default=9, show_default=True, type=click.IntRange(1), help="Turns that each takes.")
@click.option("--network", "chosen", multiple=True, type=click.IntRange(1, len(NETWORKS)), help="Rows; all by default.")
@click.option("--only", multiple=True, help="Contestants, besides fit; all that are installed by default.")
def main(rounds, chosen, only):
    """Print microseconds a step and, for each other contestant, how many times as long as fit it takes."""
    from .contestants import CONTESTANTS

    one_thread()
    names = [name for name in CONTESTANTS if name == "fit" or not only or name in only]
    others = [name for name in names if name != "fit"]
    click.echo(
        f"{'network, batch':24}{'GFLOP/s':>9}{'of peak':>9}{'fit':>12}" + "".join(f"{name:>21}" for name in others)
    )
    said = {}
    for i, network in enumerate(NETWORKS, 1):
        if chosen and i not in chosen:
            continue
        seconds, peaks, missing = measure(network, names, rounds)
        said |= missing
        step = statistics.median(seconds["fit"])
        fraction = statistics.median(network.flops / s / p for s, p in zip(seconds["fit"], peaks, strict=True))
        cells = f"{network!s:24}{network.flops / step / 1e9:9.1f}{fraction:9.2f}{step * 1e6:9.2f} us"
        for name in others:
            if name in seconds:
                ratio = statistics.median(s / f for s, f in zip(seconds[name], seconds["fit"], strict=True))
                cells += f"{statistics.median(seconds[name]) * 1e6:10.1f} us {ratio:6.1f} x"
            else:
                cells += f"{'-':>21}"
        click.echo(cells)
    for name, reason in said.items():
        click.echo(f"{name} is left out: {reason}")


if __name__ == "__main__":
    main()
