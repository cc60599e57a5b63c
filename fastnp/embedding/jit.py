"""`jit`: a network for jitted code."""

import copy as copying

from ..checks import check_flag, shown
from ..layers.built_in import BuiltIn
from ..layers.layer import Layer
from ..layers.nesting import nested, pieces
from ..layers.runs import check_widths, is_built_in
from .embedded import Embedded


def jit(model: Layer, copy: bool = False) -> Embedded:
    """The function f that a model is, to be called in Python and in code that Numba compiles.

    Args:
        model: built-in layers of one dtype: a `Sequential`, nested or not, or one layer with weights.
        copy: whether f is of a copy of the model as it is now, which nothing changes any more.

    In Python and inside `@njit`, with `parallel=True` and from several threads, too:

        y = f(x)                    for a sample x (in_features,), or rows (n, in_features): what model.predict gives
        f.into(out, x, work)        the same, written to out; allocates nothing; work = f.workspace(), one a thread
        y, dx = f.vjp(x, dy)        dx = dyᵀ·J for dy shaped as y; parameters get no gradients
        y, J = f.jacobian(x)        of a sample; J (out_features, in_features), J[i, j] = dy[i] / dx[j]

    Inside `@njit`, arrays are C-contiguous and of the model's dtype; anything else is a typing error. In Python they
    may be of any layout and real dtype. Dropout leaves out nothing.

    f is of the layers that the model has now, and follows their parameters and settings: trained further, moved by
    an optimizer or a `Sequential` that they join, or behind which another layer is added. It keeps them alive; hold f
    for as long as jitted code may use it, also where a typed list or a jitclass has it: without it, a call raises
    ValueError. To train the layers, or to move them, while another thread is inside of a
    call is a race: the call may see old numbers, new ones, or memory that is gone. Where they were converted to another
    dtype, or a method of one was replaced, a call raises ValueError; methods of the model around them are not asked.

    As an argument of a jitted function, f leaves its `cache=True` in force; all models of a dtype have one type, and
    another architecture compiles nothing. As a global, its address is in the code: Numba warns, and keeps no cache.

    `f.address` is a C function void(T *out, const T *x, int64 rows, void *net), and `f.net` is its last argument: for
    ctypes, and by way of that for SciPy's LowLevelCallable, whose user data `net` may be. It checks no widths; where f
    would raise, it gives NaN. With the backend "numpy", and where Numba is missing, f is for Python alone. A pickle of
    f is one of the layers.

    Raises TypeError for what is no model of built-in layers, ValueError where these are of two dtypes, do not fit or
    say of no width. A call raises ValueError for arrays of another width or number of rows; the same inside `@njit`.
    """
    copy = check_flag("jit", "copy", copy)
    if not isinstance(model, Layer):
        raise TypeError(f"jit takes a model of built-in layers, got {shown(model)}")
    if any(len(inside) == 0 for layer in nested([model]) if (inside := layer._layers_inside()) is not None):
        raise ValueError("jit: this Sequential has no layers; give it some, or add(layer)")
    layers = _built_in(pieces([copying.deepcopy(model) if copy else model]))
    check_widths(layers)
    dtypes = {str(dtype): None for layer in layers if (dtype := layer._what()[0]) is not None}
    if len(dtypes) > 1:
        raise ValueError(f"jit: the layers must be of one dtype, got {' and '.join(dtypes)}; convert them to one")
    if not dtypes:
        raise ValueError("jit: no layer says how wide x is; there must be a Linear or a LayerNorm")
    return Embedded(layers)


def _built_in(layers: list[Layer]) -> list[BuiltIn]:
    found = []
    for layer in layers:
        if not is_built_in(layer):
            why = "is none of the library's layers, or one with a method of your own"
            raise TypeError(f"jit: {shown(layer)} {why}; jitted code runs built-in layers alone")
        found.append(layer)
    return found
