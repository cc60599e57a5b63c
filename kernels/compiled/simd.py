"""SIMD vectors as Numba types, so that a kernel reads like the textbook's register tile.

A *tile* is `rows` × `cols` SIMD vectors held in registers; one vector is a tile of 1 × 1. Tiles are
values: every operation returns a new one. A *pointer* is the address of one number in an array.

    acc = zeros(c, 4, 2)                    # 4 rows of 2 vectors
    for k in range(depth):
        acc = outer_fma(acc, at(a, k), lda, at(b, k * ldb))
    store(acc, c, ldc)

All leading dimensions and offsets count numbers, not bytes. Nothing here checks bounds.
"""

import functools

import numpy as np
from llvmlite import ir
from numba import config, types
from numba.core import cgutils
from numba.core.codegen import get_host_cpu_features
from numba.extending import intrinsic, models, register_model

_features = config.CPU_FEATURES if config.CPU_FEATURES is not None else get_host_cpu_features()

# Bytes of a SIMD register. Hosts without AVX take 32, too, and LLVM splits each vector in two.
VECTOR_BYTES = 64 if "+avx512f" in _features.split(",") else 32

# The widest tile in vectors: 4 rows of so many, with what they are made from, fit the registers.
WIDE = 4 if VECTOR_BYTES == 64 else 2


class TileType(types.Type):
    """The type of `rows` × `cols` SIMD vectors of `dtype`; their lanes are those of a register, or as given."""

    def __init__(self, dtype, rows, cols, lanes=None):
        self.dtype = dtype
        self.rows = rows
        self.cols = cols
        self.lanes = lanes or VECTOR_BYTES // (dtype.bitwidth // 8)
        super().__init__(f"Tile({dtype}, {rows}, {cols}, {self.lanes})")

    @property
    def count(self):
        return self.rows * self.cols


@register_model(TileType)
class TileModel(models.PrimitiveModel):
    def __init__(self, dmm, fe_type):
        vector = ir.VectorType(_element(fe_type.dtype), fe_type.lanes)
        super().__init__(dmm, fe_type, ir.ArrayType(vector, fe_type.count))


def _element(dtype):
    return ir.FloatType() if dtype == types.float32 else ir.DoubleType()


def _is_pointer(ty):
    return isinstance(ty, types.CPointer)


def _vectors(builder, tile_type, tile):
    return [builder.extract_value(tile, i) for i in range(tile_type.count)]


def _tile(context, builder, tile_type, vectors):
    tile = cgutils.get_null_value(context.get_value_type(tile_type))
    for i, vector in enumerate(vectors):
        tile = builder.insert_value(tile, vector, i)
    return tile


def _vector_type(tile_type):
    return ir.VectorType(_element(tile_type.dtype), tile_type.lanes)


def _splat(builder, vector_type, scalar):
    first = builder.insert_element(ir.Constant(vector_type, ir.Undefined), scalar, ir.Constant(ir.IntType(32), 0))
    zeros = ir.Constant(ir.VectorType(ir.IntType(32), vector_type.count), [0] * vector_type.count)
    return builder.shuffle_vector(first, ir.Constant(vector_type, ir.Undefined), zeros)


def _fma(builder, a, b, c):
    """a·b + c: fused where the CPU can, mul and add where it cannot (`llvm.fma` would call a slow library)."""
    name = f"llvm.fmuladd.v{a.type.count}f{32 if a.type.element == ir.FloatType() else 64}"
    function = cgutils.get_or_insert_function(builder.module, ir.FunctionType(a.type, [a.type] * 3), name)
    return builder.call(function, [a, b, c])


def _of_llvm(builder, name, x):
    """One of LLVM's functions of a vector."""
    function_type = ir.FunctionType(x.type, [x.type])
    name = f"llvm.{name}.v{x.type.count}f{64 if x.type.element == ir.DoubleType() else 32}"
    return builder.call(cgutils.get_or_insert_function(builder.module, function_type, name), [x])


def _address(builder, pointer, offset, vector_type):
    return builder.bitcast(builder.gep(pointer, [offset]), vector_type.as_pointer())


def _align(tile_type):
    """Alignment that may be assumed: a number's own. Aligned addresses are as fast all the same."""
    return tile_type.dtype.bitwidth // 8


def _row_offsets(builder, tile_type, ld):
    """Offset of each vector of a tile in an array whose rows are `ld` numbers apart."""
    for r in range(tile_type.rows):
        row = builder.mul(ld, ir.Constant(ld.type, r))
        for c in range(tile_type.cols):
            yield builder.add(row, ir.Constant(ld.type, c * tile_type.lanes))


def _elementwise(tile_type, operation, *others):
    """Signature and code of an operation on each vector of a tile."""

    def codegen(context, builder, signature, args):
        operands = [_vectors(builder, ty, arg) for ty, arg in zip(signature.args, args, strict=True)]
        return _tile(context, builder, tile_type, [operation(builder, *vs) for vs in zip(*operands, strict=True)])

    return tile_type(tile_type, *others), codegen


# --- pointers ---


@intrinsic
def pointer(typingctx, array, offset):
    """The address of element `offset` of a C-contiguous array, counted over all its elements."""
    result = types.CPointer(array.dtype)

    def codegen(context, builder, signature, args):
        data = context.make_array(signature.args[0])(context, builder, args[0]).data
        return builder.gep(data, [args[1]])

    return result(array, types.intp), codegen


@intrinsic
def at(typingctx, p, offset):
    """The address `offset` numbers after `p`."""

    def codegen(context, builder, signature, args):
        return builder.gep(args[0], [args[1]])

    return p(p, types.intp), codegen


@intrinsic
def read(typingctx, p):
    """The number at `p`."""

    def codegen(context, builder, signature, args):
        return builder.load(args[0])

    return p.dtype(p), codegen


@intrinsic
def write(typingctx, p, value):
    """Store `value`, rounded to the array's type, at `p`."""

    def codegen(context, builder, signature, args):
        builder.store(args[1], args[0])
        return context.get_dummy_value()

    return types.void(p, p.dtype), codegen


@intrinsic
def number_like(typingctx, p, value):
    """A double, rounded to the type of the numbers at `p`."""

    def codegen(context, builder, signature, args):
        return builder.fptrunc(args[1], ir.FloatType()) if p.dtype == types.float32 else args[1]

    return p.dtype(p, types.float64), codegen


@intrinsic(prefer_literal=True)
def room(typingctx, p, count):
    """The address of room for so many numbers, a constant, of the type of those at `p`, while the caller runs."""

    def codegen(context, builder, signature, args):
        return cgutils.alloca_once(builder, context.get_value_type(p.dtype), size=count.literal_value)

    return p(p, count), codegen


@intrinsic
def copy(typingctx, target, source, count):
    """Copy so many numbers from one place to another that has none of them."""

    def codegen(context, builder, signature, args):
        cgutils.raw_memcpy(builder, *args, target.dtype.bitwidth // 8)
        return context.get_dummy_value()

    return types.void(target, source, types.intp), codegen


# --- making, loading, storing ---


@intrinsic(prefer_literal=True)
def zeros(typingctx, p, rows, cols):
    """A tile of +0, of the type of the numbers at `p`; `rows` and `cols` are constants."""
    tile_type = TileType(p.dtype, rows.literal_value, cols.literal_value)

    def codegen(context, builder, signature, args):
        return cgutils.get_null_value(context.get_value_type(tile_type))

    return tile_type(p, rows, cols), codegen


@intrinsic(prefer_literal=True)
def numbers(typingctx, p, rows):
    """A tile of +0 that is one number wide, of the type of those at `p`; `rows` is a constant."""
    tile_type = TileType(p.dtype, rows.literal_value, 1, lanes=1)

    def codegen(context, builder, signature, args):
        return cgutils.get_null_value(context.get_value_type(tile_type))

    return tile_type(p, rows), codegen


@intrinsic
def splat(typingctx, like, value):
    """A tile shaped as `like`, every lane `value` rounded to its type."""

    def codegen(context, builder, signature, args):
        return _tile(context, builder, like, [_splat(builder, _vector_type(like), args[1])] * like.count)

    return like(like, like.dtype), codegen


@intrinsic
def load(typingctx, like, p, ld):
    """A tile shaped as `like` from `p` on, its rows `ld` apart; `ld` = 0 repeats one row."""

    def codegen(context, builder, signature, args):
        _, base, stride = args
        vectors = [
            builder.load(_address(builder, base, offset, _vector_type(like)), align=_align(like))
            for offset in _row_offsets(builder, like, stride)
        ]
        return _tile(context, builder, like, vectors)

    return like(like, p, types.intp), codegen


@intrinsic
def store(typingctx, tile, p, ld):
    """Store a tile from `p` on, its rows `ld` apart."""

    def codegen(context, builder, signature, args):
        values, base, stride = args
        offsets = _row_offsets(builder, tile, stride)
        for vector, offset in zip(_vectors(builder, tile, values), offsets, strict=True):
            builder.store(vector, _address(builder, base, offset, vector.type), align=_align(tile))
        return context.get_dummy_value()

    return types.void(tile, p, types.intp), codegen


def _masks(builder, tile_type, columns):
    """For each vector of a tile, which of its lanes are among the first `columns` of their row."""
    index_type = ir.VectorType(columns.type, tile_type.lanes)
    limits = _splat(builder, index_type, columns)
    for i in range(tile_type.count):
        first = i % tile_type.cols * tile_type.lanes
        index = ir.Constant(index_type, list(range(first, first + tile_type.lanes)))
        yield builder.icmp_signed("<", index, limits)


def _masked(builder, name, result, arguments):
    """Call llvm.masked.load or .store, which touch no memory where the mask is not set."""
    function_type = ir.FunctionType(result, [argument.type for argument in arguments])
    return builder.call(cgutils.get_or_insert_function(builder.module, function_type, name), arguments)


@intrinsic
def load_columns(typingctx, like, p, columns, fill):
    """A tile of one row, shaped as `like`, from `p` on; from column `columns` on it is `fill`, and nothing is read."""

    def codegen(context, builder, signature, args):
        _, base, limit, rest = args
        vector_type, vectors = _vector_type(like), []
        name = f"llvm.masked.load.v{like.lanes}f{like.dtype.bitwidth}.p0"
        align = ir.Constant(ir.IntType(32), _align(like))
        for i, mask in enumerate(_masks(builder, like, limit)):
            address = _address(builder, base, ir.Constant(ir.IntType(64), i * like.lanes), vector_type)
            others = _splat(builder, vector_type, rest)
            vectors.append(_masked(builder, name, vector_type, [address, align, mask, others]))
        return _tile(context, builder, like, vectors)

    return like(like, p, types.intp, like.dtype), codegen


@intrinsic
def store_columns(typingctx, tile, p, columns):
    """Store the first `columns` numbers of a tile of one row from `p` on."""

    def codegen(context, builder, signature, args):
        values, base, limit = args
        name = f"llvm.masked.store.v{tile.lanes}f{tile.dtype.bitwidth}.p0"
        align = ir.Constant(ir.IntType(32), _align(tile))
        for i, (vector, mask) in enumerate(
            zip(_vectors(builder, tile, values), _masks(builder, tile, limit), strict=True)
        ):
            address = _address(builder, base, ir.Constant(ir.IntType(64), i * tile.lanes), vector.type)
            _masked(builder, name, ir.VoidType(), [vector, address, align, mask])
        return context.get_dummy_value()

    return types.void(tile, p, types.intp), codegen


@intrinsic
def prefetch(typingctx, like, p, ld):
    """Ask for the cache lines of a tile shaped as `like` from `p` on, its rows `ld` apart, to be written soon."""

    def codegen(context, builder, signature, args):
        _, base, stride = args
        byte, integer = ir.IntType(8).as_pointer(), ir.IntType(32)
        function = builder.module.declare_intrinsic(
            "llvm.prefetch", (byte,), ir.FunctionType(ir.VoidType(), [byte, integer, integer, integer])
        )
        hints = [ir.Constant(integer, hint) for hint in (1, 3, 1)]  # a write, kept close, of data
        for offset in list(_row_offsets(builder, like, stride)):
            builder.call(function, [builder.bitcast(builder.gep(base, [offset]), byte), *hints])
        return context.get_dummy_value()

    return types.void(like, p, types.intp), codegen


@intrinsic
def sixteen(typingctx, p):
    """A tile of +0, one row of 16 numbers of the type of those at `p`, in as many vectors as it takes.

    What is summed up in these, and then by halves, is the same on every CPU, however wide its vectors are.
    """
    tile_type = TileType(p.dtype, 1, max(1, 16 * (p.dtype.bitwidth // 8) // VECTOR_BYTES))

    def codegen(context, builder, signature, args):
        return cgutils.get_null_value(context.get_value_type(tile_type))

    return tile_type(p), codegen


@intrinsic
def one_row(typingctx, tile):
    """A tile of +0 with one row and as many columns as `tile`."""
    row_type = TileType(tile.dtype, 1, tile.cols)

    def codegen(context, builder, signature, args):
        return cgutils.get_null_value(context.get_value_type(row_type))

    return row_type(tile), codegen


@intrinsic(prefer_literal=True)
def row_of(typingctx, tile, r):
    """One row of a tile, by its number, a constant."""
    result = TileType(tile.dtype, 1, tile.cols)

    def codegen(context, builder, signature, args):
        first = r.literal_value * tile.cols
        return _tile(context, builder, result, _vectors(builder, tile, args[0])[first : first + tile.cols])

    return result(tile, r), codegen


@intrinsic
def width(typingctx, tile):
    """Columns of a tile, in numbers: a constant."""

    def codegen(context, builder, signature, args):
        return context.get_constant(types.intp, tile.cols * tile.lanes)

    return types.intp(tile), codegen


# --- arithmetic ---


@intrinsic
def outer_fma(typingctx, acc, a, a_row, b):
    """acc[r, c] + a[r · a_row] · b[c]: one number a row times one row of vectors."""

    def codegen(context, builder, signature, args):
        sums, left, stride, right = args
        vector_type = _vector_type(acc)
        sums = _vectors(builder, acc, sums)
        columns = [
            builder.load(
                _address(builder, right, ir.Constant(stride.type, c * acc.lanes), vector_type), align=_align(acc)
            )
            for c in range(acc.cols)
        ]
        for r in range(acc.rows):
            number = builder.load(builder.gep(left, [builder.mul(stride, ir.Constant(stride.type, r))]))
            factor = _splat(builder, vector_type, number)
            for c in range(acc.cols):
                i = r * acc.cols + c
                sums[i] = _fma(builder, factor, columns[c], sums[i])
        return _tile(context, builder, acc, sums)

    return acc(acc, a, types.intp, b), codegen


@intrinsic
def fma(typingctx, a, b, c):
    """a·b + c, rounded once on a CPU with FMA."""
    return _elementwise(a, _fma, b, c)


@intrinsic
def add(typingctx, a, b):
    """a + b"""
    return _elementwise(a, lambda builder, x, y: builder.fadd(x, y), b)


@intrinsic
def subtract(typingctx, a, b):
    """a − b"""
    return _elementwise(a, lambda builder, x, y: builder.fsub(x, y), b)


@intrinsic
def multiply(typingctx, a, b):
    """a·b"""
    return _elementwise(a, lambda builder, x, y: builder.fmul(x, y), b)


@intrinsic
def divide(typingctx, a, b):
    """a / b"""
    return _elementwise(a, lambda builder, x, y: builder.fdiv(x, y), b)


@intrinsic
def negative(typingctx, a):
    """−a"""
    return _elementwise(a, lambda builder, x: builder.fneg(x))


def _constant(vector_type, number):
    return ir.Constant(vector_type, [number] * vector_type.count)


def _off_zero(builder, v):
    """A vector of doubles, with 1.5·2⁻¹⁰⁰⁰ for 0; numbers from 2⁻⁹⁴⁶ on stay as they are."""
    return builder.fadd(v, _constant(v.type, 1.5 * 2.0**-1000))


def _refined_root(builder, v):
    """The root of a vector of eight doubles without the divider, which is busy enough with what is done with roots.

    From y, within 2⁻¹⁴ of 1/√v, follow g and h, near √v and 1 / (2√v), by the series of 1/√(1 − 2r) up to r⁴, where
    r = ½ − g·h, and the root as g + (v − g²)·h. (P. Markstein, "IA-64 and Elementary Functions", 2000.)

    Let 1 ≤ v < 4. Then √v is at least k·2⁻¹⁰⁷/√v from the middle of two doubles: of odd squares modulo 8, k = 1, 9, …
    below it and 7, 15, … above. Near it, g is one of the two, v − g² is exact, and h is off by (½ + v/2)·2⁻⁵³/√v of
    itself or less: that takes the sum 5·2⁻¹⁰⁷/√v up or down at most, and that √v is not g takes it 2⁻¹⁰⁷/√v down. So
    it is rounded as √v is, but perhaps where k = 1: at 1 + 2⁻⁵² and 4 − 2⁻⁵¹.
    """
    half, *series = (_constant(v.type, c) for c in (0.5, 1.0, 1.5, 2.5, 4.375))
    arguments = _off_zero(builder, v), ir.Constant(v.type, None), ir.Constant(ir.IntType(8), -1)
    function_type = ir.FunctionType(v.type, [argument.type for argument in arguments])
    seed = cgutils.get_or_insert_function(builder.module, function_type, "llvm.x86.avx512.rsqrt14.pd.512")
    y = builder.call(seed, arguments)
    g, h = builder.fmul(v, y), builder.fmul(half, y)
    r = _fma(builder, builder.fneg(g), h, half)
    growth = series.pop()
    while series:
        growth = _fma(builder, growth, r, series.pop())
    growth = builder.fmul(growth, r)
    g, h = _fma(builder, g, growth, g), _fma(builder, h, growth, h)
    return _fma(builder, _fma(builder, builder.fneg(g), g, v), h, g)


def _is_hard(builder, v):
    """Where the last step may be wrong, and at ∞: by the bits of the significand, as of 1 to 1 + 2⁻⁵¹ or 2 − 2⁻⁵²."""
    integers = ir.VectorType(ir.IntType(64), v.type.count)
    next_one = builder.add(builder.bitcast(_off_zero(builder, v), integers), _constant(integers, 1))
    return builder.icmp_unsigned(
        "==", builder.and_(next_one, _constant(integers, 2**52 - 4)), ir.Constant(integers, None)
    )


@intrinsic
def root(typingctx, a):
    """√a, rounded correctly; but in float64, for a below 2⁻⁹⁴⁶ and not 0, any number below 2⁻⁴⁷⁰.

    That is not seen beside the epsilon of a rule.
    """

    def by_divider(builder, x):
        return _of_llvm(builder, "sqrt", x)

    def codegen(context, builder, signature, args):
        vectors = _vectors(builder, a, args[0])
        hard = [_is_hard(builder, vector) for vector in vectors]
        mask = builder.bitcast(functools.reduce(builder.or_, hard), ir.IntType(a.lanes))
        is_any_hard = builder.icmp_unsigned("!=", mask, ir.Constant(mask.type, 0))
        ways = []
        with builder.if_else(is_any_hard, likely=False) as branches:
            for branch, way in zip(branches, (by_divider, _refined_root), strict=True):
                with branch:
                    ways.append(([way(builder, vector) for vector in vectors], builder.block))
        roots = [builder.phi(vector.type) for vector in vectors]
        for results, block in ways:
            for joined, result in zip(roots, results, strict=True):
                joined.add_incoming(result, block)
        return _tile(context, builder, a, roots)

    if a.dtype == types.float64 and VECTOR_BYTES == 64:
        return a(a), codegen
    return _elementwise(a, by_divider)


@intrinsic
def absolute(typingctx, a):
    """|a|"""
    return _elementwise(a, lambda builder, x: _of_llvm(builder, "fabs", x))


@intrinsic
def constant(typingctx, like, single, double):
    """A tile shaped as `like`, every lane `single` where it is float32, `double` where it is float64."""

    def codegen(context, builder, signature, args):
        value = builder.fptrunc(args[1], ir.FloatType()) if like.dtype == types.float32 else args[2]
        return _tile(context, builder, like, [_splat(builder, _vector_type(like), value)] * like.count)

    return like(like, types.float64, types.float64), codegen


def polynomial(single, double):
    """An operation c₀ + c₁·x + c₂·x² + … on tiles, by Horner's rule: coefficients for float32 and for float64."""

    @intrinsic
    def value(typingctx, x):
        coefficients = single if x.dtype == types.float32 else double

        def operation(builder, vector):
            terms = [_splat(builder, vector.type, ir.Constant(vector.type.element, c)) for c in rounded(coefficients)]
            result = terms.pop()
            while terms:
                result = _fma(builder, result, vector, terms.pop())
            return result

        def rounded(numbers):
            return [float(np.float32(number)) if x.dtype == types.float32 else number for number in numbers]

        return _elementwise(x, operation)

    return value


def _large(builder, vector_type):
    """A vector of 1.5·2²³, or 1.5·2⁵²: there numbers are 1 apart, and the lowest bits of n + that are those of n."""
    mantissa = 23 if vector_type.element == ir.FloatType() else 52
    return _splat(builder, vector_type, ir.Constant(vector_type.element, 1.5 * 2.0**mantissa))


def _nearest(builder, x):
    large = _large(builder, x.type)
    return builder.fsub(builder.fadd(x, large), large)


@intrinsic
def nearest(typingctx, a):
    """a rounded to a whole number, for |a| < 2²²."""
    return _elementwise(a, _nearest)


def _power_of_two(builder, n):
    bits, mantissa = (32, 23) if n.type.element == ir.FloatType() else (64, 52)
    integers = ir.VectorType(ir.IntType(bits), n.type.count)

    def every(number):
        return ir.Constant(integers, [number] * n.type.count)

    shifted = builder.fadd(n, _large(builder, n.type))  # its lowest bits will raise the exponent of 1
    exponent = builder.shl(builder.bitcast(shifted, integers), every(mantissa))
    one = (2 ** (bits - mantissa - 2) - 1) << mantissa
    return builder.bitcast(builder.add(exponent, every(one)), n.type)


@intrinsic
def power_of_two(typingctx, n):
    """2ⁿ for whole numbers n whose powers are normal numbers; anything for NaN."""
    return _elementwise(n, _power_of_two)


@intrinsic
def scaled(typingctx, a, n):
    """a·2ⁿ for whole numbers n, rounded once; 2ⁿ need not be in range, but its root, and a times that, normal."""

    def by_halves(builder, x, n):
        half = _nearest(builder, builder.fmul(n, _splat(builder, n.type, ir.Constant(n.type.element, 0.5))))
        x = builder.fmul(x, _power_of_two(builder, half))
        return builder.fmul(x, _power_of_two(builder, builder.fsub(n, half)))

    def at_once(builder, x, n):
        name = f"llvm.x86.avx512.mask.scalef.p{'s' if a.dtype == types.float32 else 'd'}.512"
        mask, rounding = ir.Constant(ir.IntType(a.lanes), -1), ir.Constant(ir.IntType(32), 4)  # as the CPU is set
        arguments = [x, n, x, mask, rounding]
        function_type = ir.FunctionType(x.type, [argument.type for argument in arguments])
        return builder.call(cgutils.get_or_insert_function(builder.module, function_type, name), arguments)

    return _elementwise(a, at_once if VECTOR_BYTES == 64 else by_halves, n)


@intrinsic
def widen(typingctx, a):
    """The numbers of a float32 tile as a float64 tile of as many lanes; a float64 tile as it is."""
    if a.dtype == types.float64:
        return a(a), lambda context, builder, signature, args: args[0]
    wide = TileType(types.float64, a.rows, 2 * a.cols)

    def codegen(context, builder, signature, args):
        halves = []
        for vector in _vectors(builder, a, args[0]):
            for half in (range(wide.lanes), range(wide.lanes, a.lanes)):
                order = ir.Constant(ir.VectorType(ir.IntType(32), wide.lanes), list(half))
                part = builder.shuffle_vector(vector, ir.Constant(vector.type, ir.Undefined), order)
                halves.append(builder.fpext(part, _vector_type(wide)))
        return _tile(context, builder, wide, halves)

    return wide(a), codegen


@intrinsic
def total(typingctx, start, a):
    """`start` and all numbers of a tile, added up in ascending order."""

    def codegen(context, builder, signature, args):
        result, tile = args
        for vector in _vectors(builder, a, tile):
            for lane in range(a.lanes):
                result = builder.fadd(result, builder.extract_element(vector, ir.Constant(ir.IntType(32), lane)))
        return result

    return a.dtype(a.dtype, a), codegen


def _by_halves(builder, vectors, operation):
    """What an operation makes of numbers k and k + half of them, again and again until one is left."""
    while len(vectors) > 1:
        half = len(vectors) // 2
        vectors = [operation(builder, *pair) for pair in zip(vectors[:half], vectors[half:], strict=True)]
    (vector,) = vectors
    lanes = half = vector.type.count
    while half > 1:
        half //= 2
        order = ir.Constant(ir.VectorType(ir.IntType(32), lanes), [(lane + half) % lanes for lane in range(lanes)])
        vector = operation(builder, vector, builder.shuffle_vector(vector, vector, order))
    return builder.extract_element(vector, ir.Constant(ir.IntType(32), 0))


@intrinsic
def sum_by_halves(typingctx, a):
    """The sum of all numbers of a tile: of 16, say, first k + (k + 8), then those k + (k + 4), and so on."""

    def codegen(context, builder, signature, args):
        return _by_halves(builder, _vectors(builder, a, args[0]), lambda builder, x, y: builder.fadd(x, y))

    return a.dtype(a), codegen


@intrinsic
def largest(typingctx, a):
    """The largest number of a tile; any where one of them is NaN."""

    def operation(builder, x, y):
        return builder.select(builder.fcmp_ordered("<", x, y), y, x)

    def codegen(context, builder, signature, args):
        return _by_halves(builder, _vectors(builder, a, args[0]), operation)

    return a.dtype(a), codegen


# --- selection ---


@intrinsic
def positive_part(typingctx, a):
    """a where a > 0, +0 where a ≤ 0, NaN where a is NaN."""

    def operation(builder, x):
        zero = ir.Constant(x.type, None)
        return builder.select(builder.fcmp_ordered("<=", x, zero), zero, x)

    return _elementwise(a, operation)


@intrinsic
def where_positive(typingctx, a, b):
    """b where a > 0, else +0 (also where a is NaN)."""

    def operation(builder, x, y):
        zero = ir.Constant(x.type, None)
        return builder.select(builder.fcmp_ordered(">", x, zero), y, zero)

    return _elementwise(a, operation, b)


@intrinsic
def where_less(typingctx, a, b, x, y):
    """x where a < b, else y (also where a or b is NaN)."""

    def operation(builder, a, b, x, y):
        return builder.select(builder.fcmp_ordered("<", a, b), x, y)

    return _elementwise(a, operation, b, x, y)


@intrinsic
def at_most(typingctx, a, limit):
    """a, or the limit where that is less; NaN where a is NaN."""

    def operation(builder, x, limit):
        return builder.select(builder.fcmp_ordered("<", limit, x), limit, x)

    return _elementwise(a, operation, limit)


@intrinsic
def at_least(typingctx, a, limit):
    """a, or the limit where that is greater; NaN where a is NaN."""

    def operation(builder, x, limit):
        return builder.select(builder.fcmp_ordered(">", limit, x), limit, x)

    return _elementwise(a, operation, limit)


@intrinsic
def copy_sign(typingctx, a, b):
    """|a| with the sign of b."""

    def operation(builder, x, y):
        name = f"llvm.copysign.v{a.lanes}f{a.dtype.bitwidth}"
        function = cgutils.get_or_insert_function(builder.module, ir.FunctionType(x.type, [x.type] * 2), name)
        return builder.call(function, [x, y])

    return _elementwise(a, operation, b)


@intrinsic
def sign(typingctx, a):
    """−1, 0 or 1; NaN where a is NaN."""

    def operation(builder, x):
        one, minus_one = (_splat(builder, x.type, ir.Constant(x.type.element, s)) for s in (1.0, -1.0))
        zero = ir.Constant(x.type, None)
        above = builder.select(builder.fcmp_ordered(">", x, zero), one, x)
        return builder.select(builder.fcmp_ordered("<", x, zero), minus_one, above)

    return _elementwise(a, operation)


@intrinsic
def flush(typingctx, a):
    """a, with +0 for subnormal numbers, and for −0: wherever no bit of the exponent is set."""
    bits, exponent = (32, 0x7F800000) if a.dtype == types.float32 else (64, 0x7FF << 52)

    def operation(builder, x):
        integers = ir.VectorType(ir.IntType(bits), a.lanes)
        of_exponent = builder.and_(builder.bitcast(x, integers), ir.Constant(integers, [exponent] * a.lanes))
        small = builder.icmp_unsigned("==", of_exponent, ir.Constant(integers, None))
        return builder.select(small, ir.Constant(x.type, None), x)

    return _elementwise(a, operation)


@intrinsic
def keep_columns(typingctx, a, columns):
    """a in the first `columns` columns of the tile, +0 in those after."""

    def codegen(context, builder, signature, args):
        value, limit = args
        zero = ir.Constant(_vector_type(a), None)
        pairs = zip(_vectors(builder, a, value), _masks(builder, a, limit), strict=True)
        return _tile(context, builder, a, [builder.select(mask, vector, zero) for vector, mask in pairs])

    return a(a, types.intp), codegen


# --- moving between lanes ---


@intrinsic
def transpose(typingctx, like, dst, dst_ld, src, src_ld, src_rows):
    """Copy a square of lanes × lanes numbers, transposed: dst[j, i] = src[min(i, src_rows − 1), j].

    `like` is one vector. Where the source has fewer rows than lanes, its last is read again.
    """

    def codegen(context, builder, signature, args):
        _, target, target_ld, source, source_ld, source_rows = args
        lanes, vector_type = like.lanes, _vector_type(like)

        def address(base, ld, r):
            return _address(builder, base, builder.mul(ld, r), vector_type)

        last = builder.sub(source_rows, ir.Constant(source_rows.type, 1))
        rows = []
        for r in range(lanes):
            r = ir.Constant(last.type, r)
            r = builder.select(builder.icmp_signed("<", r, last), r, last)
            rows.append(builder.load(address(source, source_ld, r), align=_align(like)))
        # Swap the off-diagonal quarters of ever smaller squares: lanes/2, …, 2, 1.
        half = lanes // 2
        while half:
            low = [i if not i & half else lanes + i - half for i in range(lanes)]
            high = [i + half if not i & half else lanes + i for i in range(lanes)]
            for r in range(lanes):
                if not r & half:
                    pair = rows[r], rows[r + half]
                    rows[r], rows[r + half] = (
                        builder.shuffle_vector(*pair, ir.Constant(ir.VectorType(ir.IntType(32), lanes), order))
                        for order in (low, high)
                    )
            half //= 2
        for r, vector in enumerate(rows):
            builder.store(vector, address(target, target_ld, ir.Constant(last.type, r)), align=_align(like))
        return context.get_dummy_value()

    return types.void(like, dst, types.intp, src, types.intp, types.intp), codegen


# --- random bits ---


@intrinsic
def mix(typingctx, number):
    """A hash of 64 bits: the next of splitmix64 (G. L. Steele, D. Lea, C. H. Flood, 2014)."""
    integer = ir.IntType(64)

    def codegen(context, builder, signature, args):
        x = builder.add(args[0], ir.Constant(integer, 0x9E3779B97F4A7C15))
        for shift, factor in (30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB):
            x = builder.xor(x, builder.lshr(x, ir.Constant(integer, shift)))
            x = builder.mul(x, ir.Constant(integer, factor))
        return builder.xor(x, builder.lshr(x, ir.Constant(integer, 31)))

    return types.int64(types.int64), codegen


@intrinsic
def thin(typingctx, vector, key, first, limit):
    """A vector, with +0 where the random bits of a lane, 32 of them, are below `limit`.

    The bits are a hash of the key and of the lane's place, counted from `first`: C. Wellons' triple32, with one half of
    the key before and the other behind its first round. A round less, and places some steps apart are correlated.
    """

    def codegen(context, builder, signature, args):
        bits = ir.VectorType(ir.IntType(32), vector.lanes)
        value, key_, place, least = args

        def every(number):
            return ir.Constant(bits, [number] * vector.lanes)

        def low_bits(number):
            return _splat(builder, bits, builder.trunc(number, ir.IntType(32)))

        def round_of(x, shift, factor):
            return builder.mul(builder.xor(x, builder.lshr(x, every(shift))), every(factor))

        x = builder.add(low_bits(builder.add(place, key_)), ir.Constant(bits, list(range(vector.lanes))))
        x = builder.add(round_of(x, 17, 0xED5AD4BB), low_bits(builder.lshr(key_, ir.Constant(key_.type, 32))))
        x = round_of(round_of(x, 11, 0xAC4C1B51), 15, 0x31848BAB)
        x = builder.xor(x, builder.lshr(x, every(14)))
        left_out = builder.icmp_unsigned("<", x, low_bits(least))
        (numbers,) = _vectors(builder, vector, value)
        kept = builder.select(left_out, ir.Constant(numbers.type, None), numbers)
        return _tile(context, builder, vector, [kept])

    return vector(vector, types.int64, types.intp, types.int64), codegen
