"""The command `fastnp`: what all of its commands share, and how it ends."""

import os
import sys
from typing import Any

import click

from .. import __version__ as version
from .check import check
from .digits import digits
from .info import info
from .sin import sin
from .warmup import warmup


class Commands(click.Group):
    """Commands that Ctrl-C stops without the empty line that click would print."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            raise click.Abort from None


@click.group(cls=Commands, invoke_without_command=True, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(version, prog_name="fastnp", message="%(prog)s %(version)s")
@click.pass_context
def cli(context: click.Context) -> None:
    """Small neural networks on a CPU."""
    if context.invoked_subcommand is None:
        click.echo(context.get_help())


cli.add_command(check)
cli.add_command(digits)
cli.add_command(info)
cli.add_command(sin)
cli.add_command(warmup)


def _stop(message: str, status: int) -> None:
    click.echo(f"fastnp: {' '.join(message.split())}", err=True)
    sys.exit(status)


def main(arguments: list[str] | None = None) -> None:
    """Run the command with `arguments`, by default those of the process.

    What is wrong in the arguments, or in the file that is written to, is one line on stderr and exit status
    2; a training that diverges is 1, Ctrl-C is 130. A reader that goes away, as `head` does, is 1 and no word.
    """
    try:
        status = cli.main(arguments, prog_name="fastnp", standalone_mode=False)
        if sys.stdout is not None:
            sys.stdout.flush()  # while it can still be said that the disk is full
    except click.ClickException as error:
        _stop(f"error: {error.format_message()}", 2)
    except click.Abort:
        _stop("stopped", 130)
    except OSError as error:
        # What is left in the buffer cannot be written when Python exits, either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if isinstance(error, BrokenPipeError):
            sys.exit(1)
        _stop(f"error: {error if error.filename else f'the output cannot be written: {error.strerror}'}", 2)
    else:
        sys.exit(status or 0)
