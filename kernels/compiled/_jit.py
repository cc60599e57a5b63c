"""Every compile option, in one place.

`kernel` decorates the functions that Python calls, `part` compiles those that kernels call by address: both are
cached on disk. `inner` and `inlined` decorate the functions that these call by name: they become part of their
callers and need no file of their own.
"""

import re
from functools import partial
from types import FunctionType

import numba

from .._folder import is_ours, source_digest
from .._shelter import sheltered
from ._cache import cache_of, cache_root, kept_in

__all__ = [
    "OPTIONS",
    "c_function",
    "cache_root",
    "inlined",
    "inner",
    "is_ours",
    "kept_in",
    "kernel",
    "part",
    "source_digest",
]

OPTIONS = {"nogil": True, "error_model": "numpy", "boundscheck": False}

if numba.config.DISABLE_JIT:  # the SIMD types exist only in compiled code
    raise ImportError("NUMBA_DISABLE_JIT is set")


def inner(function):
    """Compile a function that kernels call: once for each type of tile, then LLVM inlines it there."""
    return numba.njit(function, forceinline=True, no_cpython_wrapper=True, no_cfunc_wrapper=True, **OPTIONS)


def inlined(function):
    """Write a function that kernels call into its callers, before their types are known.

    Compiling each small function by itself, as `inner` does, would double the time of a first run.
    """
    return numba.njit(function, inline="always", **OPTIONS)


def kernel(function):
    """Compile a function that Python calls, cached on disk where a folder can be written."""
    dispatcher = numba.njit(function, **OPTIONS)
    dispatcher._cache = cache_of(function, f"{function.__module__}.{function.__qualname__}")
    for name in "typeof_pyval", "_compile_for_args":  # what a call looks up when it finds nothing compiled
        setattr(dispatcher, name, partial(sheltered, getattr(dispatcher, name)))
    return dispatcher


def entry(function, signature, name, holds):
    """Compile a function for one signature, cached on disk under a name: what Python calls, which looks at no types.

    A dispatcher looks at the types of all arguments in every call, and to give up Python's lock and take it back
    takes as long: together, more than half of what a small call takes. The function `holds` the lock, or gives it up.
    """
    dispatcher = numba.njit(function, **OPTIONS | {"nogil": not holds})
    dispatcher._cache = cache_of(function, name)
    dispatcher.compile(signature)
    (compiled,) = dispatcher.overloads.values()
    vars(function).setdefault("compiled", []).append(dispatcher)  # which goes before Numba does, as that wants
    return compiled.entry_point


_parts = []  # code lives as long as what it was compiled by


def part(function, signature, name):
    """Compile a function of pointers and numbers for one signature, cached on disk under a name; its address.

    The symbol in the machine code is made from the function's name: many parts are made by one function, and where
    two of them from two processes had one symbol, a second look at an address would find the other.
    """
    compiled = _compiled(function, signature, name, no_cfunc_wrapper=True)
    return compiled.library.get_pointer_to_function(compiled.fndesc.llvm_func_name)


def c_function(function, signature, name):
    """As `part`, but what C calls."""
    compiled = _compiled(function, signature, name, no_cfunc_wrapper=False)
    return compiled.library.get_pointer_to_function(compiled.fndesc.llvm_cfunc_wrapper_name)


def _compiled(function, signature, name, **options):
    own = FunctionType(function.__code__, function.__globals__, name, function.__defaults__, function.__closure__)
    own.__qualname__ = re.sub(r"\W", "_", name)
    own.__module__ = function.__module__
    dispatcher = numba.njit(own, no_cpython_wrapper=True, **options, **OPTIONS)
    dispatcher._cache = cache_of(own, name)
    dispatcher.compile(signature)
    (compiled,) = dispatcher.overloads.values()
    _parts.append(dispatcher)
    return compiled
