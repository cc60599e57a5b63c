"""A network called inside jitted code: one sample, rows, and back; and what compiling such a call takes."""

import time

import numba
import numpy as np

import fastnp
from asv_benches import embedded
from asv_benches.agreement import assert_close
from asv_benches.contestants.ours import fastnp_model

CALLS = 1000


class Embedded:
    """4-64-64-2, float32; seconds of so many calls."""

    timer = time.process_time  # seconds of CPU, so that other processes count less

    def setup(self):
        np.random.seed(0)
        model = fastnp_model(embedded.WIDTHS)
        self.f = fastnp.jit(model)
        self.x = np.random.default_rng(0).standard_normal((embedded.ROWS, embedded.WIDTHS[0]), dtype=np.float32)
        self.sample = self.x[0].copy()
        y = model.predict(self.x)
        assert_close("one sample", np.float32(embedded.of_sample(self.f, self.sample, 1)), y[0, 0])
        assert_close("rows", np.float32(embedded.of_rows(self.f, self.x, 1)), y[0, 0])
        for call in embedded.into, embedded.vjp, embedded.jacobian:
            call(self.f, self.sample, 1)

    def time_one_sample(self):
        embedded.of_sample(self.f, self.sample, CALLS)

    def time_one_sample_into(self):
        embedded.into(self.f, self.sample, CALLS)

    def time_rows(self):
        embedded.of_rows(self.f, self.x, CALLS // 20)

    def time_vjp(self):
        embedded.vjp(self.f, self.sample, CALLS)

    def time_jacobian(self):
        embedded.jacobian(self.f, self.sample, CALLS)


class Compiling:
    """The first call of a function of the user's."""

    timer = time.process_time
    number, warmup_time = 1, 0

    def setup(self):
        np.random.seed(0)
        self.f, self.x = fastnp.jit(fastnp_model(embedded.WIDTHS)), np.zeros(embedded.WIDTHS[0], np.float32)
        numba.njit(lambda x: np.empty(len(x)))(self.x)  # what Numba itself is late with

    def time_first_call(self):
        numba.njit(lambda f, x: f(x))(self.f, self.x)
