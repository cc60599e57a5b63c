"""The command `fastnp check`: is the fast path the slow path, on this machine?"""

import importlib
import itertools
import sys
from typing import Any

import click
import numpy as np

from .. import HeNormal, Linear, ReLU, Sequential
from ..trust.cross_check import cross_check
from ..trust.cross_report import CrossReport

NETWORKS = {"sin network": (1, 16, 64, 16, 1), "odd widths": (17, 33, 65, 3), "wide": (100, 300, 10)}
ROWS = 37


@click.command()
@click.argument("factory", required=False, metavar="[MODULE:FACTORY]")
def check(factory: str | None) -> None:
    """Compare both backends with higher precision.

    MODULE:FACTORY names a function of yours without arguments that returns (model, x); without it, three
    networks in float32 and float64 are checked. Exit status 1 where a number is outside its bound.
    """
    passed = True
    for name, model, x in [("", *_made(factory))] if factory else _networks():
        try:
            report = cross_check(model, x)
        except Exception as error:  # whatever the user's model raises
            raise click.ClickException(f"{factory or name}: {error}") from error
        passed = passed and report.passed
        click.echo(str(report) if factory or not report.passed else f"{name:24}{_last_line(report)}")
    if not passed:
        raise click.exceptions.Exit(1)


def _last_line(report: CrossReport) -> str:
    return str(report).splitlines()[-1]


def _networks() -> list[tuple[str, Sequential, np.ndarray]]:
    rng = np.random.default_rng(0)
    made = []
    for name, widths in NETWORKS.items():
        for dtype in np.float32, np.float64:
            model = Sequential()
            for n_in, n_out in itertools.pairwise(widths):
                model.add(Linear(n_in, n_out, weight_attr=HeNormal(rng=rng), dtype=dtype))
                model.add(ReLU())
            made.append((f"{name}, {np.dtype(dtype)}", model, rng.standard_normal((ROWS, widths[0]))))
    return made


def _made(factory: str) -> tuple[Any, Any]:
    """What the user's factory returns; the current folder is searched for its module."""
    module, _, name = factory.partition(":")
    if not (module and name):
        raise click.ClickException(f"{factory} must be MODULE:FACTORY, for example mymodel:build")
    sys.path.insert(0, "")
    try:
        made = getattr(importlib.import_module(module), name)()
    except Exception as error:  # whatever the user's module raises
        raise click.ClickException(f"{factory}: {error}") from error
    finally:
        sys.path.remove("")
    if not (isinstance(made, tuple) and len(made) == 2):
        raise click.ClickException(f"{factory} returned {type(made).__name__}; expected (model, x)")
    return made
