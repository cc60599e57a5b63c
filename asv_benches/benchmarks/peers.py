"""`fit` beside other libraries, where they are installed. `python -m asv_benches.peers` is the careful version."""

from asv_benches.contestants import CONTESTANTS
from asv_benches.threads import one_core
from asv_benches.turns import median_ratio

from .ratios import ROWS, check, trainings


class OverPeer:
    """The time of a step, in percent of what it takes another library."""

    params = (list(CONTESTANTS)[3:], list(ROWS))
    param_names = ("library", "network, batch")
    unit = "% of its time"

    def setup(self, library, row):
        one_core()
        try:
            CONTESTANTS[library](ROWS[row].widths, ROWS[row].batch, *ROWS[row].data(1))
        except ImportError as error:
            raise NotImplementedError(f"{library} is not installed: {error}") from None
        check(ROWS[row])

    def track_fit(self, library, row):
        return 100 * median_ratio(*trainings(ROWS[row], "fit", library))
