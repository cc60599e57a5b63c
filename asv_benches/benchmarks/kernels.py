"""Each kernel beside its NumPy twin, on the case table of the tests.

In seconds of CPU, so that other processes count less.
"""

import itertools
import time

from cases import BUILDERS, CASES, NETWORKS

from asv_benches.agreement import agreed_call
from asv_benches.networks import NETWORKS as TRAINED
from fastnp.backend import BACKENDS, kernels_of

DTYPES = ("float32", "float64")
ON_A_TABLE = ("program_forward", "program_backward", "train_batches")
ON_SIZES = tuple(kernel for kernel in BUILDERS if kernel not in ON_A_TABLE)

SIN = TRAINED[0]
SIN_LAYERS = [case for case in CASES if case in [(SIN.batch, *layer) for layer in itertools.pairwise(SIN.widths)]]
LARGE = [case for case in CASES if case.batch * case.n_in * case.n_out >= 2**16]
OTHERS = [case for case in CASES if case not in (*SIN_LAYERS, *LARGE)]
SIZES = {str(case): case for case in (*SIN_LAYERS, *LARGE)}
NAMED = {str(network): network for network in NETWORKS if str(network) in ("sin-4", "chain-5", "wide-33")}


class Size:
    """One call: the layers of the sin network, and the large sizes."""

    timer = time.process_time
    params = (ON_SIZES, list(SIZES), DTYPES, BACKENDS)
    param_names = ("kernel", "batch x in x out", "dtype", "backend")

    def setup(self, kernel, size, dtype, backend):
        self.arguments = agreed_call(kernel, SIZES[size], dtype, backend).arguments.values()
        self.kernel = getattr(kernels_of(backend), kernel)

    def time_call(self, *_):
        self.kernel(*self.arguments)


class Network:
    """One call on a whole network: a pass forward or backward, or two epochs of training."""

    timer = time.process_time
    params = (ON_A_TABLE, list(NAMED), DTYPES, BACKENDS)
    param_names = ("kernel", "network", "dtype", "backend")

    def setup(self, kernel, network, dtype, backend):
        self.arguments = agreed_call(kernel, NAMED[network], dtype, backend).arguments.values()
        self.kernel = getattr(kernels_of(backend), kernel)

    def time_call(self, *_):
        self.kernel(*self.arguments)


class OtherSizes:
    """One call on each of the other sizes of the table, all in one number: odd widths, short and empty batches."""

    timer = time.process_time
    params = (ON_SIZES, DTYPES, BACKENDS)
    param_names = ("kernel", "dtype", "backend")

    def setup(self, kernel, dtype, backend):
        self.calls = [agreed_call(kernel, case, dtype, backend).arguments.values() for case in OTHERS]
        self.kernel = getattr(kernels_of(backend), kernel)

    def time_calls(self, *_):
        for arguments in self.calls:
            self.kernel(*arguments)
