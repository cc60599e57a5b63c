"""The README's pendulum: `python -m asv_benches.pendulum --plot pendulum.svg`.

Its acceleration is learned by a network, which a jitted integrator calls. Beside it stand the same integrator with the
law itself, and one in Python that calls the same network in PyTorch: in turns, the median of several.
"""

import re
import statistics
from pathlib import Path

import click
import numpy as np

from .turns import seconds_of

README = Path(__file__).resolve().parents[1] / "README.md"
START, STEPS, DT = (2.5, 0.0), 2000, 0.01
TURNS = 7


def example():
    """What the README's example defines, once it has run."""
    (code,) = re.findall(r"```python\n((?:(?!```).)*?def swing.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    names = {}
    np.random.seed(0)
    exec(compile(code, "README.md, Inside jitted code", "exec"), names)
    return names


def law():
    """The acceleration that is learned, as jitted code."""
    import numba

    return numba.njit(lambda s: np.array([-np.sin(s[0]) - 0.1 * s[1]]))


def swing_in_torch(model):
    """The README's integrator in Python, with the network in PyTorch."""
    import torch

    layers = []
    for weights, bias in zip(model.parameters()[::2], model.parameters()[1::2], strict=True):
        layers += [torch.nn.Linear(*weights.shape, dtype=torch.float64), torch.nn.Tanh()]
        layers[-2].weight.data, layers[-2].bias.data = (torch.tensor(a) for a in (weights.data.T, bias.data[0]))
    net = torch.nn.Sequential(*layers[:-1])

    def f(s):
        return net(torch.from_numpy(s)).numpy()

    def swing(start, steps, dt):
        states = np.empty((steps + 1, 2))
        states[0] = s = start
        with torch.inference_mode():
            for i in range(steps):
                k1 = np.array([s[1], f(s)[0]])
                k2 = np.array([s[1] + dt / 2 * k1[1], f(s + dt / 2 * k1)[0]])
                k3 = np.array([s[1] + dt / 2 * k2[1], f(s + dt / 2 * k2)[0]])
                k4 = np.array([s[1] + dt * k3[1], f(s + dt * k3)[0]])
                states[i + 1] = s = s + dt / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
        return states

    return swing


def draw(true, learned, output):
    """The angle over time, and the orbit."""
    import matplotlib

    matplotlib.use("Agg")
    matplotlib.rcParams.update({"svg.hashsalt": "fastnp", "svg.fonttype": "none"})  # equal results, equal files
    import matplotlib.pyplot as plt

    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.6), layout="constrained", width_ratios=(2, 1))
    time = DT * np.arange(len(true))
    for axes, x, column in (left, (time, time), 0), (right, (true[:, 0], learned[:, 0]), 1):
        axes.plot(x[0], true[:, column], color="#c0c0c0", linewidth=5, label="the law")
        axes.plot(x[1], learned[:, column], color="#2f6f8f", linewidth=1.3, label="learned")
    left.set(xlabel="time, s", ylabel="angle, rad")
    right.set(xlabel="angle, rad", ylabel="velocity, rad/s")
    left.legend(frameon=False)
    figure.savefig(output, metadata={"Date": None} if str(output).endswith(".svg") else None)


@click.command()
@click.option("--plot", type=click.Path(dir_okay=False), help="Draw the true and the learned orbit to this file.")
def main(plot):
    """Print how far the learned orbit goes astray, and what the integration takes."""
    import fastnp as nn

    names = example()
    f, swing, start = nn.jit(names["model"]), names["swing"], np.array(START)
    of_law = law()
    true, learned = swing(of_law, start, STEPS, DT), swing(f, start, STEPS, DT)
    click.echo(
        f"over {STEPS * DT:g} s the learned angle is off by {np.abs(true - learned)[:, 0].max():.3f} rad at most"
    )
    ways = {
        "the network, fastnp.jit": lambda: swing(f, start, STEPS, DT),
        "the law": lambda: swing(of_law, start, STEPS, DT),
    }
    try:
        in_torch = swing_in_torch(names["model"])
        assert np.allclose(in_torch(start, STEPS, DT), learned, atol=1e-9)
        ways["the network, PyTorch from Python"] = lambda: in_torch(start, STEPS, DT)
    except ImportError:
        click.echo("PyTorch is not installed: left out")
    taken = {name: [] for name in ways}
    for _ in range(TURNS):
        for name, way in ways.items():
            taken[name].append(seconds_of(way))
    for name, seconds in taken.items():
        click.echo(f"{name:34}{1e3 * statistics.median(seconds):10.2f} ms for {4 * STEPS} calls")
    if plot:
        draw(true, learned, plot)


if __name__ == "__main__":
    main()
