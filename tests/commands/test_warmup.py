"""`fastnp warmup`: what it compiles, where that is kept, and which old caches go."""

import re
from pathlib import Path

from command_line import call as call
from command_line import files as files
from command_line import run


def test_warmup_compiles_everything_and_clears_only_old_caches(tmp_path):
    old = tmp_path / "fastnp-0123456789abcdef"
    kept = [tmp_path / name for name in ("fastnp-0123456789abcde", "fastnp-notes", "fastnp-0123456789ABCDEF", "other")]
    for folder in [old, *kept]:
        folder.mkdir(mode=0o700)
        (folder / "file").touch()
    link = tmp_path / "fastnp-fedcba9876543210"
    link.symlink_to(kept[-1])
    environment = {"NUMBA_CACHE_DIR": str(tmp_path)}

    status, out, err = run("warmup", "--clear", **environment)
    assert (status, err) == (0, "")
    removed, ready = out.splitlines()
    assert removed == f"removed {old}"
    cache = Path(re.fullmatch(r"ready after \d+\.\d s, kept in (.+)", ready)[1])
    assert cache.parent == tmp_path and re.fullmatch("fastnp-[0-9a-f]{16}", cache.name)
    assert list(cache.rglob("*.nbc"))
    assert not old.exists()
    assert link.is_symlink() and all((folder / "file").exists() for folder in kept)

    for dtype in "float32", "float64":
        _, out, err = run(
            "sin",
            "--epochs",
            30,
            "--init",
            "he",
            "--dtype",
            dtype,
            FASTNP_QUIET="",
            FASTNP_BACKEND="numba",
            **environment,
        )
        assert err == "", "something was still compiled"
        assert f"numba, {dtype}" in out


def test_warmup_without_a_cache_folder_says_so(call, monkeypatch):
    from fastnp.kernels import _cache

    monkeypatch.setattr(_cache, "CACHE_FOLDER", None)
    status, out, _ = call("warmup", "--clear")
    assert status == 0
    assert "kept in nowhere: no cache folder can be written, every process compiles anew" in out


def test_warmup_without_numba():
    status, out, err = run("warmup", code="import sys; sys.modules['numba'] = None")
    assert (status, out) == (2, "")
    assert "Numba cannot be imported" in err and err.count("\n") == 1
