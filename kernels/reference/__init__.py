"""The kernels in plain NumPy: what the compiled ones are checked against, and what runs where there is no Numba.

Like compiled kernels they compute with infinity and NaN without a warning.
"""
