"""The most memory that a training run holds, Python, NumPy and Numba included."""

from asv_benches.contestants import CONTESTANTS

from .ratios import BATCHES, ROWS, check


class Training:
    """Two epochs; the smallest networks show what the process takes by itself."""

    params = (("fit", "loop"), list(ROWS))
    param_names = ("way", "network, batch")

    def setup(self, way, row):
        check(ROWS[row])

    def peakmem_training(self, way, row):
        train, _ = CONTESTANTS[way](ROWS[row], BATCHES)
        train(2)
