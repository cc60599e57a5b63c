"""What kernels must compute, in higher precision, from the arguments of a call."""

import bounds
import numpy as np


def check_pads(view, n):
    """The columns after n are +0."""
    assert bounds.same_bits(view[:, n:], np.zeros_like(view[:, n:]))


def forward_reference(call):
    batch, n_in = call["batch"], call["n_in"]
    reference = bounds.product(call["x"][:batch, :n_in], call["w"], call["b"])
    return bounds.positive_part(reference) if call["rectified"] else reference


def input_reference(call):
    batch, n_in, n_out = call["batch"], call["n_in"], call["n_out"]
    reference = bounds.product(call["dy"][:batch, :n_out], call["w"][:, :n_out].T)
    if not call["masked"]:
        return reference
    mask = call["x"][:batch, :n_in] > 0
    return reference._replace(value=reference.value * mask, magnitude=reference.magnitude * mask)


def parameter_references(call, dw=None, db=None):
    """Of dw and db, added to the given ones; called before the kernel runs where it adds."""
    batch, n_in, n_out = call["batch"], call["n_in"], call["n_out"]
    x, dy = call["x"][:batch, :n_in], call["dy"][:batch, :n_out]
    ones = np.ones((1, batch), dy.dtype)
    return bounds.product(x.T, dy, dw), bounds.product(ones, dy, db)
