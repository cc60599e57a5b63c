"""Arrays as Python gives them: two axes, any strides, at any address; for as long as a call lasts.

Numba counts references to an array that it is given, with a lock around each count, and takes its word for how many
axes there are. Here the caller holds the array, and one that is not of two axes, or has numbers of another size, shows
as one of −1 rows.
"""

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import NativeValue, intrinsic, models, register_model, unbox

AXES = 64  # at most, of any array
HEAD = 5  # what Numba writes of an array before the sizes of its axes, and their strides; …
SIZE, DATA = 3, 4  # … among it the size of a number, and where they are


class Given(types.Type):
    """An array (·, ·) of numbers of a type."""

    def __init__(self, dtype):
        self.dtype = dtype
        super().__init__(f"Given({dtype})")


@register_model(Given)
class GivenModel(models.StructModel):
    def __init__(self, dmm, fe_type):
        integers = [(name, types.intp) for name in ("rows", "columns", "row", "step")]
        super().__init__(dmm, fe_type, [("data", types.CPointer(fe_type.dtype)), *integers])


@unbox(Given)
def unbox_given(given, obj, c):
    """Let Numba write what it finds of an object into room for any array, and see how much that was."""
    builder, number = c.builder, c.context.get_value_type(types.intp)

    def constant(value):
        return ir.Constant(number, value)

    room = cgutils.alloca_once(builder, number, size=HEAD + 2 * AXES)

    def at(i):
        return builder.gep(room, [constant(i)])

    unwritten = constant(-(2**63))
    for i in (HEAD + 3, HEAD + 4):  # two sizes and two strides end before the second of these
        builder.store(unwritten, at(i))
    builder.store(constant(0), at(SIZE))
    adapt_type = ir.FunctionType(ir.IntType(32), [c.pyapi.pyobj, c.pyapi.voidptr])
    adapt = cgutils.get_or_insert_function(builder.module, adapt_type, "numba_adapt_ndarray")
    failed = builder.call(adapt, [obj, builder.bitcast(room, c.pyapi.voidptr)])
    right = builder.icmp_signed("==", failed, ir.Constant(failed.type, 0))
    for i, compared, value in (
        (SIZE, "==", constant(given.dtype.bitwidth // 8)),
        (HEAD + 3, "!=", unwritten),
        (HEAD + 4, "==", unwritten),
    ):
        right = builder.and_(right, builder.icmp_signed(compared, builder.load(at(i)), value))
    array = cgutils.create_struct_proxy(given)(c.context, builder)
    array.data = builder.inttoptr(builder.load(at(DATA)), array.data.type)
    array.rows = builder.select(right, builder.load(at(HEAD)), constant(-1))
    array.columns, array.row, array.step = (builder.load(at(HEAD + i)) for i in (1, 2, 3))
    return NativeValue(array._getvalue())


def _member(name):
    def codegen(context, builder, signature, args):
        given = cgutils.create_struct_proxy(signature.args[0])(context, builder, args[0])
        return getattr(given, name)

    return codegen


@intrinsic
def rows(typingctx, array):
    """How many rows an array has; −1 where it is none of two axes."""
    return types.intp(array), _member("rows")


@intrinsic
def columns(typingctx, array):
    """How long the rows of an array are."""
    return types.intp(array), _member("columns")


@intrinsic
def first(typingctx, array):
    """Where the first number of an array is."""
    return types.CPointer(array.dtype)(array), _member("data")


def _each(builder, shape, source, row, step):
    """Go through the numbers of an array, at any address, rows and numbers of which are so many bytes apart."""
    start = builder.ptrtoint(source, row.type)
    with cgutils.for_range(builder, shape[0]) as rows, cgutils.for_range(builder, shape[1]) as columns:
        i, j = rows.index, columns.index
        address = builder.add(builder.add(start, builder.mul(i, row)), builder.mul(j, step))
        yield i, j, builder.load(builder.inttoptr(address, source.type), align=1)


def _like(builder, value, number):
    """A number converted to another type, where that is another."""
    if value.type == number:
        return value
    return (builder.fpext if value.type == ir.FloatType() else builder.fptrunc)(value, number)


def _copy_rows(builder, shape, target, ld, source, row, step):
    """Write rows at `target`, `ld` numbers apart."""
    for i, j, value in _each(builder, shape, source, row, step):
        place = builder.gep(target, [builder.add(builder.mul(i, ld), j)])
        builder.store(_like(builder, value, target.type.pointee), place)


def _fits(builder, shape, source, row, step):
    """Whether all doubles that are finite are so in single precision."""
    flag = cgutils.alloca_once_value(builder, cgutils.true_bit)
    for _, _, value in _each(builder, shape, source, row, step):
        single = _like(builder, value, ir.FloatType())
        finite, was = (builder.fcmp_ordered("ord", x, builder.fsub(x, x)) for x in (single, value))
        builder.store(builder.and_(builder.load(flag), builder.or_(finite, builder.not_(was))), flag)
    return builder.load(flag)


@intrinsic
def take_in(typingctx, target, ld, array):
    """Copy the rows of an array to `target`, where they are `ld` numbers apart, converted.

    Or do nothing, and return False, where a number is too large for that.
    """

    def codegen(context, builder, signature, args):
        given = cgutils.create_struct_proxy(array)(context, builder, args[2])
        shape = given.rows, given.columns
        fits = cgutils.true_bit
        if array.dtype.bitwidth > target.dtype.bitwidth:
            fits = _fits(builder, shape, given.data, given.row, given.step)
        size = ir.Constant(given.step.type, array.dtype.bitwidth // 8)
        to = shape, args[0], args[1], given.data, given.row
        is_side_by_side = builder.icmp_signed("==", given.step, size)
        with builder.if_then(fits), builder.if_else(is_side_by_side) as (side_by_side, apart):
            with side_by_side:  # which LLVM makes vectors of
                _copy_rows(builder, *to, size)
            with apart:
                _copy_rows(builder, *to, given.step)
        return fits

    return types.boolean(target, types.intp, array), codegen


@intrinsic
def give_out(typingctx, array, source, ld):
    """Copy rows that are `ld` numbers apart to an array, C-contiguous."""

    def codegen(context, builder, signature, args):
        given = cgutils.create_struct_proxy(array)(context, builder, args[0])
        size = ir.Constant(args[2].type, array.dtype.bitwidth // 8)
        row = builder.mul(args[2], size)
        _copy_rows(builder, (given.rows, given.columns), given.data, given.columns, args[1], row, size)
        return context.get_dummy_value()

    return types.void(array, source, types.intp), codegen
