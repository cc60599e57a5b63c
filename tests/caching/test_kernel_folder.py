"""Where compiled kernels are kept, for whom, and whatever way the sources are installed."""

import compileall
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import llvmlite
import numba
import numpy
import platformdirs
import pytest
from cached import CALL, assert_announced_once, files, run

import fastnp.kernels
from fastnp.kernels import _folder

POSIX = pytest.mark.skipif(not hasattr(os, "getuid"), reason="no user ids")
ROOT = pytest.mark.skipif(not hasattr(os, "getuid") or os.getuid() != 0, reason="only root becomes another user")
STRANGER = 54321
SOURCES = Path(fastnp.kernels.__file__).parent


def copy_of_kernels(folder):
    """The kernels as a package of another name."""
    return Path(shutil.copytree(SOURCES, folder, ignore=shutil.ignore_patterns("__pycache__")))


# --- which folder ---


@pytest.fixture
def roots(tmp_path, monkeypatch):
    """The three folders to choose from, best first."""
    named, users, temporary = (tmp_path / name for name in ("named", "users", "temporary"))
    temporary.mkdir()
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(named))
    monkeypatch.setattr(platformdirs, "user_cache_dir", lambda *arguments, **options: str(users))
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    own = os.getuid() if hasattr(os, "getuid") else "kernels"
    return named, users, temporary / f"fastnp-{own}"


@pytest.fixture
def name():
    return f"fastnp-{_folder.source_digest()}"


def spoil(root):
    """Nothing can be made below a regular file, not even by root."""
    root.write_text("")


def test_the_first_folder_that_can_be_written(roots, name):
    for root in roots:
        folder = _folder.cache_folder()
        assert folder == root / name and folder.is_dir() and not list(folder.iterdir())
        if os.name == "posix":
            assert folder.stat().st_mode & 0o777 == 0o700
        shutil.rmtree(root)
        spoil(root)
    assert _folder.cache_folder() is None


def test_without_the_variable_it_is_the_users(roots, name, monkeypatch):
    for value in "", None:
        monkeypatch.setenv("NUMBA_CACHE_DIR", value) if value is not None else monkeypatch.delenv("NUMBA_CACHE_DIR")
        assert _folder.cache_folder() == roots[1] / name


def test_a_relative_folder_stays_where_it_was(roots, name, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NUMBA_CACHE_DIR", "relative")
    assert _folder.cache_folder() == tmp_path / "relative" / name


@pytest.mark.parametrize("error", [RuntimeError, KeyError, OSError])
def test_a_user_without_a_home(roots, name, monkeypatch, error):
    def user_cache_dir(*arguments, **options):
        raise error("getpwuid(): uid not found: 54321")

    monkeypatch.delenv("NUMBA_CACHE_DIR")
    monkeypatch.setattr(platformdirs, "user_cache_dir", user_cache_dir)
    assert _folder.cache_folder() == roots[2] / name
    monkeypatch.setattr(platformdirs, "user_cache_dir", lambda *arguments, **options: "~/.cache/fastnp")
    assert _folder.cache_folder() == roots[2] / name
    if os.name == "posix":
        assert roots[2].stat().st_mode & 0o777 == 0o700


def test_no_folder_for_temporary_files(roots, name, monkeypatch):
    def gettempdir():
        raise FileNotFoundError("No usable temporary directory found")

    monkeypatch.setattr(tempfile, "gettempdir", gettempdir)
    assert _folder.cache_folder() == roots[0] / name
    for root in roots[:2]:
        shutil.rmtree(root, ignore_errors=True)
        spoil(root)
    assert _folder.cache_folder() is None


@POSIX
@pytest.mark.parametrize("mode", [0o770, 0o702, 0o777])
def test_a_folder_that_others_can_write_to_is_not_used(roots, name, mode):
    for root, following in zip(roots, [*roots[1:], None], strict=True):
        (root / name).mkdir(parents=True, exist_ok=True)
        (root / name).chmod(mode)
        assert _folder.cache_folder() == (following and following / name)


@POSIX
def test_a_link_is_not_used(roots, name, tmp_path):
    mine = tmp_path / "mine"
    mine.mkdir(mode=0o700)
    roots[0].mkdir()
    (roots[0] / name).symlink_to(mine)
    assert _folder.cache_folder() == roots[1] / name
    shutil.rmtree(roots[1])
    spoil(roots[1])
    roots[2].symlink_to(mine)
    assert _folder.cache_folder() is None
    assert not list(mine.iterdir())


@POSIX
def test_the_folder_of_another_user_is_not_used(roots, name, monkeypatch):
    me = os.getuid()
    for root in roots:
        (root / name).mkdir(mode=0o700, parents=True)
    monkeypatch.setattr(os, "getuid", lambda: me + 1)
    assert _folder.cache_folder() is None


# --- another user, in earnest ---


@pytest.fixture
def stranger():
    """A function that runs Python code as a user without home, entry in the password file or folder of its own;
    and the folder for temporary files that it uses.
    """
    packages = {str(Path(module.__file__).parents[1]) for module in (llvmlite, numba, numpy, platformdirs)}
    with tempfile.TemporaryDirectory() as folder:
        temporary = Path(folder) / "temporary"
        temporary.mkdir()
        for path in Path(folder), temporary:
            path.chmod(0o1777)
        package = Path(folder) / "sources" / "fastnp"
        shutil.copytree(Path(fastnp.__file__).parent, package, ignore=shutil.ignore_patterns("__pycache__"))
        if not (package / "kernels").exists():
            copy_of_kernels(package / "kernels")
        subprocess.run(["chmod", "-R", "a+rX", str(package.parent)], check=True)
        variables = {
            "PATH": os.defpath, "PYTHONPATH": os.pathsep.join([str(package.parent), *packages]),
            "PYTHONDONTWRITEBYTECODE": "1", "TMPDIR": str(temporary),
        }  # fmt: skip

        def call(code, python, **environment):
            return subprocess.run(
                [python, "-c", code], env=variables | environment, cwd=folder, user=STRANGER, group=STRANGER,
                extra_groups=[], capture_output=True, text=True, timeout=120,
            )  # fmt: skip

        # The interpreter that runs the tests may stand where only root can read.
        usual = f"python{sys.version_info.major}.{sys.version_info.minor}"
        for python in filter(None, [sys.executable, shutil.which(usual, path=os.defpath)]):
            try:
                found = call("import numba, platformdirs", python).returncode == 0
            except PermissionError:
                found = False
            if found:
                break
        else:
            pytest.skip("another user can run no Python here that has Numba")

        def run(**environment):
            done = call(CALL, python, **environment)
            assert done.returncode == 0 and done.stdout == "", done.stderr
            return done.stderr

        yield run, temporary


@ROOT
def test_a_user_without_home_and_name_compiles_once(stranger):
    run, temporary = stranger
    assert_announced_once(run())
    assert [path.name for path in temporary.iterdir()] == [f"fastnp-{STRANGER}"]
    assert run() == ""


@ROOT
def test_a_second_user_of_one_folder_compiles_once(stranger, name):
    run, temporary = stranger
    shared = temporary / "shared"
    shared.mkdir()
    shared.chmod(0o1777)
    (shared / name).mkdir(mode=0o700)
    before = files(shared)
    stderr = run(NUMBA_CACHE_DIR=str(shared))
    assert_announced_once(stderr)
    assert str(temporary / f"fastnp-{STRANGER}" / name) in stderr
    assert run(NUMBA_CACHE_DIR=str(shared)) == ""
    assert files(shared) == before


# --- which sources ---


def digest(package):
    """The digest of a package that lies in a folder or in an archive."""
    code = f"import {package.stem}._folder as f; print(f.source_digest())"
    env = os.environ | {"PYTHONPATH": str(package.parent), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_every_module_counts_also_in_packages_below(tmp_path):
    package = copy_of_kernels(tmp_path / "edited")
    found = {_folder.source_digest()}
    assert digest(package) in found
    (package / "tiles").mkdir()
    for path in ("tiles/__init__.py", "tiles/wide.py", "new.py", "tiles/wide.py", "table.py", "compiled/linear.py"):
        with (package / path).open("a", encoding="utf-8") as file:
            file.write("# edited\n")
        new = digest(package)
        assert len(new) == 16 and new not in found, path
        found.add(new)


def test_byte_code_alone_keeps_its_kernels(tmp_path):
    package = copy_of_kernels(tmp_path / "edited")
    assert compileall.compile_dir(package, quiet=1, legacy=True)
    for path in package.rglob("*.py"):
        path.unlink()
    kept_across_processes(tmp_path, tmp_path / "cache")
    first = digest(package)
    (package / "compiled" / "losses.pyc").write_bytes((package / "compiled" / "updates.pyc").read_bytes())
    assert len(first) == 16 and digest(package) != first


def test_an_archive_keeps_its_kernels(tmp_path):
    archive = tmp_path / "packages.zip"
    with zipfile.ZipFile(archive, "w") as file:
        for path in SOURCES.rglob("*.py"):
            file.write(path, Path("edited") / path.relative_to(SOURCES))
    kept_across_processes(archive, tmp_path / "cache")


def kept_across_processes(path, cache):
    call = CALL.replace("fastnp.kernels", "edited")
    assert_announced_once(run(call, cache, path=path))
    assert {file.suffix for file in files(cache)} == {".nbc", ".nbi"}
    assert run(call, cache, path=path) == ""


def test_sources_that_cannot_be_read_keep_nothing(roots, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(fastnp.kernels.__spec__, "loader", object())
        assert _folder.source_digest() is None and _folder.cache_folder() is None
    with monkeypatch.context() as patch:
        patch.setattr(_folder.pkgutil, "iter_modules", lambda path, prefix: iter(()))
        assert _folder.source_digest() is None and _folder.cache_folder() is None
    assert not any(root.exists() for root in roots)
