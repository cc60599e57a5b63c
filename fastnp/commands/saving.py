"""The option `--save` of commands that train."""

from pathlib import Path
from typing import Any

import click

from .. import save
from ..interchange.replacing import checked_target
from .refusal import refused

SAVE = click.option(
    "--save", "save_path", type=click.Path(path_type=Path), help="Save model and training (safetensors)."
)  # fmt: skip


def check_saving(path: Path | None) -> None:
    """Refuse a path that no file can be written to, before anything is trained."""
    if path is not None:
        with refused():
            checked_target(path)


def saved(path: Path | None, model: Any, **training: Any) -> None:
    """Save what was trained, where that is asked for, and say so."""
    if path is not None:
        with refused():
            save(path, model, **training)
        click.echo(f"file                {path}")
