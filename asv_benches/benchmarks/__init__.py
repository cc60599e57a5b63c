"""What `asv run` measures; `asv.conf.json` beside this folder says how.

asv imports this folder as a package of its own, called `benchmarks`, from the working tree, while fastnp is
what is installed in the environment: a wheel of the commit that is measured. Cases and networks come from the
working tree, too. Its root therefore goes to the end of the path: at the front, the working tree's fastnp
would hide the commit's, and every commit would measure the same.

A call of a microsecond is timed many at a time. From asv_runner 0.3 on, a benchmark that has a setup gets one
cold call for each sample, between two readings of the clock, which together take longer than most kernels.
"""

import os
import sys
from importlib.metadata import version
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
for folder in ROOT, ROOT / "tests" / "support":
    if str(folder) not in sys.path:
        sys.path.append(str(folder))

if tuple(map(int, version("asv_runner").split(".")[:2])) >= (0, 3):
    raise ImportError(
        f"asv_runner {version('asv_runner')} times a single cold call; these benchmarks need 0.2.5: "
        "pip install -e '.[bench]', and remove .asv/env if asv made it earlier"
    )

from threadpoolctl import threadpool_limits  # noqa: E402

from asv_benches.threads import one_thread  # noqa: E402

one_thread()  # for the processes that benchmarks start
threadpool_limits(1)  # for this one: asv imports NumPy first, and with --python=same sets no variables
os.environ["FASTNP_QUIET"] = "1"
