"""Compiled kernels on disk: Numba's file cache in a folder of ours, and what the user is told of it."""

import contextlib
import os
import sys
from functools import partial

import numba
from numba.core.caching import CompileResultCacheImpl, FunctionCache, NullCache, _CacheLocator
from numba.core.sigutils import normalize_signature

from .. import _folder

CACHE_FOLDER = _folder.cache_folder()


def cache_root():
    """The folder that holds the cache folders of all versions, or None where nothing is kept."""
    return CACHE_FOLDER and CACHE_FOLDER.parent


_happened = set()  # of "compiling" and "not saved": each is said once in a process


def kept_in():
    """The folder in which kernels are kept, or None where there is none or one could not be saved."""
    return None if "not saved" in _happened else CACHE_FOLDER


def _say(event, line):
    """Say a line where its event is the first in this process, unless FASTNP_QUIET is set."""
    if event not in _happened and sys.stderr is not None and not os.environ.get("FASTNP_QUIET"):
        with contextlib.suppress(OSError, ValueError):  # full, or closed
            print(f"fastnp: {line}", file=sys.stderr, flush=True)
    _happened.add(event)


def _announce():
    where = f"kept in {CACHE_FOLDER}" if CACHE_FOLDER else "in every process: no cache folder can be written"
    _say("compiling", f"compiling kernels for their first use here ({where}; takes some seconds) ...")


class _Locator(_CacheLocator):
    """One folder for all kernels. The digest of their sources is in its name: the stamp need not tell them apart."""

    def get_cache_path(self):
        return str(CACHE_FOLDER)

    def get_source_stamp(self):
        return CACHE_FOLDER.name

    def get_disambiguator(self):
        return f"numba-{numba.__version__}"  # versions side by side, where environments share the folder

    def ensure_cache_path(self):
        _folder.make(CACHE_FOLDER)


class _KernelFiles(CompileResultCacheImpl):
    """The files of one kernel: Numba's own way of finding a place for them needs its source on disk."""

    def __init__(self, function, name):
        self._lineno = function.__code__.co_firstlineno
        self._locator = _Locator()
        name = name.removeprefix(f"{__package__}.")
        self._filename_base = self.get_filename_base(name, getattr(sys, "abiflags", ""))


class KernelCache(FunctionCache):
    """Numba's file cache, for which a damaged file is a file that is not there and a full disk no error."""

    def __init__(self, function, name):
        self._called = name
        self._impl_class = partial(_KernelFiles, name=name)
        super().__init__(function)

    def _index_key(self, sig, codegen):
        """What tells one entry of an index from others: Numba's own key of a closure is new in every process."""
        return sig, codegen.magic_tuple(), self._called

    def load_overload(self, sig, target_context):
        try:
            loaded = super().load_overload(sig, target_context)
            # Two processes that compile for two types at once may take one name for both files.
            if loaded is not None and loaded.signature.args != normalize_signature(sig)[0]:
                loaded = None
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
            except Exception as error:  # full or read-only by now: go on uncached
                self.disable()
                reason = " ".join(f"{type(error).__name__}: {error}".split())
                _say("not saved", f"the compiled kernels cannot be kept in {CACHE_FOLDER} ({reason})")


class NoCache(NullCache):
    """Nothing is kept; compiling is announced all the same."""

    def load_overload(self, sig, target_context):
        _announce()


def cache_of(function, name):
    """The cache of a kernel or part, which has this name among all."""
    return NoCache() if CACHE_FOLDER is None else KernelCache(function, name)
