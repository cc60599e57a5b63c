"""Elementary functions of tiles.

eˣ by x = n·ln 2 + r with |r| ≤ ½ ln 2, taken away in two steps so that nothing is lost; e^r − 1 = r + r²·P(r), where P
is the polynomial of least greatest error; then eˣ = 2ⁿ·(1 + (e^r − 1)).
(W. J. Cody, W. Waite, "Software Manual for the Elementary Functions", 1980.)

What vanishes with eˣ is computed from its significand, and 2ⁿ multiplied last: a result that is a normal number is not
made of subnormal ones. Where all vanishes, the exponential of 0 is taken and put out again: CPUs take twenty times as
long for what underflows, and this would slow down any network whose inputs are large. NaN gives NaN: `where_less` picks
its last argument where it meets one.
"""

from ._jit import inlined
from .simd import (
    absolute,
    add,
    at_least,
    at_most,
    constant,
    copy_sign,
    divide,
    fma,
    multiply,
    nearest,
    negative,
    polynomial,
    power_of_two,
    scaled,
    splat,
    subtract,
    where_less,
)  # fmt: skip

_exp_tail = polynomial(  # (e^r − 1 − r) / r²
    (0.5, 0.166665763055606383, 0.0416665537625676384, 0.00836329275303060231, 0.00139263256181334621),
    (
        0.5, 0.166666666666666711, 0.0416666666666666698, 0.00833333333332602495, 0.00138888888888836696,
        0.000198412698752050768, 0.0000248015873258222821, 2.7557254913486702e-6, 2.75572732955397243e-7,
        2.51054191920163364e-8, 2.09148313513804106e-9,
    ),
)  # fmt: skip
_artanh_tail = polynomial(  # (2·artanh(t/2) − t) / t³, of t²
    (
        0.333333336602637062 / 4, 0.199998531659648587 / 16, 0.142961789971514189 / 64, 0.108532879004401863 / 256,
        0.116121646120116744 / 1024,
    ),
    (
        0.333333333333333334 / 4, 0.199999999999997613 / 16, 0.142857142858000496 / 64, 0.111111110991183853 / 256,
        0.0909090994898135719 / 1024, 0.0769227198243027464 / 4096, 0.0666758931572462792 / 4**7,
        0.0586713953065159873 / 4**8, 0.0542258919744000741 / 4**9, 0.0374607189777538365 / 4**10,
        0.0781528890046142522 / 4**11,
    ),
)  # fmt: skip
_mills = polynomial(  # Φ(−a)·e^(a²/2) / (1 − v), of v − ⅜: v = a / (a + 3.75) for a < 14.6, a / (a + 5) for a < 38.8
    (
        0.245843099448, -0.42419359827, 0.512214091774, -0.398752114495, 0.136219770145, 0.0660008297079,
        -0.0731275691579, -0.0128775909182, 0.0302720467367,
    ),
    (
        0.19442231736889948, -0.3934452078653624, 0.6435288606391502, -0.8457684416972802, 0.8712444730990295,
        -0.660898732911879, 0.30590717899412445, -0.0034595248558675173, -0.10430258688989444,
        0.04923216107411522, 0.024454816056933962, -0.027873791554539177, -0.005772966154961287,
        0.013971211147780941, 0.0021892648918738194, -0.007219301665692959, -0.0016623024124520023,
        0.0038679923822891333, 0.0013975976512029431, -0.0020644069868491995, -0.0007147293780378367,
        0.0008471386360310475,
    ),
)  # fmt: skip


# So far from 0 that e^−|x| is below the precision of all that it is added to, but its products do not underflow; in
# float32 and in float64.
FAR, FARTHER = 64.0, 640.0


@inlined
def within(x):
    """x, or the nearest number that is no farther from 0 than that."""
    return at_least(at_most(x, constant(x, FAR, FARTHER)), constant(x, -FAR, -FARTHER))


@inlined
def _reduced(x, rest):
    """n and e^r − 1, where x + rest = n·ln 2 + r, for |x| of some hundreds, and a rest that is little beside it."""
    n = nearest(multiply(x, splat(x, 1.4426950408889634)))
    r = fma(n, constant(x, -0.693359375, -6.93147180369123816490e-01), x)
    r = fma(n, constant(x, 2.12194440e-4, -1.90821492927058770002e-10), add(r, rest))
    return n, fma(multiply(r, r), _exp_tail(r), r)


@inlined
def _exponential(x):
    """f and n, where eˣ = f·2ⁿ and f is about 1."""
    n, q = _reduced(x, splat(x, -0.0))
    return add(q, splat(x, 1.0)), n


@inlined
def exp(x):
    """eˣ: ∞ where it overflows; where it underflows subnormal, then 0."""
    zero, low = splat(x, 0.0), constant(x, -104.0, -745.2)
    f, n = _exponential(where_less(x, low, zero, at_most(x, constant(x, 89.0, 710.0))))
    return where_less(x, low, zero, scaled(f, n))


@inlined
def exp_of_negative(x):
    """eˣ for x ≤ 0; 0 where that is no normal number."""
    zero, low = splat(x, 0.0), constant(x, -87.3, -708.3)
    f, n = _exponential(where_less(x, low, zero, x))
    return where_less(x, low, zero, multiply(f, power_of_two(n)))


@inlined
def _decay(x, limit):
    """e^−|x|; 0 where |x| is beyond the limit."""
    size, zero = absolute(x), splat(x, 0.0)
    f, n = _exponential(negative(where_less(limit, size, zero, size)))
    return where_less(limit, size, zero, scaled(f, n))


@inlined
def expm1(x):
    """eˣ − 1, also for small x. Above 43 it is that of 43; below −80 (float64: −700), −1."""
    n, q = _reduced(at_least(at_most(x, splat(x, 43.0)), constant(x, -80.0, -700.0)), splat(x, -0.0))
    power = power_of_two(n)
    return fma(power, q, subtract(power, splat(x, 1.0)))


@inlined
def tanh(x):
    """(e²ˣ − 1) / (e²ˣ + 1)"""
    e = expm1(add(x, x))
    return copy_sign(divide(e, add(e, splat(x, 2.0))), x)  # −0 for −0


@inlined
def sigmoid(x):
    """1 / (1 + e⁻ˣ), below 0 as eˣ / (eˣ + 1)"""
    e, one = _decay(x, constant(x, 104.0, 745.2)), splat(x, 1.0)
    return divide(where_less(x, splat(x, 0.0), e, one), add(e, one))


@inlined
def positive_less(x, tail):
    """max(x, 0) − tail, where that is of the sign of x, as zeros are, too; NaN for NaN.

    The sign is copied: of two zeros, some versions of LLVM take either for the larger.
    """
    zero = splat(x, 0.0)
    return copy_sign(subtract(where_less(x, zero, zero, x), tail), x)


@inlined
def gated(x, z, limit):
    """x·sigmoid(z), for z of the sign of x: max(x, 0) − |x|·sigmoid(−|z|), the latter 0 for |z| beyond the limit."""
    size, zero = absolute(z), splat(x, 0.0)
    f, n = _exponential(negative(where_less(limit, size, zero, size)))
    share = divide(multiply(absolute(x), f), add(scaled(f, n), splat(x, 1.0)))
    return positive_less(x, where_less(limit, size, zero, scaled(share, n)))


@inlined
def gated_slope(x, z, dz):
    """The derivative of x·sigmoid(z), where that of z is dz, which must be finite; 0 or 1 where |z| is far.

    At −|x| it is s·(1 − |x|·dz·(1 − s)), where s = sigmoid(−|z|); at |x|, 1 less that.
    """
    e, one = _decay(z, constant(z, FAR, FARTHER)), splat(x, 1.0)
    share = divide(one, add(e, one))  # 1 − s, and s without losing digits:
    s = multiply(e, share)
    rise = multiply(at_most(absolute(x), constant(x, FAR, FARTHER)), dz)
    left = fma(negative(multiply(rise, share)), s, s)
    return where_less(x, splat(x, 0.0), left, subtract(one, left))


@inlined
def log1p(u):
    """log(1 + u) for 0 ≤ u ≤ 1: 2·artanh(t/2), where t = 2u / (2 + u)."""
    t, least = divide(add(u, u), add(u, splat(u, 2.0))), splat(u, 1e-9)  # below, t is all of it, and t² may underflow
    large = at_least(t, least)
    square = multiply(large, large)
    return where_less(t, least, t, fma(multiply(large, square), _artanh_tail(square), large))


@inlined
def softplus(x):
    """log(1 + eˣ) = max(x, 0) + log(1 + e^−|x|)"""
    zero = splat(x, 0.0)
    return add(where_less(x, zero, zero, x), log1p(_decay(x, constant(x, 104.0, 745.2))))


@inlined
def normal_tail(x):
    """Tiles a, t, b, n: Φ(−a) = t·2ⁿ and e^(−a²/2) = b·2ⁿ, where a = |x|, and Φ is the normal distribution function.

    Beyond 12 (float64: 37), where Φ(−a) is far below the precision of all that it is added to, it is taken for 0, and
    so is a. Φ(−a)·e^(a²/2) is smooth in v = a / (a + K), and divided by 1 − v hardly changes; what rounding takes from
    −a²/2 and from v is brought back. (M. M. Shepherd, J. G. Laframboise, "Chebyshev approximation of (1 + 2x) exp(x²)
    erfc x in 0 ≤ x < ∞", 1981.)
    """
    size, limit, zero = absolute(x), constant(x, 12.0, 37.0), splat(x, 0.0)
    a = where_less(limit, size, zero, size)
    half = multiply(a, splat(a, -0.5))
    square = multiply(a, half)
    n, q = _reduced(square, fma(a, half, negative(square)))
    shift = constant(a, 3.75, 5.0)
    whole = add(a, shift)
    v = divide(a, whole)
    rest = fma(negative(v), subtract(a, subtract(whole, shift)), fma(negative(v), whole, a))  # lost in these two lines
    ratio = _mills(subtract(v, splat(v, 0.375)))
    ratio = fma(negative(v), ratio, ratio)
    tail = fma(fma(rest, splat(a, -0.5625), q), ratio, ratio)  # the ratio changes by about so much where v does
    return a, where_less(limit, size, zero, tail), add(q, splat(q, 1.0)), n
