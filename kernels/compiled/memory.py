"""Numbers at an address."""

from llvmlite import ir
from numba import carray, types
from numba.extending import intrinsic

from ..nets import LINE
from ..table import COLUMNS
from ._jit import inlined


def _from_address(result):
    """Code that makes a pointer of an address, the argument before the last."""

    def codegen(context, builder, signature, args):
        return builder.inttoptr(args[-2], context.get_value_type(result))

    return codegen


@intrinsic
def memory(typingctx, like, address, size):
    """The address of so many numbers, of the type of those at, or in, `like`, as a pointer."""
    result = types.CPointer(like.dtype)
    return result(like, types.int64, types.int64), _from_address(result)


@intrinsic
def integers(typingctx, address, size):
    """The address of so many integers, as a pointer."""
    result = types.CPointer(types.int64)
    return result(types.int64, types.int64), _from_address(result)


@intrinsic
def doubles(typingctx, address, size):
    """The address of so many doubles, as a pointer."""
    result = types.CPointer(types.float64)
    return result(types.int64, types.int64), _from_address(result)


@intrinsic
def aligned(typingctx, p):
    """The first address from a pointer on where a line of the cache begins."""

    def codegen(context, builder, signature, args):
        number = context.get_value_type(types.int64)
        address = builder.add(builder.ptrtoint(args[0], number), ir.Constant(number, LINE - 1))
        return builder.inttoptr(builder.and_(address, ir.Constant(number, -LINE)), args[0].type)

    return p(p), codegen


@inlined
def table_at(p, count):
    """The table of so many rows at a pointer to integers, as an array that nobody has to hold."""
    return carray(p, (count, COLUMNS))
