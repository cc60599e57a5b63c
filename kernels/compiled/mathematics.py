"""Elementary functions of tiles.

eˣ by x = n·ln 2 + r with |r| ≤ ½ ln 2, taken away in two steps so that nothing is lost; e^r − 1 = r + r²·P(r), where P
is the polynomial of least greatest error; then eˣ = 2ⁿ·(1 + (e^r − 1)).
(W. J. Cody, W. Waite, "Software Manual for the Elementary Functions", 1980.)
"""

from ._jit import inlined
from .simd import add, constant, fma, multiply, polynomial, power_of_two, splat, subtract, where_less

_tail = polynomial(  # (e^r − 1 − r) / r²
    (0.5, 0.166665763055606383, 0.0416665537625676384, 0.00836329275303060231, 0.00139263256181334621),
    (
        0.5, 0.166666666666666711, 0.0416666666666666698, 0.00833333333332602495, 0.00138888888888836696,
        0.000198412698752050768, 0.0000248015873258222821, 2.7557254913486702e-6, 2.75572732955397243e-7,
        2.51054191920163364e-8, 2.09148313513804106e-9,
    ),
)  # fmt: skip


@inlined
def _nearest(x):
    """x rounded to a whole number, for |x| < 2²²."""
    large = constant(x, 12582912.0, 6755399441055744.0)  # 1.5·2²³ and 1.5·2⁵²: there numbers are 1 apart
    return subtract(add(x, large), large)


@inlined
def _clamped(x, low, high):
    """x, or the bound that it is beyond; NaN for NaN."""
    return where_less(x, low, low, where_less(high, x, high, x))


@inlined
def expm1(x):
    """eˣ − 1, also for small x. Above 43 it is that of 43; below −80 (float64: −700), −1."""
    x = _clamped(x, constant(x, -80.0, -700.0), splat(x, 43.0))
    n = _nearest(multiply(x, splat(x, 1.4426950408889634)))
    r = fma(n, constant(x, -0.693359375, -6.93147180369123816490e-01), x)
    r = fma(n, constant(x, 2.12194440e-4, -1.90821492927058770002e-10), r)
    q = fma(multiply(r, r), _tail(r), r)
    power = power_of_two(n)
    return fma(power, q, subtract(power, splat(x, 1.0)))
