"""Parts, called by their addresses, and the rows of a table that say with what."""

import numba
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from ..table import COLUMNS, ROW

ROW_TYPE = numba.from_dtype(ROW)


@intrinsic
def row(typingctx, table, i):
    """Row i of a table, which came as integers (see `table.as_integers`): a record."""

    def codegen(context, builder, signature, args):
        data = context.make_array(signature.args[0])(context, builder, args[0]).data
        start = builder.gep(data, [builder.mul(args[1], ir.Constant(args[1].type, COLUMNS))])
        return builder.bitcast(start, context.get_value_type(ROW_TYPE))

    return ROW_TYPE(table, types.intp), codegen


def _call(result, context, builder, signature, values):
    """Call the code at an address with the members of a tuple, as Numba calls its own functions."""
    members, member_types = cgutils.unpack_tuple(builder, values[1]), signature.args[1].types
    function_type = context.call_conv.get_function_type(result, member_types)
    function = builder.inttoptr(values[0], function_type.as_pointer())
    answer_type, exception_type = (argument.pointee for argument in function_type.args[:2])
    answer = cgutils.alloca_once_value(builder, ir.Constant(answer_type, None))
    exception = cgutils.alloca_once(builder, exception_type)  # parts raise none
    arguments = context.get_arg_packer(member_types).as_arguments(builder, members)
    builder.call(function, [answer, exception, *arguments])
    return context.get_dummy_value() if result is types.none else builder.load(answer)


@intrinsic
def call(typingctx, address, arguments):
    """Run the part at an address with the members of a tuple."""

    def codegen(context, builder, signature, values):
        return _call(types.none, context, builder, signature, values)

    return types.void(types.int64, arguments), codegen


@intrinsic
def call_for_number(typingctx, address, arguments):
    """As `call`, for a part that returns a double."""

    def codegen(context, builder, signature, values):
        return _call(types.float64, context, builder, signature, values)

    return types.float64(types.int64, arguments), codegen
