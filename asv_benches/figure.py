"""A figure of the newest asv results: `python -m asv_benches.figure`.

For each row of the network table, the fraction of the core's peak that `fit` reaches, and how many times as
fast as the plain NumPy baseline `fit` and the loop are.
"""

import itertools
from pathlib import Path

import click

from .networks import NETWORKS

ROOT = Path(__file__).resolve().parents[1]
PEAK, FIT, LOOP = "ratios.OverPeak.track_fit", "ratios.OverBaseline.track_fit", "ratios.OverBaseline.track_loop"


def newest(folder):
    """The latest results, by the date of the commit, that have every row of all three benchmarks."""
    from asv.results import iter_results

    rows = {repr(str(network)) for network in NETWORKS}

    def measured(results, benchmark):
        if benchmark not in results.get_all_result_keys():
            return set()
        return {row for row, value in values(results, benchmark).items() if value is not None}

    whole = [r for r in iter_results(str(folder)) if all(rows <= measured(r, name) for name in (PEAK, FIT, LOOP))]
    if not whole:
        raise click.ClickException(f"no full results of {PEAK}, {FIT} and {LOOP} under {folder}; run asv first")
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
    peak, fit, loop = (  # times are the shorter the better, bars the longer
        [whole / values(results, name)[repr(row)] for row in rows]
        for name, whole in ((PEAK, 1), (FIT, 100), (LOOP, 100))
    )
    places = range(len(rows))
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.6), sharey=True, layout="constrained")
    left.barh(places, peak, color="#2f6f8f")
    left.set(xlim=(0, 1), title="fit: fraction of the core's FMA peak", yticks=places, yticklabels=rows)
    right.barh([place - 0.2 for place in places], fit, 0.38, label="fit", color="#2f6f8f")
    right.barh([place + 0.2 for place in places], loop, 0.38, label="the loop", color="#d08c3f")
    right.axvline(1, color="black", linewidth=0.8)
    right.set(xscale="log", title="times as fast as plain NumPy")
    right.legend()
    for axes, numbers, shift in (left, peak, 0), (right, fit, -0.2), (right, loop, 0.2):
        for place, number in zip(places, numbers, strict=True):
            axes.annotate(f"{number:.2g}", (number, place + shift), (3, 0), textcoords="offset points", va="center")
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
