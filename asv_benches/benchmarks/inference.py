"""How long `predict` takes: one row in a control loop, a batch, a whole evaluation."""

import time

import numpy as np

from asv_benches.agreement import assert_close
from asv_benches.contestants.ours import fastnp_model
from asv_benches.networks import NETWORKS
from fastnp.backend import BACKENDS, set_backend, use_backend


class Predict:
    """The sin network, float32."""

    timer = time.process_time  # seconds of CPU, so that other processes count less
    params = ((1, 32, 1000), BACKENDS)
    param_names = ("rows", "backend")

    def setup(self, rows, backend):
        widths = NETWORKS[0].widths
        np.random.seed(0)
        self.model = fastnp_model(widths)
        self.x = np.random.default_rng(0).standard_normal((rows, widths[0]), dtype=np.float32)
        results = []
        for name in BACKENDS:
            with use_backend(name):
                results.append(self.model.predict(self.x))
        assert_close(f"predict, {rows} rows", *results)
        set_backend(backend)

    def time_predict(self, *_):
        self.model.predict(self.x)
