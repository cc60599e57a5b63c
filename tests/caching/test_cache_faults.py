"""The kernel cache damaged, truncated, full, and filled by several at once: trainings go on."""

import random
import shutil
import threading
from pathlib import Path

import numpy as np
import pytest
from trainings import X, Y, alone, fit

import fastnp as nn
from fastnp.backend import kernels_of


def training():
    """Of one layer: few kernels to compile."""
    model = nn.Sequential(nn.Linear(3, 2, weight_attr=nn.HeNormal(rng=np.random.default_rng(0))))
    optimizer = nn.SGD(parameters=model.parameters(), learning_rate=0.01)
    return model, nn.MSE(), optimizer, nn.DataLoader(nn.ArrayDataset(X, Y), batch_size=4)


def train_and_compare():
    """A short training, within rounding of the same on NumPy."""
    parts, other = training(), training()
    losses = fit(parts, 2)
    with nn.use_backend("numpy"):
        np.testing.assert_allclose(losses, fit(other, 2), rtol=1e-4)


def call():
    """A few kernels; what they give."""
    relu, loss_fn = nn.ReLU(), nn.MSE()
    y = relu(X)
    loss = loss_fn(y, X)
    return y.tobytes(), loss, relu.backward(loss_fn.backward()).tobytes()


def first_call_in_sixteen_threads():
    results, start = [], threading.Barrier(16)

    def run():
        start.wait()
        results.append(call())

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
    first = call()
    with nn.use_backend("numpy"):
        assert call()[0] == first[0]


@pytest.fixture(scope="module")
def filled(tmp_path_factory):
    """A cache folder that two processes have filled at once, and what they said."""
    cache = tmp_path_factory.mktemp("cache")
    said = []
    threads = [
        threading.Thread(target=lambda: said.append(alone(__name__, "train_and_compare()", cache))) for _ in range(2)
    ]
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
    assert alone(__name__, "train_and_compare()", cache) == ""


def damage(cache):
    """Truncate each file at some of its bytes, or fill it with garbage: the kernel works each time."""
    from fastnp.kernels.alone import Alone
    from fastnp.kernels.compiled.run import forward

    Alone("activations.relu", 2, 16, 16, np.float32).call(kernels_of("numba"), "forward")
    signature = forward.signatures[0]
    files = [path for path in Path(cache).rglob("run.forward*") if path.is_file()]
    assert {path.suffix for path in files} == {".nbi", ".nbc"}
    whole = {path: path.read_bytes() for path in files}
    chosen, checked = random.Random(4), 0

    def read():
        """What another process would read: the kernel, or nothing."""
        return forward._cache.load_overload(signature, forward.targetctx)

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
    alone(__name__, f"damage({str(tmp_path / 'cache')!r})", tmp_path / "cache", FASTNP_QUIET="1")


def test_a_damaged_cache_trains(filled, tmp_path):
    """All files at once, truncated at a place of its own each."""
    cache = shutil.copytree(filled[0], tmp_path / "cache")
    chosen = random.Random(5)
    for path in cache.rglob("*.nb?"):
        content = path.read_bytes()
        path.write_bytes(content[: chosen.randrange(len(content))])
    assert_one_line(alone(__name__, "train_and_compare()", cache))
    assert alone(__name__, "train_and_compare()", cache) == ""


def test_a_full_disk(tmp_path):
    compiling, saving = alone(__name__, "disk_is_full()", tmp_path).splitlines()
    assert_one_line(compiling)
    assert "cannot be kept" in saving and "No space left on device" in saving


def test_sixteen_threads_make_the_first_call(tmp_path):
    assert_one_line(alone(__name__, "first_call_in_sixteen_threads()", tmp_path))
