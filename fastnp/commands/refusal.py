"""What the library, or the disk, refuses: one line for the user, and no traceback."""

import contextlib
from collections.abc import Iterator

import click


@contextlib.contextmanager
def refused() -> Iterator[None]:
    """What the library, or the disk, refuses in the user's words becomes the error of the command."""
    try:
        yield
    except (TypeError, ValueError, OSError) as error:
        raise click.ClickException(str(error)) from error
