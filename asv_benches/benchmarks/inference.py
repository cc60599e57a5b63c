"""How long `predict` takes: one row in a control loop, a batch, a whole evaluation; and `model(x)` for one row."""

import time

import numpy as np

from asv_benches.agreement import assert_close
from asv_benches.contestants.ours import fastnp_model
from asv_benches.latency import SAMPLED
from asv_benches.networks import NETWORKS
from fastnp.backend import BACKENDS, set_backend, use_backend


def agreed_model(widths, x):
    """A model, once the backends have agreed on what it gives for x."""
    np.random.seed(0)
    model = fastnp_model(widths)
    for call in model.predict, model:
        results = []
        for backend in BACKENDS:
            with use_backend(backend):
                results.append(call(x))
        assert_close(f"{widths}, {len(x)} rows", *results)
    return model


class Predict:
    """The sin network, float32."""

    timer = time.process_time  # seconds of CPU, so that other processes count less
    params = ((1, 32, 1000), BACKENDS)
    param_names = ("rows", "backend")

    def setup(self, rows, backend):
        widths = NETWORKS[0].widths
        self.x = np.random.default_rng(0).standard_normal((rows, widths[0]), dtype=np.float32)
        self.model = agreed_model(widths, self.x)
        set_backend(backend)

    def time_predict(self, *_):
        self.model.predict(self.x)


class OneSample:
    """Both ways to the output for one sample, float32."""

    timer = time.process_time
    params = (list(SAMPLED), BACKENDS)
    param_names = ("network", "backend")

    def setup(self, row, backend):
        widths = SAMPLED[row]
        self.x = np.random.default_rng(0).standard_normal((1, widths[0]), dtype=np.float32)
        self.model = agreed_model(widths, self.x)
        set_backend(backend)

    def time_call(self, *_):
        self.model(self.x)

    def time_predict(self, *_):
        self.model.predict(self.x)
