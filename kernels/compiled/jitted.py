"""What `fastnp.jit` gives, as Numba knows it: one type for a dtype, whose values are the addresses of nets.

Numba finds a function of the user's that it keeps on disk by the types of its arguments. The digest of these sources,
which say what stands where in a net, is in the type.
"""

import functools

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.imputils import lower_constant
from numba.extending import NativeValue, intrinsic, models, register_model, unbox

from .._folder import source_digest

DIGEST = source_digest()  # of the code that runs, whatever becomes of its files


class Jitted(types.Type):
    """A network that computes in a dtype."""

    def __init__(self, dtype):
        self.dtype, self.digest = dtype, DIGEST
        super().__init__(f"fastnp.jit({dtype})")

    @property
    def key(self):
        return self.name, self.digest


@register_model(Jitted)
class JittedModel(models.PrimitiveModel):
    """The address of a net, an integer."""

    def __init__(self, dmm, fe_type):
        super().__init__(dmm, fe_type, ir.IntType(64))


@unbox(Jitted)
def unbox_jitted(jitted, obj, c):
    """Ask an object for the address of its net; it is held by whoever calls."""
    builder, address = c.builder, cgutils.alloca_once_value(c.builder, ir.Constant(ir.IntType(64), 0))
    found = c.pyapi.object_getattr_string(obj, "net")
    failed = cgutils.is_null(builder, found)
    with builder.if_then(builder.not_(failed), likely=True):
        builder.store(c.pyapi.number_as_ssize_t(found), address)
        c.pyapi.decref(found)
    return NativeValue(builder.load(address), is_error=failed)


_constants = {}  # by id: what code has in it lives as long as the code, and that to the end


@lower_constant(Jitted)
def constant(context, builder, jitted, value):
    """The net of a global: an address of this process, so that Numba does not keep the function on disk."""
    _constants[id(value)] = value
    return builder.ptrtoint(context.add_dynamic_addr(builder, value.net, info="fastnp.jit"), ir.IntType(64))


@intrinsic
def net_of(typingctx, jitted):
    """The net, as a pointer to integers."""
    result = types.CPointer(types.int64)

    def codegen(context, builder, signature, args):
        return builder.inttoptr(args[0], context.get_value_type(result))

    return result(jitted), codegen


@intrinsic
def column(typingctx, jitted, i):
    """A column of the net."""

    def codegen(context, builder, signature, args):
        return builder.load(builder.gep(builder.inttoptr(args[0], ir.IntType(64).as_pointer()), [args[1]]))

    return types.int64(jitted, types.intp), codegen


@functools.cache
def type_of(char):
    """The type for a dtype, by its character."""
    return Jitted(types.float32 if char == "f" else types.float64)
