"""`fit` beside other libraries, where they are installed. `python -m asv_benches.peers` is the careful version."""

from asv_benches.contestants import CONTESTANTS
from asv_benches.threads import one_core
from asv_benches.turns import median_ratio

from .ratios import ROWS, check, trainings


class OverPeer:
    """How many times as many steps a second as another library."""

    params = (list(CONTESTANTS)[3:], list(ROWS))
    param_names = ("library", "network, batch")
    unit = "times as fast"

    def setup(self, library, row):
        one_core()
        try:
            CONTESTANTS[library](ROWS[row].widths, ROWS[row].batch, *ROWS[row].data(1))
        except ImportError as error:
            raise NotImplementedError(f"{library} is not installed: {error}") from None
        check(ROWS[row])

    def track_fit(self, library, row):
        return median_ratio(*trainings(ROWS[row], library, "fit"))
