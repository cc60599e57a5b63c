"""The command `fastnp info`: what is in a file."""

from pathlib import Path

import click

from ..interchange.summary import summary
from .refusal import refused


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
def info(file: Path) -> None:
    """Tell what is in a file that fastnp saved.

    The layers of the model, what their parameters are called and how many they are, and how it was trained.
    """
    with refused():
        try:
            lines = summary(file)
        except ImportError as error:
            raise click.ClickException(str(error)) from error
    for line in lines:
        click.echo(line)
