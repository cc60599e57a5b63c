"""Files that are there as a whole, the old one or the new one, whatever happens while they are written."""

import contextlib
import os
import secrets
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import Any

NAMELESS = getattr(os, "O_TMPFILE", 0)  # where the system has files without a name, which vanish with their process
BINARY = getattr(os, "O_BINARY", 0)


def checked_target(path: Any) -> Path:
    """Where a file at `path` stands, behind links. Raises OSError for a folder, or where there is none to hold it."""
    target = Path(os.path.realpath(os.fspath(path)))
    if target.is_dir():
        raise IsADirectoryError(21, "is a folder, where a file should be", os.fspath(path))
    if not target.parent.is_dir():
        raise FileNotFoundError(2, f"the folder {target.parent} does not exist", os.fspath(path))
    return target


def replace(path: Any, parts: Sequence[Any]) -> None:
    """Write bytes, one part after the other, into a new file, and let that take the place of the one at `path`.

    It is on the disk before it takes the place. Raises OSError, which names the path: then, and after Ctrl-C, what was
    there is there still, and nothing else.
    """
    target = os.path.realpath(os.fspath(path))
    folder, name = os.path.split(target)
    beside = os.path.join(folder, f".{name[:200]}.{secrets.token_hex(8)}")
    try:
        if not _without_name(target, folder, beside, parts):
            _with_name(target, beside, parts)
        _sync_folder(folder)
    except OSError as error:
        raise type(error)(error.errno, error.strerror or str(error), os.fspath(path)) from error


def _without_name(target: str, folder: str, beside: str, parts: Sequence[Any]) -> bool:
    """Write a file that has no name until it is whole; whether that can be done here."""
    if not NAMELESS:
        return False
    handle, has_name = -1, False
    try:
        try:
            handle = os.open(folder, NAMELESS | os.O_WRONLY, 0o666)
        except OSError:  # not every file system has these
            return False
        _fill(handle, target, parts)
        has_name = True  # before it has one, for Ctrl-C
        try:  # a folder's handle, which an absolute path does without, makes Python call what follows the link
            os.link(f"/proc/self/fd/{handle}", beside, src_dir_fd=handle, follow_symlinks=True)
        except OSError:
            return False
        os.replace(beside, target)
        has_name = False
        return True
    finally:
        _leave(handle, beside if has_name else None)


def _with_name(target: str, beside: str, parts: Sequence[Any]) -> None:
    handle = -1
    try:
        handle = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | BINARY, 0o666)
        _fill(handle, target, parts)
        os.close(handle)
        handle = -1
        os.replace(beside, target)
    finally:
        _leave(handle, beside)


def _fill(handle: int, target: str, parts: Sequence[Any]) -> None:
    with open(handle, "wb", buffering=1 << 16, closefd=False) as file:
        for part in parts:
            file.write(part)
    with contextlib.suppress(FileNotFoundError, AttributeError):
        os.fchmod(handle, stat.S_IMODE(os.stat(target).st_mode))
    os.fsync(handle)


def _leave(handle: int, beside: str | None) -> None:
    if handle >= 0:
        os.close(handle)
    if beside is not None:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(beside)


def _sync_folder(folder: str) -> None:
    """Let the disk know where the file is, on systems where that can be asked for."""
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
