"""Interrupts, damaged and full disks, forks, copies in mid-training, and data sets that fail."""

import _thread
import copy
import os
import pickle
import random
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from products import matrix_product

import fastnp as nn
from fastnp.program import program
from fastnp.training import compiled

TESTS = Path(__file__).parent
SOURCES = str(Path(nn.__file__).parent)

RNG = np.random.default_rng(1)
X, Y = RNG.normal(size=(11, 3)), RNG.normal(size=(11, 2))


class Own(nn.Layer):
    """Makes `fit` run the loop."""

    def forward(self, x):
        return 2 * x

    def backward(self, gradient):
        return 2 * gradient


def training(own=False, reshuffle=False, dataset=None):
    """Model, loss, optimizer and loader, made anew from seeds."""
    init = nn.HeNormal(rng=np.random.default_rng(0))
    model = nn.Sequential(
        *[Own()] * own, nn.Linear(3, 16, weight_attr=init), nn.ReLU(), nn.Linear(16, 2, weight_attr=init)
    )
    optimizer = nn.SGD(parameters=model.parameters(), learning_rate=0.01)
    dataset = nn.ArrayDataset(X, Y) if dataset is None else dataset
    loader = nn.DataLoader(dataset, shuffle=True, batch_size=4, reshuffle=reshuffle, rng=np.random.default_rng(2))
    return model, nn.MSE(), optimizer, loader


def fit(parts, epochs, **options):
    return nn.fit(*parts, epochs, progress=False, **options).loss


def loop(parts, epochs):
    model, loss_fn, optimizer, loader = parts
    for _ in range(epochs):
        for x, y in loader:
            loss_fn(model(x), y)
            model.backward(loss_fn.backward())
            optimizer.step()
            optimizer.clear_grad()


def bits(parts):
    """Parameters and velocities."""
    model, _, optimizer, _ = parts
    return b"".join(array.tobytes() for array in [*(p.data for p in model.parameters()), *optimizer.velocity])


def assert_whole(parts):
    """Outputs are those of the parameters, for batches of several sizes, and training goes on."""
    model, loss_fn, optimizer, _ = parts
    for rows in 2, 4, 3, 11, 64, 1:
        x, y = np.resize(X, (rows, 3)), np.resize(Y, (rows, 2))
        w, b, v, c = (p.data.astype(np.float64) for p in model.parameters())
        factor = 2 if isinstance(model.graphs[0], Own) else 1
        expected = matrix_product(np.maximum(matrix_product(factor * x, w) + b, 0), v) + c
        assert np.isfinite(expected).all()
        np.testing.assert_allclose(model(x), expected, atol=1e-4, rtol=1e-4)
        np.testing.assert_allclose(model.predict(x), expected, atol=1e-4, rtol=1e-4)
        optimizer.clear_grad()
        loss_fn(model(x), y)
        model.backward(loss_fn.backward())
        np.testing.assert_allclose(model.parameters()[-1].grad, loss_fn.backward().sum(axis=0)[None], atol=1e-4)
        optimizer.step()
        optimizer.clear_grad()
    assert np.isfinite(fit(parts, 3)).all()


# --- interrupts ---


def states_after(updates, **options):
    """The bits after each number of updates, from 0 on."""
    parts = training(**options)
    model, loss_fn, optimizer, loader = parts
    states = [bits(parts)]
    while len(states) <= updates:
        for x, y in loader:
            loss_fn(model(x), y)
            model.backward(loss_fn.backward())
            optimizer.step()
            optimizer.clear_grad()
            states.append(bits(parts))
    return states


@pytest.mark.parametrize("options", [{}, {"reshuffle": True}, {"own": True}], ids=["kernel", "reshuffle", "loop"])
def test_ctrl_c_at_fifty_moments(options, monkeypatch):
    monkeypatch.setattr(compiled, "SECONDS_PER_CALL", 0.002)  # fewer epochs to search for the state below
    fit(training(**options), 1)  # compiled by now
    delays = random.Random(3)
    for _ in range(50):
        parts, history, go = training(**options), nn.History(), threading.Event()

        def interrupt(go=go, delay=delays.uniform(0, 0.015)):
            go.wait()
            threading.Event().wait(delay)
            _thread.interrupt_main()

        timer = threading.Thread(target=interrupt)
        timer.start()
        with pytest.raises(KeyboardInterrupt):
            go.set()
            fit(parts, 10**9, history=history)
        timer.join()
        expected, reached = bits(parts), []
        assert np.isfinite(history.loss).all()

        other = training(**options)

        def found(epoch, loss, expected=expected, reached=reached, other=other):
            reached.append(bits(other) == expected)
            return reached[-1]

        losses = fit(other, len(history.loss))
        assert losses == history.loss
        if bits(other) != expected and "own" in options:  # up to an epoch, batch by batch
            model, loss_fn, optimizer, loader = other
            for x, y in loader:
                loss_fn(model(x), y)
                model.backward(loss_fn.backward())
                optimizer.step()
                optimizer.clear_grad()
                reached.append(bits(other) == expected)
            assert any(reached)
        elif bits(other) != expected:  # a kernel call had ended, its epochs were not yet counted
            fit(other, 20_000, callback=found)
            assert reached[-1]
        assert_whole(parts)


def interrupted(call, at):
    """Raise KeyboardInterrupt before the at-th line of fastnp that `call` runs; False where there are fewer."""
    count, before = 0, sys.gettrace()

    def line(frame, event, argument):
        nonlocal count
        if event == "line":
            count += 1
            if count == at:
                raise KeyboardInterrupt
        return line

    sys.settrace(lambda frame, event, argument: line if frame.f_code.co_filename.startswith(SOURCES) else None)
    try:
        call()
    except KeyboardInterrupt:
        return True
    finally:
        sys.settrace(before)
    return False


def at_every_line(how):
    """Ctrl-C before each line of Python that a training runs, after batches of another size."""
    states = states_after(10)
    at, hit = 0, True
    while hit:
        at += 1
        parts = training()
        model = parts[0]
        model(X[:2])
        model.predict(X[:2])

        def call(parts=parts, model=model):
            if how == "fit":
                fit(parts, 2)
            elif how == "loop":
                loop(parts, 2)
            else:
                model(X)
                model.predict(X)
                model(X[:1])

        hit = interrupted(call, at)
        assert bits(parts) in states, f"line {at}: parameters of no whole number of updates"
        assert_whole(parts)
    assert at > 100


def memory_runs_out():
    """A batch for which there is no memory leaves the model as it was, for a batch of the size before too."""
    for parts in training(), training(own=True):
        model = parts[0]
        expected = model(X).copy(), model.predict(X)
        room = program.aligned_zeros

        def full(size, dtype):
            raise MemoryError

        for call in model, model.predict, lambda rows, parts=parts: fit(parts, 1):
            program.aligned_zeros = full
            before = bits(parts)
            try:
                call(np.zeros((100_000, 3), np.float32))
            except MemoryError:
                assert bits(parts) == before
            else:
                assert call not in (model, model.predict)
            finally:
                program.aligned_zeros = room
            if bits(parts) == before:
                assert np.array_equal(model(X), expected[0])
                assert np.array_equal(model.predict(X), expected[1])
        assert_whole(parts)


def alone(call, cache=None, **environment):
    """Run a call of this module in a process of its own; returns its stderr, and fails where it fails."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("FASTNP_")} | environment
    env["PYTHONPATH"] = os.pathsep.join([str(TESTS), str(TESTS.parent), env.get("PYTHONPATH", "")])
    if cache is not None:
        env["NUMBA_CACHE_DIR"] = str(cache)
    code = f"import test_faults; test_faults.{call}"
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, f"exit status {done.returncode}\n{done.stderr[-2000:]}"
    return done.stderr


@pytest.mark.parametrize("how", ["fit", "loop", "predict"])
def test_ctrl_c_at_every_line(how):
    """In a process of its own: what is left half done may end one."""
    alone(f"at_every_line({how!r})", FASTNP_QUIET="1")


def test_a_batch_too_large_for_memory():
    alone("memory_runs_out()", FASTNP_QUIET="1")


# --- the kernel cache ---


def train_and_compare():
    """A short training, within rounding of the same on NumPy."""
    parts, other = training(), training()
    losses = fit(parts, 2)
    with nn.use_backend("numpy"):
        np.testing.assert_allclose(losses, fit(other, 2), rtol=1e-4)


def first_call_in_sixteen_threads():
    results, start = [], threading.Barrier(16)

    def run():
        parts = training()
        start.wait()
        loop(parts, 2)
        results.append(bits(parts))

    threads = [threading.Thread(target=run) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 16
    assert len(set(results)) == 1


def disk_is_full():
    """Every write into the cache fails half way."""
    import errno

    from numba.core.caching import IndexDataCacheFile

    def full(self, path, *others, **options):
        Path(path).write_bytes(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    IndexDataCacheFile._open_for_write = full
    train_and_compare()
    loop(training(), 1)


@pytest.fixture(scope="module")
def filled(tmp_path_factory):
    """A cache folder that two processes have filled at once, and what they said."""
    cache = tmp_path_factory.mktemp("cache")
    said = []
    threads = [threading.Thread(target=lambda: said.append(alone("train_and_compare()", cache))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return cache, said


def assert_one_line(stderr):
    lines = stderr.splitlines()
    assert len(lines) == 1, stderr
    assert lines[0].startswith("fastnp: compiling")


def test_two_processes_compile_at_once(filled):
    cache, said = filled
    assert len(said) == 2
    for stderr in said:
        assert_one_line(stderr)
    assert alone("train_and_compare()", cache) == ""


def damage(cache):
    """Truncate each file at some of its bytes, or fill it with garbage: the kernel works each time."""
    from fastnp.kernels.relu import relu_forward

    x = np.linspace(-1, 1, 32, dtype=np.float32).reshape(2, 16)
    y = np.full_like(x, np.nan)
    relu_forward(y, x)
    signature = relu_forward.signatures[0]
    files = [path for path in Path(cache).rglob("*relu_forward*") if path.is_file()]
    assert {path.suffix for path in files} == {".nbi", ".nbc"}
    whole = {path: path.read_bytes() for path in files}
    chosen, checked = random.Random(4), 0

    def read():
        """What another process would read: the kernel, or nothing."""
        return relu_forward._cache.load_overload(signature, relu_forward.targetctx)

    assert read() is not None
    for path, content in whole.items():
        cuts = [0, 1, 2, len(content) // 2, len(content) - 1, *chosen.sample(range(len(content)), 40)]
        damaged = [content[:cut] for cut in cuts]
        damaged += [chosen.randbytes(len(content)), b"\x80garbage" * 99, b"\0" * len(content)]
        for instead in damaged:
            path.write_bytes(instead)
            found = read()
            assert found is None, f"{path.suffix} of {len(instead)} of {len(content)} bytes was taken for a kernel"
            checked += 1
        path.write_bytes(content)
        assert read() is not None
    assert checked > 90


def test_a_cache_truncated_at_any_byte(tmp_path):
    (tmp_path / "cache").mkdir()
    alone(f"damage({str(tmp_path / 'cache')!r})", tmp_path / "cache", FASTNP_QUIET="1")


def test_a_damaged_cache_trains(filled, tmp_path):
    """All files at once, truncated at a place of its own each."""
    cache = shutil.copytree(filled[0], tmp_path / "cache")
    chosen = random.Random(5)
    for path in cache.rglob("*.nb?"):
        content = path.read_bytes()
        path.write_bytes(content[: chosen.randrange(len(content))])
    assert_one_line(alone("train_and_compare()", cache))
    assert alone("train_and_compare()", cache) == ""


def test_a_full_disk(tmp_path):
    compiling, saving = alone("disk_is_full()", tmp_path).splitlines()
    assert_one_line(compiling)
    assert "cannot be kept" in saving and "No space left on device" in saving


def test_sixteen_threads_make_the_first_call(tmp_path):
    assert_one_line(alone("first_call_in_sixteen_threads()", tmp_path))


# --- forks and copies ---


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
@pytest.mark.parametrize("backend", ["numba", "numpy"])
def test_a_forked_child_goes_on(backend):
    with nn.use_backend(backend):
        parts = training(reshuffle=True)
        fit(parts, 2)
        loop(parts, 1)
        read, write = os.pipe()
        child = os.fork()
        if child == 0:
            try:
                fit(parts, 2)
                loop(parts, 1)
                os.write(write, bits(parts))
            finally:
                os._exit(0)
        os.close(write)
        with os.fdopen(read, "rb") as pipe:
            found = pipe.read()
        assert os.waitpid(child, 0)[1] == 0
        fit(parts, 2)
        loop(parts, 1)
        assert found == bits(parts)


@pytest.mark.parametrize("backend", ["numba", "numpy"])
@pytest.mark.parametrize("own", [False, True])
@pytest.mark.parametrize(
    "clone", [copy.deepcopy, lambda parts: pickle.loads(pickle.dumps(parts))], ids=["copy", "pickle"]
)
def test_copies_in_mid_training_go_on_with_the_same_bits(clone, own, backend):
    with nn.use_backend(backend):
        parts = training(own, reshuffle=True)
        fit(parts, 2)
        model, loss_fn, _, loader = parts
        x, y = next(iter(loader))
        loss_fn(model(x), y)
        model.backward(loss_fn.backward())  # a gradient waits for its step
        twins = [clone(parts) for _ in range(2)]
        for each in [parts, *twins]:
            each[2].step()
            each[2].clear_grad()
        before = bits(parts)
        losses = fit(parts, 3)
        loop(twins[0], 3)
        assert before not in (bits(parts), bits(training(own, reshuffle=True)))
        assert fit(twins[1], 3) == losses
        assert bits(parts) == bits(twins[0]) == bits(twins[1])
        order = next(iter(parts[3].sampler)).tolist()
        assert [next(iter(twin[3].sampler)).tolist() for twin in twins] == [order, order]


# --- data sets that fail ---


class Rows(nn.Dataset):
    """Rows of X and Y; `change` may give something else for index 6."""

    def __init__(self, change=None, length=11):
        self.change, self.length = change, length

    def __getitem__(self, i):
        return self.change() if self.change and i == 6 else (X[i], Y[i])

    def __len__(self):
        return self.length


def failing():
    raise RuntimeError("disk gone at 6")


FAILING = {
    "raises": (Rows(failing), RuntimeError, "disk gone at 6"),
    "too long": (Rows(length=12), IndexError, "11"),
    "other width": (Rows(lambda: (X[6, :2], Y[6])), ValueError, r"index .* has \(.,\), index .* has \(.,\)"),
    "other target": (Rows(lambda: (X[6], Y[6, :1])), ValueError, r"labels.*index .* has \(.,\)"),
    "no pair": (Rows(lambda: X[6]), ValueError, r"pairs.*indices \[.*6.*\]"),
    "nothing": (Rows(lambda: None), ValueError, r"pairs.*indices \[.*6.*\]"),
    "text": (Rows(lambda: (["a", "b", "c"], Y[6])), TypeError, "dtype"),
}


@pytest.mark.parametrize("name", FAILING)
@pytest.mark.parametrize("train", [fit, loop])
def test_a_data_set_that_fails(name, train):
    """A clear error, and the model as after the last batch before it."""
    dataset, error, words = FAILING[name]
    parts = training(dataset=dataset)
    states = states_after(4, dataset=Rows(length=len(dataset) if name != "too long" else 11))
    order = parts[3].sampler.indices.tolist()
    bad = order.index(11 if name == "too long" else 6) // 4
    with pytest.raises(error, match=words):
        train(parts, 2)
    if name == "too long":
        order_before = training(dataset=dataset)
        model, loss_fn, optimizer, loader = order_before
        for indices in list(loader.sampler)[:bad]:
            loss_fn(model(X[indices]), Y[indices])
            model.backward(loss_fn.backward())
            optimizer.step()
            optimizer.clear_grad()
        assert bits(parts) == bits(order_before)
    else:
        assert bits(parts) == states[bad]
    parts = *parts[:3], training()[3]
    assert_whole(parts)


@pytest.mark.parametrize("change", [lambda d: setattr(d, "X", d.X[:5]), lambda d: setattr(d, "Y", d.Y[:5])])
@pytest.mark.parametrize("train", [fit, loop])
def test_an_array_data_set_that_has_shrunk(change, train):
    """Rows that the loader knows, but the arrays no longer have, are not read from beyond their end."""
    parts = training(dataset=nn.ArrayDataset(X, Y))
    change(parts[3].dataset)
    before = bits(parts)
    with pytest.raises(ValueError, match="they must be equal"):
        train(parts, 2)
    assert bits(parts) == before
    assert_whole((*parts[:3], training()[3]))
