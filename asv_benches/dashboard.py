"""The dashboard over the last commits: `python -m asv_benches.dashboard --commits 10`.

Measures those that were not measured on this machine yet, each in a fresh environment, and publishes all
results to `.asv/html`. Then `asv preview --config asv_benches/asv.conf.json` shows them.
"""

import contextlib
import subprocess
import sys
from pathlib import Path

import click
from asv.machine import Machine, MachineCollection
from asv.util import UserError

CONFIG = Path(__file__).with_name("asv.conf.json")


def asv(command, *arguments):
    """Run an asv command on this repository; returns its exit status, 2 where a benchmark failed."""
    return subprocess.run([sys.executable, "-m", "asv", command, "--config", CONFIG, *arguments]).returncode


def describe(machine):
    """Tell asv what this machine is: all that asv finds; under a name of yours, its CPU and what asv knows of it.

    Each detail that differs starts a new line in every graph, and a hosted runner has another kernel and some
    kilobytes more or less of memory each time. `asv machine --yes --machine` leaves out the CPU, too.
    """
    details = Machine.get_defaults()
    if machine:
        details = {"machine": machine, "arch": details["arch"], "cpu": details["cpu"]}
        with contextlib.suppress(UserError):  # a name that asv does not know
            details |= MachineCollection.load(machine)
    MachineCollection.save(details["machine"], details)


@click.command()
@click.option("--commits", default=10, show_default=True, type=click.IntRange(1), help="How many, from HEAD back.")
@click.option("--machine", help="What to call this machine on the dashboard; its host name by default.")
@click.option("--bench", "names", multiple=True, help="Regular expressions of benchmarks; all by default.")
def main(commits, machine, names):
    """Measure the last commits and publish the dashboard to .asv/html."""
    named = ["--machine", machine] if machine else []
    describe(machine)
    chosen = [argument for name in names for argument in ("--bench", name)]
    measured = asv("run", f"--max-count={commits} HEAD", "--skip-existing-commits", *named, *chosen)
    sys.exit(asv("publish") or measured)


if __name__ == "__main__":
    main()
