"""`fit` beside other libraries, where they are installed. `python -m asv_benches.peers` is the careful version."""

from asv_benches.agreement import assert_same_job
from asv_benches.contestants import CONTESTANTS, LIBRARIES
from asv_benches.jobs import JOBS, PLAIN
from asv_benches.threads import one_core
from asv_benches.turns import median_ratio

from .ratios import BATCHES, ROWS, check, trainings

WITH_ADAM = {str(job): job for job in JOBS[len(PLAIN) :] if job.network.batch == 32}
JOBS_HERE = ROWS | WITH_ADAM


class OverPeer:
    """The time of a step, in percent of what it takes another library."""

    params = (list(LIBRARIES), list(JOBS_HERE))
    param_names = ("library", "network, batch")
    unit = "% of its time"

    def setup(self, library, row):
        one_core()
        job, reached = JOBS_HERE[row], []
        for name in library, "fit":
            try:
                train, parameters = CONTESTANTS[name](job, BATCHES)
            except ImportError as error:
                raise NotImplementedError(f"{library} is not installed: {error}") from None
            train(1)
            reached.append(parameters())
        theirs, ours = reached
        assert_same_job(f"{job}: {library}", job, ours, theirs)
        check(job)

    def track_fit(self, library, row):
        return 100 * median_ratio(*trainings(JOBS_HERE[row], "fit", library))
