"""A figure of the newest asv results: `python -m asv_benches.figure`.

For each row of the network table, the fraction of the core's peak that `fit` reaches, and how many times as
fast as the plain NumPy baseline `fit` and the loop are, over arrays and over a data set of the user's own.
"""

import itertools
from pathlib import Path

import click

from .networks import NETWORKS

ROOT = Path(__file__).resolve().parents[1]
PEAK = "ratios.OverPeak.track_fit"
WAYS = {  # label and colour
    "ratios.OverBaseline.track_fit": ("fit", "#2f6f8f"),
    "ratios.OverBaseline.track_fit_own_data": ("fit, own data set", "#94bfd3"),
    "ratios.OverBaseline.track_loop": ("the loop", "#d08c3f"),
    "ratios.OverBaseline.track_loop_own_data": ("the loop, own data set", "#ecc89b"),
}


def newest(folder):
    """The latest results, by the date of the commit, that have every row of all these benchmarks."""
    from asv.results import iter_results

    rows, names = {repr(str(network)) for network in NETWORKS}, (PEAK, *WAYS)

    def measured(results, benchmark):
        if benchmark not in results.get_all_result_keys():
            return set()
        return {row for row, value in values(results, benchmark).items() if value is not None}

    whole = [r for r in iter_results(str(folder)) if all(rows <= measured(r, name) for name in names)]
    if not whole:
        raise click.ClickException(f"no full results of {', '.join(names)} under {folder}; run asv first")
    return max(whole, key=lambda r: r.date)


def values(results, benchmark):
    """The numbers of a benchmark, by row of the network table."""
    found = results.get_result_value(benchmark, results.get_result_params(benchmark))
    return dict(zip(itertools.chain(*results.get_result_params(benchmark)), found, strict=True))


def draw(results, output):
    import matplotlib

    matplotlib.use("Agg")
    matplotlib.rcParams.update({"svg.hashsalt": "fastnp", "svg.fonttype": "none"})  # equal results, equal files
    import matplotlib.pyplot as plt

    rows = [f"{network!s}" for network in NETWORKS]

    def bars(axes, name, whole, shift, thickness, **look):  # times are the shorter the better, bars the longer
        numbers = [whole / values(results, name)[repr(row)] for row in rows]
        axes.barh([place + shift for place in places], numbers, thickness, **look)
        for place, number in zip(places, numbers, strict=True):
            where = number, place + shift
            axes.annotate(f"{number:.2g}", where, (3, 0), textcoords="offset points", va="center", fontsize="small")

    places = range(len(rows))
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 5.6), sharey=True, layout="constrained")
    bars(left, PEAK, 1, 0, 0.4, color="#2f6f8f")
    left.set(xlim=(0, 1), title="fit: fraction of the core's FMA peak", yticks=places, yticklabels=rows)
    for i, (name, (label, color)) in enumerate(WAYS.items()):
        bars(right, name, 100, 0.2 * (i - 1.5), 0.19, label=label, color=color)
    right.axvline(1, color="black", linewidth=0.8)
    right.set(xscale="log", title="times as fast as plain NumPy")
    right.legend()
    right.margins(x=0.15)
    left.invert_yaxis()
    machine = ", ".join(results.params[key] for key in ("cpu", "arch") if results.params.get(key)) or "an unnamed CPU"
    figure.suptitle(
        f"widths, batch; float32, one core of {machine}; commit {results.commit_hash[:8]}", fontsize="medium"
    )
    figure.savefig(output, metadata={"Date": None} if output.suffix == ".svg" else None)


@click.command()
@click.option("--results", default=ROOT / ".asv" / "results", type=click.Path(exists=True, path_type=Path))
@click.option("--output", default=ROOT / "asv_benches" / "networks.svg", type=click.Path(path_type=Path))
def main(results, output):
    """Draw the newest asv results."""
    draw(newest(results), output)
    click.echo(output)


if __name__ == "__main__":
    main()
