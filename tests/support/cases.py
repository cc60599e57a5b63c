"""One table of cases: the equality tests and the benchmarks take sizes, networks and arguments from here.

`build(name, case, dtype, …)` gives a `Call` of one part or kernel, its arrays cut out of larger buffers full of NaN.
What the contract in `fastnp.kernels` leaves open is filled with NaN, too: the pads of activations, rows past the
batch, outputs before they are written. Activations, losses and optimizers are those of the public classes.
"""

from typing import Any

import numpy as np
from calls import Call
from declared import ACTIVATIONS
from draws import normal
from loss_cases import OF_LOSSES
from operation_cases import OF_OPERATIONS
from program_cases import ON_NETWORKS as PROGRAMS
from rule_cases import OF_RULES
from sizes import PLAIN_NETWORKS, Network
from step_cases import STEPS_OF_NETWORKS, STEPS_OF_SIZES

DTYPES = (np.float32, np.float64)

NETWORKS = PLAIN_NETWORKS + [
    Network(f"{name}-{place}", *network)
    for name in ACTIVATIONS
    if name != "relu"  # which the others have
    for place, network in (
        ("between", (3, (17, name, 20, name, 2), 5)),
        ("around", (4, (name, name, 9, name, name, "relu", 6, name), 3)),
        ("alone", (6, (name,), 4)),
    )
]

ON_SIZES = OF_OPERATIONS | OF_LOSSES | OF_RULES | STEPS_OF_SIZES
ON_NETWORKS = PROGRAMS | STEPS_OF_NETWORKS
BUILDERS = ON_SIZES | ON_NETWORKS


def build(
    name: str, case: Any, dtype: Any, *, seed: int = 0, draw: Any = normal, offset: int = 1, **options: Any
) -> Call:
    """A call of a part for a `Case`, or of a kernel for a `Network`.

    `options` are those of its builder. The same seed gives the same numbers. `offset` = 0 aligns all arrays to
    cache lines.
    """
    call = Call(name, dtype, offset)
    BUILDERS[name](call, case, np.random.default_rng(seed), draw, **options)
    return call
