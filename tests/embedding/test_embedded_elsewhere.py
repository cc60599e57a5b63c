"""Networks inside jitted code in processes of their own: threads, Numba's cache, SciPy, machines without Numba."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import fastnp

ROOT = Path(fastnp.__file__).parents[1]

BEGIN = """
import sys, threading, warnings
import numba as nb, numpy as np
import fastnp as nn

def made(dtype=np.float32, *widths):
    rng, layers = np.random.default_rng(0), []
    for n_in, n_out in zip(widths, widths[1:]):
        layers += [nn.Linear(n_in, n_out, weight_attr=nn.HeNormal(rng=rng), dtype=dtype), nn.Tanh()]
    return nn.Sequential(*layers[:-1])

"""


def run(code, folder, *options, **environment):
    """Run Python code as a file in a folder; returns what it prints, and fails where it fails."""
    file = folder / "program.py"
    if not file.exists():  # else the same as before, and Numba looks at when it was written
        file.write_text(BEGIN + code, encoding="utf-8")
    env = {name: value for name, value in os.environ.items() if not name.startswith(("FASTNP_", "NUMBA_"))}
    env |= {"FASTNP_QUIET": "1", "PYTHONPATH": str(ROOT)} | environment
    done = subprocess.run(
        [sys.executable, *options, str(file)], env=env, cwd=folder, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


@pytest.mark.parametrize("as_global", [False, True])
def test_prange(as_global, tmp_path):
    signature = "x, out" if as_global else "f, x, out"
    code = f"""
f = nn.jit(model := made(np.float32, 4, 30, 2))

@nb.njit(parallel=True)
def by_rows({signature}):
    for i in nb.prange(len(x)):
        out[i] = f(x[i])

@nb.njit(parallel=True)
def into({signature}):
    for part in nb.prange(8):
        work = f.workspace()
        for i in range(part, len(x), 8):
            f.into(out[i], x[i], work)

@nb.njit(parallel=True)
def gradients({signature}):
    ones = np.ones(2, np.float32)
    for i in nb.prange(len(x)):
        y, dx = f.vjp(x[i], ones)
        z, jacobian = f.jacobian(x[i])
        out[i, 0], out[i, 1] = dx[0], jacobian[0, 0] + jacobian[1, 0]

nb.set_num_threads(2)
x = np.random.default_rng(1).normal(size=(1000, 4)).astype(np.float32)
expected, gradient = model.predict(x), f.vjp(x, np.ones((1000, 2)))[1]
for _ in range(5):
    for function in by_rows, into:
        out = np.zeros((1000, 2), np.float32)
        function({signature})
        assert (out == expected).all()
    gradients({signature})
    assert (out[:, 0] == gradient[:, 0]).all()
    np.testing.assert_allclose(out[:, 1], gradient[:, 0], rtol=1e-3, atol=1e-6)
print("done")
"""
    assert run(code, tmp_path, NUMBA_NUM_THREADS="4") == ["done"]


def test_threads(tmp_path):
    code = """
f, g = nn.jit(a := made(np.float64, 3, 40, 2)), nn.jit(b := made(np.float64, 3, 40, 40, 2))

@nb.njit(nogil=True)
def work(f, x, out):
    room = f.workspace()
    for _ in range(200):
        for i in range(len(x)):
            f.into(out[i], x[i], room)

def job(f, model, seed):
    x = np.random.default_rng(seed).normal(size=(50, 3))
    out = np.empty((50, 2))
    work(f, x, out)
    assert (out == model.predict(x)).all() and (f(x) == out).all()
    for _ in range(20):
        assert (f.vjp(x, out)[0] == out).all() and (f.jacobian(x[0])[0] == out[0]).all()
    done.append(seed)

done = []
work(f, np.ones((1, 3)), np.ones((1, 2)))
threads = [threading.Thread(target=job, args=((f, a), (g, b))[i % 2] + (i,)) for i in range(8)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
print(*sorted(done))
"""
    assert run(code, tmp_path) == list("01234567")


def test_the_users_cache(tmp_path):
    """As an argument, f leaves it in force, also for another network."""
    code = """
@nb.njit(cache=True)
def function(f, x):
    y, dx = f.vjp(x, f(x))
    return f(x), dx, f.jacobian(x)[1]

for dtype, widths in (np.float32, (3, 5, 2)), (np.float32, (2, 9, 9, 1)), (np.float64, (4, 80, 3)):
    f = nn.jit(model := made(dtype, *widths))
    x = np.ones(widths[0], dtype)
    found, expected = function(f, x), (f(x), f.vjp(x, f(x))[1], f.jacobian(x)[1])
    assert all((a == b).all() for a, b in zip(found, expected))
print(len(function.overloads), sum(function.stats.cache_hits.values()))
"""
    assert run(code, tmp_path, "-W", "error") == ["2", "0"]
    assert run(code, tmp_path, "-W", "error") == ["2", "2"]


def test_a_global_keeps_the_function_off_the_disk(tmp_path):
    code = """
f = nn.jit(model := made(np.float32, 3, 5, 2))

@nb.njit(cache=True)
def function(x):
    return f(x)

with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    y = function(np.ones(3, np.float32))
assert (y == f(np.ones(3))).all()
print(*[type(warning.message).__name__ for warning in caught], sum(function.stats.cache_hits.values()))
"""
    for _ in range(2):
        assert run(code, tmp_path) == ["NumbaWarning", "0"]


def test_another_network_compiles_nothing(tmp_path):
    code = """
@nb.njit
def function(f, x):
    return f(x)

function(nn.jit(made(np.float32, 3, 5, 2)), np.ones(3, np.float32))
function.disable_compile()
for widths in (3, 2), (7, 300, 300, 1), (1, 2, 3, 4, 5):
    f = nn.jit(model := made(np.float32, *widths))
    x = np.ones(widths[0], np.float32)
    assert (function(f, x) == model.predict(x[np.newaxis])[0]).all()
print("done")
"""
    assert run(code, tmp_path) == ["done"]


def test_scipy_integrates_it(tmp_path):
    """By a callback of C with the network among its user data, and by one that Numba makes with f in it."""
    pytest.importorskip("scipy")
    code = """
import ctypes
from scipy import LowLevelCallable, integrate

f = nn.jit(model := made(np.float64, 1, 8, 1))
network = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64, ctypes.c_void_p)(f.address)

@nb.cfunc("float64(float64, voidptr)")
def by_address(x, net):
    values = np.array([x, 0.0])
    network(values[1:].ctypes, values.ctypes, 1, net)
    return values[1]

@nb.cfunc("float64(float64)")
def by_name(x):
    return f(np.array([x]))[0]

expected = integrate.quad(lambda x: f([x])[0], 0, 1)[0]
callbacks = LowLevelCallable(by_address.ctypes, ctypes.c_void_p(f.net)), LowLevelCallable(by_name.ctypes)
assert [integrate.quad(callback, 0, 1)[0] for callback in callbacks] == [expected] * 2
pointer = ctypes.CFUNCTYPE(None, *[ctypes.POINTER(ctypes.c_double)] * 2, ctypes.c_int64, ctypes.c_void_p)(f.address)
print(LowLevelCallable(pointer, ctypes.c_void_p(f.net)).signature.replace(" ", ""))
"""
    (signature,) = run(code, tmp_path)
    assert signature.startswith("void(double*,double*,")


def test_several_of_them_may_come_in_a_tuple(tmp_path):
    code = """
networks = tuple(nn.jit(made(np.float64, 2, n, 1)) for n in (3, 4, 5))

@nb.njit
def total(networks, x):
    sum = 0.0
    for f in networks:
        sum += f(x)[0]
    return sum

x = np.ones(2)
assert total(networks, x) == sum(f(x)[0] for f in networks)
print("done")
"""
    assert run(code, tmp_path) == ["done"]


@pytest.mark.parametrize("how", ["FASTNP_BACKEND=numpy", "missing"])
def test_without_numba(how, tmp_path):
    hide = "sys.modules['numba'] = None\n" if how == "missing" else ""
    code = f"""
import sys
{hide}import numpy as np, fastnp as nn
f = nn.jit(nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 1)))
out = np.empty(1, np.float32)
f.into(out, [1, 2], f.workspace())
assert out == f([1, 2]) and f.jacobian([1, 2])[1].shape == (1, 2)
print("numba" in sys.modules and sys.modules["numba"] is not None)
"""
    file = tmp_path / "program.py"
    file.write_text(code, encoding="utf-8")
    env = {name: value for name, value in os.environ.items() if not name.startswith("FASTNP_")}
    env |= {"PYTHONPATH": str(ROOT)} | ({} if how == "missing" else {"FASTNP_BACKEND": "numpy"})
    done = subprocess.run([sys.executable, str(file)], env=env, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stdout.split()) == (0, ["False"]), done.stderr


def test_the_import_loads_no_numba(tmp_path):
    (tmp_path / "program.py").write_text(
        "import sys, fastnp\nfastnp.jit\nprint('numba' in sys.modules, 'fastnp.program.lowering' in sys.modules)\n",
        encoding="utf-8",
    )
    env = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, str(tmp_path / "program.py")], env=env, capture_output=True, text=True)
    assert done.stdout.split() == ["False", "True"], done.stderr
