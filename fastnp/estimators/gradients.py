"""How the outputs of a network change with its inputs."""

import copy
from typing import Any

import numpy as np

from .network import Network
from .rows import dense_pieces


def of_outputs(network: Network, X: Any) -> tuple[np.ndarray, np.ndarray]:
    """The outputs for X, (rows, outputs), and the gradients of each with respect to X, (rows, outputs, features)."""
    model = copy.deepcopy(network.model).eval()  # whose state, and gradients, nobody else has
    pieces = [_of_rows(model, piece) for piece in dense_pieces(X)]
    outputs, gradients = zip(*pieces, strict=True)
    return np.concatenate(outputs), np.concatenate(gradients)


def _of_rows(model: Any, X: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    outputs = model(X)
    rows, n = outputs.shape
    gradients = np.empty((rows, n, X.shape[1]), outputs.dtype)
    for i in range(n):
        one = np.zeros_like(outputs)
        one[:, i] = 1
        gradients[:, i] = model.backward(one)
    return outputs, gradients
