"""Every compile option and the kernel cache, in one place.

`kernel` decorates the functions that Python calls: they are cached on disk. `inner` and `inlined` decorate
the functions that only kernels call: they become part of their callers and need no file of their own.
"""

import hashlib
import os
import sys
import tempfile
import threading
from pathlib import Path

import numba
import platformdirs
from numba.core.caching import FunctionCache, NullCache
from numba.core.compiler_lock import global_compiler_lock

from ._shelter import sheltered

OPTIONS = {"nogil": True, "error_model": "numpy", "boundscheck": False}

if numba.config.DISABLE_JIT:  # the SIMD types exist only in compiled code
    raise ImportError("NUMBA_DISABLE_JIT is set")

_cache_dir_lock = threading.Lock()


def source_digest():
    """A digest of all kernel sources: an edit in any of them gives a fresh cache folder.

    Numba itself looks only at the file of the function that is called, and would go on running
    old code after an edit in a module that this function calls.
    """
    digest = hashlib.sha256()
    for path in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(path.name.encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def cache_root():
    """The folder that holds the cache folders of all versions: NUMBA_CACHE_DIR, else the user's own."""
    return Path(os.environ.get("NUMBA_CACHE_DIR") or platformdirs.user_cache_dir("fastnp", appauthor=False))


def _writable_cache_folder():
    """The cache folder of these sources, or None where nothing can be written."""
    folder = cache_root() / f"fastnp-{source_digest()}"
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError:
        return None
    return folder


CACHE_FOLDER = _writable_cache_folder()


_announced = False


def _announce():
    """Say once in a process that kernels are being compiled, unless FASTNP_QUIET is set."""
    global _announced
    if not _announced and not os.environ.get("FASTNP_QUIET"):
        once = "once for this machine" if CACHE_FOLDER else "in every process: no cache folder can be written"
        print(f"fastnp: compiling kernels ({once}; takes some seconds) ...", file=sys.stderr, flush=True)
    _announced = True


class KernelCache(FunctionCache):
    """Numba's file cache, for which a damaged file is a file that is not there and a full disk no error."""

    def load_overload(self, sig, target_context):
        try:
            loaded = super().load_overload(sig, target_context)
        except Exception:  # whatever unpickling garbage may raise; the kernel is compiled again
            loaded = None
        if loaded is None:
            _announce()
        return loaded

    def save_overload(self, sig, data):
        try:
            super().save_overload(sig, data)
        except Exception:
            try:  # an index that cannot be read: start a new one
                self.flush()
                super().save_overload(sig, data)
            except Exception:  # full or read-only by now: go on uncached
                self.disable()


class NoCache(NullCache):
    """Nothing is kept; compiling is announced all the same."""

    def load_overload(self, sig, target_context):
        _announce()


def inner(function):
    """Compile a function that kernels call: once for each type of tile, then LLVM inlines it there."""
    return numba.njit(function, forceinline=True, no_cpython_wrapper=True, no_cfunc_wrapper=True, **OPTIONS)


def inlined(function):
    """Write a function that kernels call into its callers, before their types are known.

    Compiling each small function by itself, as `inner` does, would double the time of a first run.
    """
    return numba.njit(function, inline="always", **OPTIONS)


def _unbroken(method):
    """A method of a dispatcher that only types without compiled code need, safe from signal handlers."""

    def run(*arguments):
        if global_compiler_lock.is_locked():  # by this thread: another would wait for it, and this one for the other
            return method(*arguments)
        return sheltered(method, *arguments)

    return run


def kernel(function):
    """Compile a function that Python calls, cached on disk where a folder can be written."""
    dispatcher = numba.njit(function, **OPTIONS)
    dispatcher._cache = NoCache()
    if CACHE_FOLDER is not None:
        # The folder is read from a process-wide setting while the cache object is made.
        with _cache_dir_lock:
            before = numba.config.CACHE_DIR
            numba.config.CACHE_DIR = str(CACHE_FOLDER)
            try:
                dispatcher._cache = KernelCache(function)
            except RuntimeError:  # the folder went away meanwhile
                pass
            finally:
                numba.config.CACHE_DIR = before
    for name in "typeof_pyval", "_compile_for_args":  # what a call looks up when it finds nothing compiled
        setattr(dispatcher, name, _unbroken(getattr(dispatcher, name)))
    return dispatcher
