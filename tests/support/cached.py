"""Kernels called in processes of their own, with a cache folder of their own."""

import os
import subprocess
import sys
from pathlib import Path

import fastnp

# Small kernels compile in about a second.
CALL = """
from types import SimpleNamespace
import numpy as np
from fastnp.kernels.alone import Alone
from fastnp.kernels.compiled import link, run
kernels = SimpleNamespace(forward=run.forward, parts=link.parts)
relu = Alone("activations.relu", 2, 16, 16, np.float32)
relu.x[...] = np.linspace(-1, 1, 32, dtype=np.float32).reshape(2, 16)
relu.call(kernels, "forward")
assert np.array_equal(relu.y, np.maximum(relu.x, 0)), relu.y
"""


def run(code, cache, path=Path(fastnp.__file__).parents[1], **environment):
    """Run Python code in a new process, which writes no byte code; returns its stderr, and fails where it fails."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("FASTNP_")}
    env.update(environment, NUMBA_CACHE_DIR=str(cache), PYTHONDONTWRITEBYTECODE="1")
    env["PYTHONPATH"] = os.pathsep.join(filter(None, [str(path), os.environ.get("PYTHONPATH")]))
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""
    return done.stderr


def files(cache):
    """The files of a cache folder, with the time and size of each."""
    return {path: (path.stat().st_mtime_ns, path.stat().st_size) for path in cache.rglob("*") if path.is_file()}


def assert_announced_once(stderr):
    (line,) = stderr.splitlines()
    assert line.startswith("fastnp: compiling kernels ")
    assert "once" not in line
