"""Kernels called in processes of their own, with a cache folder of their own."""

import os
import subprocess
import sys
from pathlib import Path

import fastnp

# Small kernels compile in about a second.
CALL = """
import numpy as np
from fastnp.kernels.relu import relu_forward, relu_backward
x = np.linspace(-1, 1, 32, dtype=np.float32).reshape(2, 16)
y = np.full_like(x, np.nan)
relu_forward(y, x)
assert np.array_equal(y, np.maximum(x, 0)), y
relu_backward(y, x, y)
assert np.array_equal(y, np.maximum(x, 0)), y
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
