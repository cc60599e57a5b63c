"""Dropout: a part of the numbers is left out, another in each step."""

import copy
from typing import Any

import numpy as np

from ..checks import check_flag, check_generator, check_share, generator
from ..program.op import Kind, Noise, Op
from ..program.program import Program
from .rowwise import RowWise


class Dropout(RowWise):
    """y = x / (1 − p), or 0 with probability p, for x of any shape, in training; else y = x.

    Args:
        p: at least 0 and below 1; it may be changed at any time.
        rng: a numpy.random.Generator; by default NumPy's global one, which `np.random.seed(n)` fixes.

    In training each `forward` leaves out other numbers: which, is a hash of a seed, drawn when the layer is made, of
    how often it drew, and of a number's place in the batch. Copies go on with the same sequence by themselves, but
    those that come to stand in one `Sequential` get seeds of their own. `backward` multiplies the gradient as the last
    `forward` did its input. After `eval()`, and in `predict` at any time, nothing is left out. Computes in float64
    where x is float64 or the layers around it in a `Sequential` are, else in float32.

    Raises TypeError or ValueError for another p; TypeError for another rng; ValueError for backward before forward or
    with another shape than the last output's. Source: N. Srivastava, G. Hinton, A. Krizhevsky, I. Sutskever,
    R. Salakhutdinov, "Dropout: a simple way to prevent neural networks from overfitting" (2014).
    """

    _kernel_kind = Kind("dropout.dropout", in_place=True, memory=3)

    def __init__(self, p: float = 0.5, rng: np.random.Generator | None = None, name: str = "dropout"):
        super().__init__(name)
        p = check_share(type(self).__name__, "p", p)
        source = generator(check_generator(type(self).__name__, "rng", rng))
        self._noise = Noise(int.from_bytes(source.bytes(8), "little") >> 1, p)

    def _drawing(self) -> Noise:
        if self._noise is None:
            raise AttributeError(f"{type(self).__name__} has no seed: its __init__ must call super().__init__(p)")
        return self._noise

    @property
    def p(self) -> float:
        return self._drawing().share

    @p.setter
    def p(self, value: Any) -> None:
        self._drawing().share = check_share(type(self).__name__, "p", value)

    @property
    def training(self) -> bool:  # type: ignore[override]  # programs ask the noise, and nobody else
        return self._drawing().training

    @training.setter
    def training(self, value: Any) -> None:
        self._drawing().training = check_flag(type(self).__name__, "training", value)

    def _program(self, rows: np.ndarray) -> Program:
        if type(self) is not Dropout:  # p and training may be redefined
            noise = self._drawing()
            noise.share, noise.training = check_share(type(self).__name__, "p", self.p), bool(self.training)
        return super()._program(rows)

    def _what(self) -> tuple[Any, ...]:
        return None, self._part(), self._drawing().seed

    def _op(self, n_in: int) -> Op:
        of = self._kernel_kind, self._part(), str(self.name)
        return Op(*of, n_in, n_in, self._state_ref(), noise=self._drawing())

    def __repr__(self) -> str:
        if self._noise is None:  # half made
            return super().__repr__()
        name = "" if self.name == "dropout" else f", name={self.name!r}"
        return f"{type(self).__name__}(p={self.p:g}{name})"

    def __getstate__(self) -> dict[str, Any]:
        return super().__getstate__() | {"_noise": copy.copy(self._noise)}  # a copy draws by itself
