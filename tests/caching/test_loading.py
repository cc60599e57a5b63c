"""Numba loaded in the user's time: broken off by signals at any moment, or broken itself."""

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

import fastnp
from fastnp.kernels._shelter import sheltered
from fastnp.training.interrupts import held_back

ROOT = Path(fastnp.__file__).parents[1]


def environment(**variables):
    """The environment, without what would choose a backend, silence it or write byte code."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("FASTNP_")}
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    return inherited | {"PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1"} | variables


def python(code, *arguments, options=(), **variables):
    """Run Python code in a process of its own; returns its (exit status, stdout, stderr)."""
    done = subprocess.run(
        [sys.executable, *options, "-c", code, *map(str, arguments)],
        env=environment(**variables), capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    return done.returncode, done.stdout, done.stderr


# --- signals ---

PARTS = """
import os, signal, sys, threading, time
import numpy as np
import fastnp as nn

x = np.linspace(-1, 1, 24, dtype=np.float32).reshape(12, 2)


def loss():
    return [nn.MSE()(x, np.zeros_like(x))]


def fit():
    np.random.seed(3)
    model = nn.Sequential(nn.Linear(2, 5, weight_attr=nn.HeNormal()), nn.ReLU(), nn.Linear(5, 1))
    optimizer = nn.SGD(parameters=model.parameters(), learning_rate=0.01)
    loader = nn.DataLoader(nn.ArrayDataset(x, x[:, :1]), batch_size=4)
    losses = nn.fit(model, nn.MSE(), optimizer, loader, epochs=3).loss
    return [*losses, *model.predict(x).ravel()]
"""

BROKEN_OFF = f"""{PARTS}
class Late(Exception):
    pass


def late(number, frame):
    raise Late


run, how, delay = globals()[sys.argv[1]], sys.argv[2], float(sys.argv[3])
signal.signal(signal.SIGALRM, late)
came = None
try:
    if how == "alarm":
        signal.setitimer(signal.ITIMER_REAL, delay)
    else:
        threading.Timer(delay, os.kill, (os.getpid(), signal.SIGINT)).start()
    run()
    time.sleep(60)
except (KeyboardInterrupt, Late) as error:
    came = error
assert type(came) is (Late if how == "alarm" else KeyboardInterrupt), came
found = run()
assert nn.backend.kernels().name == "numba"
with nn.use_backend("numpy"):
    np.testing.assert_allclose(found, run(), rtol=1e-4, atol=1e-6)
"""


def break_off(what, how, delay, cache):
    """Break off the first `fit` or `loss` of a process; what is wrong with the second, if anything."""
    result = python(BROKEN_OFF, what, how, delay, NUMBA_CACHE_DIR=str(cache), FASTNP_QUIET="1")
    return None if result == (0, "", "") else f"{what}, {how} after {delay:.3f} s: {result[2][-2000:]}"


@pytest.fixture(scope="module")
def warm(tmp_path_factory):
    """A cache folder with the kernels that `loss` needs."""
    cache = tmp_path_factory.mktemp("warm")
    assert python(f"{PARTS}\nloss()", NUMBA_CACHE_DIR=str(cache), FASTNP_QUIET="1") == (0, "", "")
    return cache


@pytest.mark.parametrize(
    ("delay", "how"), [(0.01, "ctrl-c"), (0.05, "alarm"), (0.15, "ctrl-c"), (0.15, "alarm"), (0.25, "ctrl-c")]
)
def test_a_signal_while_numba_is_imported(delay, how, warm):
    assert not break_off("loss", how, delay, warm)


@pytest.mark.parametrize(("delay", "how"), [(0.5, "ctrl-c"), (0.9, "alarm")])
def test_a_signal_while_a_kernel_is_compiled(delay, how, tmp_path):
    assert not break_off("loss", how, delay, tmp_path)


@pytest.fixture(scope="module")
def filled(tmp_path_factory):
    """A cache folder with the kernels that `fit` needs."""
    cache = tmp_path_factory.mktemp("filled")
    assert python(f"{PARTS}\nfit()", NUMBA_CACHE_DIR=str(cache), FASTNP_QUIET="1") == (0, "", "")
    return cache


@pytest.mark.slow
@pytest.mark.parametrize("how", ["ctrl-c", "alarm"])
@pytest.mark.parametrize("delay", np.geomspace(0.01, 0.8, 36))
def test_a_signal_while_the_first_fit_loads(delay, how, filled):
    assert not break_off("fit", how, delay, filled)


@pytest.mark.slow
@pytest.mark.parametrize("how", ["ctrl-c", "alarm"])
@pytest.mark.parametrize("delay", np.geomspace(0.01, 9, 36))
def test_a_signal_while_the_first_fit_compiles(delay, how, tmp_path):
    assert not break_off("fit", how, delay, tmp_path)


def test_a_process_that_ctrl_c_ends_keeps_the_kernel(tmp_path):
    """The one traceback is that of KeyboardInterrupt, and what was compiled meanwhile is in the cache."""
    code = f"""{PARTS}
from fastnp.kernels.compiled.run import loss as kernel
compile = kernel._compiler.compile
def interrupted(*arguments):
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(0.3)
    return compile(*arguments)
kernel._compiler.compile = interrupted
nn.MSE(reduction="none")(x, np.zeros_like(x))
"""
    status, out, err = python(code, NUMBA_CACHE_DIR=str(tmp_path), FASTNP_QUIET="1")
    assert status != 0 and out == ""
    assert err.count("Traceback") == 1 and err.rstrip().endswith("KeyboardInterrupt")
    again = f"{PARTS}\nnn.MSE(reduction='none')(x, np.zeros_like(x))"
    assert python(again, NUMBA_CACHE_DIR=str(tmp_path)) == (0, "", ""), "compiled again"


def test_an_exception_of_a_handler_comes_through_and_the_work_goes_on():
    class Late(BaseException):
        pass

    def late(number, frame):
        raise Late

    def work():
        started.set()
        release.wait(10)
        done.append(threading.current_thread())

    started, release, done = threading.Event(), threading.Event(), []
    before = signal.signal(signal.SIGALRM, late)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.1)
        with pytest.raises(Late):
            sheltered(work)
    finally:
        signal.signal(signal.SIGALRM, before)
    assert started.wait(10) and not done
    threading.Timer(0.1, release.set).start()
    assert sheltered(len, done) == 1, "the second piece of work did not wait for the first"
    assert done[0] is not threading.main_thread() and not done[0].daemon


def test_sheltered_work_is_that_of_its_caller():
    """Result, exception, and what belongs to the thread or task of the caller."""
    with fastnp.use_backend("numpy"), np.errstate(over="raise"):
        assert sheltered(fastnp.get_backend) == "numpy"
    assert sheltered(divmod, 7, 2) == (3, 1)
    with pytest.raises(ZeroDivisionError):
        sheltered(divmod, 7, 0)
    with pytest.raises(SystemExit):
        sheltered(sys.exit)
    others = []
    thread = threading.Thread(target=lambda: others.append(sheltered(threading.current_thread)))
    thread.start()
    thread.join()
    assert others == [thread]
    assert sheltered(sheltered, len, "abc") == 3


def test_where_no_thread_can_be_started_the_caller_works(monkeypatch):
    def start(thread):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", start)
    assert sheltered(threading.current_thread) is threading.main_thread()


def test_the_first_call_at_the_end_of_a_process(warm):
    code = f"""{PARTS}
import atexit
atexit.register(lambda: print(len(loss())))
"""
    assert python(code, NUMBA_CACHE_DIR=str(warm)) == (0, "1\n", "")


def test_the_first_call_while_this_thread_compiles_something_else(warm):
    code = f"""{PARTS}
from numba.core.compiler_lock import global_compiler_lock
with global_compiler_lock:
    loss()
"""
    assert python(code, NUMBA_CACHE_DIR=str(warm)) == (0, "", "")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")
def test_a_child_forked_while_numba_is_imported(warm):
    """The process that was interrupted forks at once; the child, which has no helper, computes."""
    code = f"""{PARTS}
threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGINT)).start()
try:
    loss()
except KeyboardInterrupt:
    pass
child = os.fork()
if child == 0:
    signal.alarm(60)
    loss()
    os._exit(7)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
loss()
"""
    options = "-W", "ignore::DeprecationWarning"
    assert python(code, options=options, NUMBA_CACHE_DIR=str(warm)) == (0, "", "")


def test_an_exception_of_a_handler_leaves_ctrl_c_as_it_was(monkeypatch):
    """Another signal, just as Ctrl-C has been held back."""
    replace = signal.signal

    def replaced(number, handler):
        replace(number, handler)
        if handler is not signal.default_int_handler:
            raise TimeoutError

    monkeypatch.setattr(signal, "signal", replaced)
    with pytest.raises(TimeoutError), held_back():
        pass
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


# --- a Numba that fails ---


@pytest.fixture(
    params=["AttributeError('no', 'attribute')", "OSError('cannot\\nload')", "SystemExit()", "ImportError('x')"]
)
def broken(request, tmp_path):
    """A folder with a Numba that raises when it is imported."""
    (tmp_path / "numba").mkdir()
    (tmp_path / "numba" / "__init__.py").write_text(f"raise {request.param}\n", encoding="utf-8")
    return {"PYTHONPATH": os.pathsep.join([str(tmp_path), str(ROOT)]), "FASTNP_QUIET": "1"}


def test_a_broken_numba_is_one_line_and_numpy(broken):
    status, out, err = python(f"{PARTS}\nfit(), fit(), loss()\nprint(nn.backend.kernels().name)", **broken)
    assert (status, out) == (0, "numpy\n"), err
    assert err.startswith("fastnp: Numba cannot be used (") and err.count("\n") == 1


@pytest.mark.parametrize(("command", "status"), [(["warmup"], 2), (["sin", "--epochs", "30", "--init", "he"], 0)])
def test_the_commands_with_a_broken_numba(broken, command, status):
    found, out, err = python("from fastnp.commands.main import main; main()", *command, **broken)
    assert found == status, err
    assert err.count("\n") == 1 and err.startswith("fastnp: ") and "Numba cannot be" in err
    assert ("numpy, float32" in out) == (status == 0)
