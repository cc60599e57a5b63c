"""L-BFGS: SciPy's minimizer over all parameters at once."""

from typing import Any

import numpy as np
import scipy.optimize
from sklearn.exceptions import ConvergenceWarning

from ..arrays import aligned_zeros
from ..backend import kernels
from ..kernels.table import SUM
from ..program.op import Job
from ..warned import warn
from .network import Network
from .objective import Objective
from .rows import Rows, RowStage, rows_in_piece

BATCH = 256  # rows that a kernel works on together


class Whole:
    """The loss over all rows, and its gradient, as functions of all parameters in one array: coefs, then intercepts."""

    def __init__(self, network: Network, objective: Objective, rows: Rows):
        X, _, Y, weight = rows
        program = network.model.whole_program()
        assert program is not None  # all of it is of the library's own
        self._network, self._objective, self._program = network, objective, program
        self._stage = RowStage(program, objective.loss_fn, X, Y, weight)
        count, step = X.shape[0], rows_in_piece(X)
        self._pieces = [np.arange(start, min(start + step, count)) for start in range(0, count, step)]
        self._stage.make_room(min(step, count))
        self._stage.put(self._pieces[0], 0)
        self._numbers = objective.loss_fn._numbers_as(program.dtype, program.n_out)
        part = kernels().parts[f"{objective.loss_fn._part(Y.shape)}.sum", program.dtype.char]
        self._job = Job(part, min(BATCH, step, count), 0, 0, SUM)
        self._count = float(count if weight is None else np.sum(weight, dtype=np.float64))
        constants = objective.constants(Y, weight)
        self._constant = 0.0 if constants is None else float(np.sum(constants))
        self._gradients = aligned_zeros(program.arena.data.size, program.dtype)
        tensors = [linear.weights for linear in network.linears], [linear.bias for linear in network.linears]
        self._places = [t._layout.view(self._gradients, t._place.offset) for kind in tensors for t in kind]

    def __call__(self, parameters: np.ndarray) -> tuple[float, np.ndarray]:
        """The loss and its gradient."""
        objective, data = self._objective, (self._numbers, self._stage.x, self._stage.y)
        set_parameters(self._network, parameters)
        total, gradient = 0.0, np.zeros(parameters.size)
        for piece in self._pieces:
            if len(self._pieces) > 1:
                self._stage.put(piece, 0)
            total += self._program.loss_and_gradients(self._gradients, self._job._replace(rows=len(piece)), data)
            gradient += np.concatenate([view.ravel() for view in self._places])
        size = sum(view.size for view in self._network.coefs)
        weights = parameters[:size]
        gradient[:size] += objective.alpha * weights
        value = total / objective.outputs + 0.5 * objective.alpha * float(weights @ weights) + self._constant
        return value / self._count, gradient / self._count


def set_parameters(network: Network, parameters: np.ndarray) -> None:
    """Take over all parameters from one array."""
    start = 0
    for view in network.views():
        view[...] = parameters[start : start + view.size].reshape(view.shape)
        start += view.size


def minimize(
    whole: Whole, network: Network, max_iter: int, max_fun: int, tol: float, verbose: bool
) -> tuple[int, float]:
    """Minimize; returns how many iterations were made, and the loss. Warns where it has not converged.

    Source: R. H. Byrd, P. Lu, J. Nocedal, "A limited memory algorithm for bound constrained optimization" (1995).
    """
    made = 0

    def tell(intermediate_result: Any) -> None:
        nonlocal made
        made += 1
        print(f"Iteration {made}, loss = {intermediate_result.fun:.8f}")

    start = np.concatenate([view.ravel() for view in network.views()]).astype(np.float64)
    options = {"maxfun": max_fun, "maxiter": max_iter, "gtol": tol}
    callback = tell if verbose else None
    result = scipy.optimize.minimize(whole, start, jac=True, method="L-BFGS-B", options=options, callback=callback)
    set_parameters(network, result.x)
    if result.status:
        warn(
            f"lbfgs failed to converge after {result.nit} iteration(s) (status={result.status}):\n{result.message}\n\n"
            f"Increase the number of iterations (max_iter={max_iter}), allow more evaluations of the loss (max_fun) or "
            "scale the data, as with sklearn.preprocessing.StandardScaler",
            ConvergenceWarning,
            through=("sklearn",),
        )
    return min(int(result.nit), max_iter), np.float64(result.fun)
