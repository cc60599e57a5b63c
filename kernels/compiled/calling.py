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


def _call(result, context, builder, address, values, value_types):
    """Call the code at an address as Numba calls its own functions."""
    function_type = context.call_conv.get_function_type(result, value_types)
    function = builder.inttoptr(address, function_type.as_pointer())
    answer_type, exception_type = (argument.pointee for argument in function_type.args[:2])
    answer = cgutils.alloca_once_value(builder, ir.Constant(answer_type, None))
    exception = cgutils.alloca_once(builder, exception_type)  # parts raise none
    arguments = context.get_arg_packer(value_types).as_arguments(builder, values)
    builder.call(function, [answer, exception, *arguments])
    return context.get_dummy_value() if result is types.none else builder.load(answer)


def _call_with_members(result, context, builder, signature, values):
    """Call the code at an address with the members of a tuple."""
    members, member_types = cgutils.unpack_tuple(builder, values[1]), signature.args[1].types
    return _call(result, context, builder, values[0], members, member_types)


@intrinsic
def call(typingctx, address, arguments):
    """Run the part at an address with the members of a tuple."""

    def codegen(context, builder, signature, values):
        return _call_with_members(types.none, context, builder, signature, values)

    return types.void(types.int64, arguments), codegen


@intrinsic
def call_for_number(typingctx, address, arguments):
    """As `call`, for a part that returns a double."""

    def codegen(context, builder, signature, values):
        return _call_with_members(types.float64, context, builder, signature, values)

    return types.float64(types.int64, arguments), codegen


# The parts of `embedded`: what they are given may be an array, which somebody holds until the call is over.


def _call_with_data(context, builder, signature, values):
    """Call the code at an address with what follows; for an array, with the address of its numbers."""
    numbers, number_types = [], []
    for value, of in zip(values[1:], signature.args[1:], strict=True):
        if isinstance(of, types.Array):
            value, of = context.make_array(of)(context, builder, value).data, types.CPointer(of.dtype)
        numbers.append(value)
        number_types.append(of)
    return _call(types.none, context, builder, values[0], numbers, number_types)


@intrinsic
def run_sample(typingctx, address, out, x, net):
    """Run `embedded.sample`."""
    return types.void(types.int64, out, x, net), _call_with_data


@intrinsic
def run_forward(typingctx, address, out, x, count, net, work):
    """Run `embedded.forward`."""
    return types.void(types.int64, out, x, types.int64, net, work), _call_with_data


@intrinsic
def run_sample_vjp(typingctx, address, out, dx, x, dy, net):
    """Run `embedded.sample_vjp`."""
    return types.void(types.int64, out, dx, x, dy, net), _call_with_data


@intrinsic
def run_vjp(typingctx, address, out, dx, x, dy, count, net, work):
    """Run `embedded.vjp`."""
    return types.void(types.int64, out, dx, x, dy, types.int64, net, work), _call_with_data


@intrinsic
def run_jacobian(typingctx, address, out, jac, x, net, work):
    """Run `embedded.jacobian`."""
    return types.void(types.int64, out, jac, x, net, work), _call_with_data
