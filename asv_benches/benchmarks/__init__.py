"""What `asv run` measures; `asv.conf.json` beside this folder says how.

asv imports this folder as a package of its own, called `benchmarks`, from the working tree, while fastnp is
what is installed in the environment: a wheel of the commit that is measured. Cases and networks come from the
working tree, too. Its root therefore goes to the end of the path: at the front, the working tree's fastnp
would hide the commit's, and every commit would measure the same.
"""

import os
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
for folder in ROOT, ROOT / "tests":
    if str(folder) not in sys.path:
        sys.path.append(str(folder))

from threadpoolctl import threadpool_limits  # noqa: E402

from asv_benches.threads import one_thread  # noqa: E402

one_thread()  # for the processes that benchmarks start
threadpool_limits(1)  # for this one: asv imports NumPy first, and with --python=same sets no variables
os.environ["FASTNP_QUIET"] = "1"
