"""How long a network takes for one sample: `python -m asv_benches.latency`.

All ways are timed in turns in one process, on one core, and in several processes, for where arrays come to lie differs
from one to the next. What counts is the median over the processes of the time of a call, and of its ratio to that of
`model(x)` in the same process.
"""

import functools
import itertools
import multiprocessing
import statistics
import time

import click
import numpy as np

from .networks import NETWORKS
from .threads import one_core, one_thread
from .turns import seconds_of

SECONDS = 0.02  # of a turn, about
TURNS = 9
SAMPLED = {"-".join(map(str, network.widths)): network.widths for network in (NETWORKS[0], NETWORKS[2])}


def dots(parameters):
    """A chain of `np.dot` in float32, as one writes it who has taken the parameters out of a library."""
    *hidden, (last_w, last_b) = zip(parameters[::2], parameters[1::2], strict=True)

    def chain(x):
        for w, b in hidden:
            x = np.maximum(np.dot(x, w) + b, 0)
        return np.dot(x, last_w) + last_b

    return chain


def torch_layers(parameters):
    """The same layers in PyTorch, of which nothing wants a gradient; the sample and the result are tensors."""
    import torch

    layers = []
    for w, b in zip(parameters[::2], parameters[1::2], strict=True):
        layer = torch.nn.Linear(*w.shape)
        layer.weight.data, layer.bias.data = torch.from_numpy(w.T.copy()), torch.from_numpy(b.ravel())
        layers += [layer, torch.nn.ReLU()]
    return torch.nn.Sequential(*layers[:-1]).requires_grad_(False).eval()


def ways(widths):
    """For each way, a function without arguments that gives the output for the same sample (1, in_features)."""
    from .contestants.ours import fastnp_model

    np.random.seed(0)
    model = fastnp_model(widths)
    x = np.random.default_rng(0).standard_normal((1, widths[0]), dtype=np.float32)
    parameters = [tensor.data.copy() for tensor in model.parameters()]
    found = {
        "model(x)": functools.partial(model, x),
        "predict(x)": functools.partial(model.predict, x),
        "np.dot": functools.partial(dots(parameters), x),
    }
    try:
        import torch

        found["PyTorch"] = functools.partial(torch_layers(parameters), torch.from_numpy(x))
    except ImportError:
        pass
    assert_same_output(found)
    return found


def assert_same_output(found):
    """AssertionError where the ways differ."""
    from .agreement import assert_close

    expected = found["np.dot"]()
    for name, call in found.items():
        assert_close(name, np.asarray(call()), expected)


def repeated(call, seconds=SECONDS):
    """A function that calls for some time, and how many calls that is."""
    count, start = 0, time.process_time()
    while time.process_time() - start < seconds:
        call()
        count += 1

    def job():
        for _ in itertools.repeat(None, count):
            call()

    return job, count


def timed(widths):
    """Seconds of a call by way: the median over turns."""
    one_core()
    jobs = {name: repeated(call) for name, call in ways(widths).items()}
    turns = [{name: seconds_of(job) / count for name, (job, count) in jobs.items()} for _ in range(TURNS)]
    return {name: statistics.median(turn[name] for turn in turns) for name in jobs}


@click.command()
@click.option("--processes", default=6, show_default=True, type=click.IntRange(1), help="One after another.")
def main(processes):
    """Print microseconds of a call for one sample, by fastnp and in other ways, and how many times model(x) that is."""
    one_thread()
    context = multiprocessing.get_context("spawn")
    for row, widths in SAMPLED.items():
        found = []
        for _ in range(processes):
            with context.Pool(1) as pool:
                found.append(pool.apply(timed, (widths,)))
        if row == next(iter(SAMPLED)):
            click.echo(f"{'network':16}" + "".join(f"{name:>20}" for name in found[0]))
        cells = ""
        for name in found[0]:
            call = statistics.median(times[name] for times in found)
            ratio = statistics.median(times[name] / times["model(x)"] for times in found)
            cells += f"{call * 1e6:8.2f} us {ratio:6.2f} x"
        click.echo(f"{row:16}{cells}")


if __name__ == "__main__":
    main()
