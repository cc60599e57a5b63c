"""The kernels as Numba compiles them. The other wing, `reference`, has the same names in NumPy."""
