"""What users wait for before the sin training gets going, each measured in a fresh process."""

from asv_benches.agreement import assert_same_training
from asv_benches.contestants.ours import fitted, job_parts
from asv_benches.jobs import JOBS

from . import ROOT

PREPARE = f"""
import sys
sys.path.append({str(ROOT)!r})
from asv_benches.contestants.ours import fit
from asv_benches.jobs import JOBS
import fastnp
train, _ = fit(JOBS[0], 50)
"""
EMPTY_CACHE = """
import os, tempfile
folder = tempfile.TemporaryDirectory()
os.environ["NUMBA_CACHE_DIR"] = folder.name
"""


def job():
    parts = job_parts(JOBS[0], 50)
    return parts[0], fitted(*parts)


class FirstUse:
    """Seconds until a program has done it for the first time."""

    number, repeat, rounds = 1, (2, 5, 10.0), 1

    def setup(self):
        assert_same_training("sin training", job)  # fills the kernel cache of this machine, too

    def timeraw_import_fastnp(self):
        return "import fastnp"

    def timeraw_first_epoch_kernels_cached(self):
        return "train(1)", PREPARE

    def timeraw_first_epoch_compiling(self):
        return "train(1)", EMPTY_CACHE + PREPARE
