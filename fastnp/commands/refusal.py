"""What the library, or the disk, refuses, and a training that diverges: one line for the user, and no traceback."""

import contextlib
from collections.abc import Iterator

import click

from .. import DivergedError


@contextlib.contextmanager
def refused() -> Iterator[None]:
    """What the library, or the disk, refuses in the user's words becomes the error of the command."""
    try:
        yield
    except (TypeError, ValueError, OSError) as error:
        raise click.ClickException(str(error)) from error


@contextlib.contextmanager
def told_when_diverged() -> Iterator[None]:
    """A training that diverges ends the command with status 1."""
    try:
        yield
    except DivergedError as error:
        click.echo(f"fastnp: {error}", err=True)
        raise click.exceptions.Exit(1) from None
