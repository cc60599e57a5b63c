"""Which twin of the kernels runs: compiled by Numba, or plain NumPy.

Neither is imported before the first kernel is asked for.
"""

import contextlib
import importlib
import os
import sys
from collections.abc import Iterator
from contextvars import ContextVar
from types import ModuleType, SimpleNamespace
from typing import Any

from .kernels._shelter import sheltered

BACKENDS = ("numba", "numpy")

_WINGS = {"numba": "compiled", "numpy": "reference"}
_KERNELS = ("forward", "backward", "loss", "loss_and_gradients", "squares", "update", "train", "train_and_watch")

_context: ContextVar[str | None] = ContextVar("fastnp_backend", default=None)
local = _context.get  # the name of the backend here, or None; `local() or process` is that of the one in force
_loaded: dict[str, SimpleNamespace] = {}


def _check(name: str) -> str:
    if name not in BACKENDS:
        raise ValueError(f"the backend must be one of {', '.join(map(repr, BACKENDS))}, got {name!r}")
    return BACKENDS[BACKENDS.index(name)]  # this very string, for those that compare quickly


process = "numba"
if os.environ.get("FASTNP_BACKEND"):
    try:
        process = _check(os.environ["FASTNP_BACKEND"])
    except ValueError as error:
        raise ValueError(f"FASTNP_BACKEND: {error}") from None


def import_kernels(name: str) -> tuple[ModuleType, ModuleType]:
    """The modules `run` and `link` of a backend; ImportError where Numba fails, in whatever way."""
    return sheltered(_import, name)


def _import(name: str) -> tuple[ModuleType, ModuleType]:
    wing = f"fastnp.kernels.{_WINGS[name]}"
    try:
        return importlib.import_module(f"{wing}.run"), importlib.import_module(f"{wing}.link")
    except ImportError:
        raise
    except (Exception, SystemExit) as error:
        raise ImportError(f"{type(error).__name__}: {error}") from error


def _load(name: str) -> SimpleNamespace:
    """Import the kernels of a backend; where Numba cannot be imported, say so once and take NumPy's."""
    if name in _loaded:  # by another thread, meanwhile
        return _loaded[name]
    try:
        run, link = _import(name)
    except ImportError as error:
        if name != "numba":
            raise
        reason = " ".join(str(error).split())
        print(f"fastnp: Numba cannot be used ({reason}); running on NumPy, more slowly.", file=sys.stderr)
        _loaded[name] = _loaded.get("numpy") or _load("numpy")
        return _loaded[name]
    kernels = {kernel: getattr(run, kernel) for kernel in _KERNELS}
    _loaded[name] = SimpleNamespace(**kernels, parts=link.parts, steps=link.steps, name=name)
    return _loaded[name]


def kernels_of(name: str) -> SimpleNamespace:
    """The kernels of the backend `name`, as attributes, and `parts`, which has the number of each by name."""
    return _loaded.get(name) or sheltered(_load, _check(name))


def kernels() -> Any:
    """The kernels of the backend in force, as attributes."""
    name = local() or process
    return _loaded.get(name) or sheltered(_load, name)


def get_backend() -> str:
    """The name of the backend in force, "numba" or "numpy"."""
    return local() or process


def set_backend(name: str) -> None:
    """Make `name` ("numba" or "numpy") the backend of the whole process, also in the middle of a training.

    Raises ValueError for any other name.
    """
    global process
    process = _check(name)


@contextlib.contextmanager
def use_backend(name: str) -> Iterator[None]:
    """Make `name` the backend inside a `with` block, in this thread or asynchronous task only.

    Raises ValueError for a name other than "numba" or "numpy".
    """
    token = _context.set(_check(name))
    try:
        yield
    finally:
        _context.reset(token)
