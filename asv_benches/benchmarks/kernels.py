"""Each kernel beside its NumPy twin, on the case table of the tests.

In seconds of CPU, so that other processes count less.
"""

import itertools
import time

from sizes import CASES, PLAIN_NETWORKS

from asv_benches.layouts import ON_NETWORKS, ON_SIZES, agreed_call
from asv_benches.networks import NETWORKS as TRAINED
from fastnp.backend import BACKENDS

DTYPES = ("float32", "float64")

SIN = TRAINED[0]
SIN_LAYERS = [case for case in CASES if case in [(SIN.batch, *layer) for layer in itertools.pairwise(SIN.widths)]]
LARGE = [case for case in CASES if case.batch * case.n_in * case.n_out >= 2**16]
OTHERS = [case for case in CASES if case not in (*SIN_LAYERS, *LARGE)]
SIZES = {str(case): case for case in (*SIN_LAYERS, *LARGE)}
NAMED = {str(network): network for network in PLAIN_NETWORKS if str(network) in ("sin-4", "chain-5", "wide-33")}


class Size:
    """One call: the layers of the sin network, and the large sizes."""

    timer = time.process_time
    params = (ON_SIZES, list(SIZES), DTYPES, BACKENDS)
    param_names = ("kernel", "batch x in x out", "dtype", "backend")

    def setup(self, kernel, size, dtype, backend):
        self.call = agreed_call(kernel, SIZES[size], dtype, backend)

    def time_call(self, *_):
        self.call()


class Network:
    """One call on a whole network: a pass forward or backward, or two epochs of training, watched or not."""

    timer = time.process_time
    params = (ON_NETWORKS, list(NAMED), DTYPES, BACKENDS)
    param_names = ("kernel", "network", "dtype", "backend")

    def setup(self, kernel, network, dtype, backend):
        self.call = agreed_call(kernel, NAMED[network], dtype, backend)

    def time_call(self, *_):
        self.call()


class OtherSizes:
    """One call on each of the other sizes of the table, all in one number: odd widths, short and empty batches."""

    timer = time.process_time
    params = (ON_SIZES, DTYPES, BACKENDS)
    param_names = ("kernel", "dtype", "backend")

    def setup(self, kernel, dtype, backend):
        self.calls = [agreed_call(kernel, case, dtype, backend) for case in OTHERS]

    def time_calls(self, *_):
        for call in self.calls:
            call()
