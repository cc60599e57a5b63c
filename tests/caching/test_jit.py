"""The kernel cache, in processes of their own with a cache folder of their own."""

import os
import shutil
from pathlib import Path

import pytest
from cached import CALL, assert_announced_once, files, run

from fastnp import kernels as layout
from fastnp.kernels.compiled import _jit


@pytest.fixture(scope="module")
def warm(tmp_path_factory):
    """A cache folder filled by one process, and what that process said."""
    cache = tmp_path_factory.mktemp("cache")
    code = f"""
import numba
assert numba.config.CACHE_DIR == {str(cache)!r}
{CALL}
assert numba.config.CACHE_DIR == {str(cache)!r}, "not restored"
"""
    return cache, run(code, cache)


@pytest.fixture
def cache(warm, tmp_path):
    """A copy of the filled cache folder."""
    return shutil.copytree(warm[0], tmp_path / "cache")


def test_compiling_is_announced_once_and_kept_under_the_digest(warm):
    cache, stderr = warm
    assert_announced_once(stderr)
    (folder,) = cache.iterdir()
    assert folder.name == f"fastnp-{_jit.source_digest()}" and f"kept in {folder};" in stderr
    names = sorted(path.name.split("-numba-")[0] + path.suffix for path in files(cache))
    part, kernel = "activations.relu.forward", "run.forward"
    assert names == [f"{part}.nbc", f"{part}.nbi", f"{kernel}.nbc", f"{kernel}.nbi"]


def test_the_next_process_compiles_nothing(cache):
    before = files(cache)
    assert run(CALL, cache) == ""
    assert files(cache) == before


@pytest.mark.parametrize(
    ("suffix", "damage"),
    [
        (".nbi", "garbage"),
        (".nbc", "truncated"),
        (".nbi", "empty"),
        pytest.param(".nbc", "garbage", marks=pytest.mark.slow),
        pytest.param(".nbi", "truncated", marks=pytest.mark.slow),
        pytest.param(".nbc", "empty", marks=pytest.mark.slow),
    ],
)
def test_a_damaged_cache_never_reaches_the_user(cache, suffix, damage):
    damaged = [path for path in files(cache) if path.suffix == suffix]
    assert damaged
    for path in damaged:
        content = path.read_bytes()
        path.write_bytes(
            {"empty": b"", "truncated": content[: len(content) // 2], "garbage": b"\x80garbage" * 99}[damage]
        )
    assert_announced_once(run(CALL, cache))
    assert run(CALL, cache) == "", "the damaged files were not replaced"


def test_kernels_of_two_types_under_each_others_name_are_not_taken(tmp_path):
    """So Numba leaves them where two processes compile for two types at once."""
    code = CALL + CALL.replace("float32", "float64")
    run(code, tmp_path)
    one, other = sorted(tmp_path.rglob("run.forward*.nbc"))
    content = one.read_bytes()
    one.write_bytes(other.read_bytes())
    other.write_bytes(content)
    assert_announced_once(run(code, tmp_path))
    assert run(code, tmp_path) == ""


def test_without_a_writable_cache_kernels_work_uncached(tmp_path):
    """A folder below a regular file cannot be made, not even by root."""
    (tmp_path / "file").write_text("")
    nowhere = str(tmp_path / "file" / "cache")
    code = f"""
import tempfile, platformdirs
tempfile.tempdir = {nowhere!r}
platformdirs.user_cache_dir = lambda *arguments, **options: {nowhere!r}
{CALL}
"""
    stderr = run(code, nowhere)
    assert_announced_once(stderr)
    assert "in every process" in stderr
    assert files(tmp_path).keys() == {tmp_path / "file"}


def test_kernels_that_cannot_be_saved_are_one_line(tmp_path):
    """The folder goes away after it was chosen, and a file takes its place."""
    code = f"""
import shutil, pathlib
from fastnp.kernels.compiled import _jit
assert _jit.kept_in() == _jit.cache_root() / ("fastnp-" + _jit.source_digest())
shutil.rmtree(_jit.kept_in())
_jit.kept_in().touch()
{CALL}
assert _jit.kept_in() is None
"""
    compiling, saving = run(code, tmp_path / "said").splitlines()
    assert_announced_once(compiling)
    assert saving.startswith("fastnp: the compiled kernels cannot be kept in ")
    assert run(code, tmp_path / "quiet", FASTNP_QUIET="1") == ""


def test_a_folder_that_was_removed_is_made_again(tmp_path):
    code = f"import shutil\nfrom fastnp.kernels.compiled import _jit\nshutil.rmtree(_jit.kept_in())\n{CALL}"
    assert_announced_once(run(code, tmp_path))
    assert run(CALL, tmp_path) == ""
    (folder,) = tmp_path.iterdir()
    assert os.name != "posix" or folder.stat().st_mode & 0o777 == 0o700


def test_a_stderr_that_takes_nothing(tmp_path):
    for i, stderr in enumerate(["None", "open(os.devnull)", "open('/dev/full', 'w', buffering=1)"]):
        if "/dev/full" in stderr and not Path("/dev/full").exists():
            continue
        assert run(f"import os, sys\nsys.stderr = {stderr}\n{CALL}\nsys.stderr = None", tmp_path / str(i)) == ""


def test_quiet_and_first_calls_from_several_threads(tmp_path):
    code = """
import threading
import numpy as np
from fastnp.backend import kernels_of
from fastnp.kernels.alone import Alone

start, results, kernels = threading.Barrier(4), [], kernels_of("numba")

def work(i):
    relu = Alone("activations.relu", 2, 16, 16, np.float32)
    relu.x[...] = i - 1.5
    start.wait()
    relu.call(kernels, "forward")
    x, y = np.ascontiguousarray(relu.x), np.ascontiguousarray(relu.y)
    loss = kernels.loss(kernels.parts["losses.mse.sum", "f"], y[None].copy(), x, y, x[0, :0], 0)
    results.append((i, (y == max(i - 1.5, 0)).all() and loss == 16 * min(i - 1.5, 0) ** 2))

threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
assert sorted(results) == [(i, True) for i in range(4)], results
"""
    assert run(code, tmp_path, FASTNP_QUIET="1") == ""
    assert files(tmp_path)


def test_an_edit_in_a_module_that_a_kernel_calls_is_noticed(tmp_path):
    """Numba by itself looks at the file of the kernel alone."""
    shutil.copytree(Path(layout.__file__).parent, tmp_path / "edited", ignore=shutil.ignore_patterns("__pycache__"))
    code = CALL.replace("fastnp.kernels", "edited").partition("assert")[0] + "assert relu.y[0, 0] == {}, relu.y"
    cache = tmp_path / "cache"
    assert_announced_once(run(code.format(0), cache, path=tmp_path))
    assert [path.name for path in cache.iterdir()] == [f"fastnp-{_jit.source_digest()}"]

    simd = tmp_path / "edited" / "compiled" / "simd.py"
    source = simd.read_text(encoding="utf-8")
    times = simd.stat()
    assert source.count('builder.fcmp_ordered("<=", x, zero)') == 1
    simd.write_text(source.replace('fcmp_ordered("<=", x, zero)', 'fcmp_ordered(">=", x, zero)'), encoding="utf-8")
    os.utime(simd, ns=(times.st_atime_ns, times.st_mtime_ns))  # nor does it take a newer file
    assert_announced_once(run(code.format(-1), cache, path=tmp_path))
    assert len(list(cache.iterdir())) == 2
