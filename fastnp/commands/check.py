"""The command `fastnp check`: is the fast path the slow path, on this machine?"""

import importlib
import itertools
import sys
from typing import Any

import click
import numpy as np

from .. import SGD, AdamW, HeNormal, Linear, Optimizer, ReLU, RMSprop, Sequential
from ..trust.cross_check import cross_check
from ..trust.cross_report import CrossReport

NETWORKS: dict[str, tuple[tuple[int, ...], Any]] = {  # widths, and the optimizer of parameters
    "sin network, SGD": ((1, 16, 64, 16, 1), lambda parameters: SGD(0.9, parameters, learning_rate=0.01)),
    "odd widths, AdamW": ((17, 33, 65, 3), lambda parameters: AdamW(parameters, decay_bias=False, clip_norm=0.1)),
    "wide, RMSprop": ((100, 300, 10), lambda parameters: RMSprop(parameters, momentum=0.9, weight_decay=0.01)),
}
ROWS = 37


@click.command()
@click.argument("factory", required=False, metavar="[MODULE:FACTORY]")
def check(factory: str | None) -> None:
    """Compare both backends with higher precision.

    MODULE:FACTORY names a function of yours without arguments that returns (model, x) or (model, x, optimizer);
    without it, three networks in float32 and float64 are checked. Exit status 1 where a number is outside its bound.
    """
    passed = True
    for name, model, x, optimizer in [("", *_made(factory))] if factory else _networks():
        try:
            report = cross_check(model, x, optimizer=optimizer)
        except Exception as error:  # whatever the user's model raises
            raise click.ClickException(f"{factory or name}: {error}") from error
        passed = passed and report.passed
        click.echo(str(report) if factory or not report.passed else f"{name:28}{_last_line(report)}")
    if not passed:
        raise click.exceptions.Exit(1)


def _last_line(report: CrossReport) -> str:
    return str(report).splitlines()[-1]


def _networks() -> list[tuple[str, Sequential, np.ndarray, Optimizer]]:
    rng = np.random.default_rng(0)
    made = []
    for name, (widths, optimizer) in NETWORKS.items():
        for dtype in np.float32, np.float64:
            model = Sequential()
            for n_in, n_out in itertools.pairwise(widths):
                model.add(Linear(n_in, n_out, weight_attr=HeNormal(rng=rng), dtype=dtype))
                model.add(ReLU())
            x = rng.standard_normal((ROWS, widths[0]))
            made.append((f"{name}, {np.dtype(dtype)}", model, x, optimizer(model.parameters())))
    return made


def _made(factory: str) -> tuple[Any, Any, Any]:
    """What the user's factory returns, None for no optimizer; the current folder is searched for its module."""
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
    if not (isinstance(made, tuple) and len(made) in (2, 3)):
        raise click.ClickException(
            f"{factory} returned {type(made).__name__}; expected (model, x) or (model, x, optimizer)"
        )
    model, x, optimizer = (*made, None)[:3]
    return model, x, optimizer
