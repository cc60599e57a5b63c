"""The folder in which compiled kernels are kept: one for each state of the kernels' sources."""

import contextlib
import hashlib
import os
import pkgutil
import stat
import sys
import tempfile
from pathlib import Path

import platformdirs


def source_digest():
    """A digest of all kernel sources, or of their byte code where only that is installed; None where a part of them
    cannot be read. An edit in any of them gives a fresh folder.

    Numba itself looks only at the file of the function that is called, and would go on running
    old code after an edit in a module that this function calls.
    """
    package = sys.modules[__package__].__spec__
    digest = hashlib.sha256()
    try:
        specs = {package.name: package, **_specs(package)}
        for name in sorted(specs):
            source = specs[name].loader.get_data(specs[name].origin)
            digest.update(f"{name.removeprefix(package.name)} {len(source)} ".encode())
            digest.update(source)
    except (AttributeError, OSError, TypeError):  # loaders that keep their sources to themselves
        return None
    return digest.hexdigest()[:16] if __name__ in specs else None  # else they do not list their modules


def _specs(package):
    """The modules of a package and of the packages in it, by name; none is imported."""
    found = {}
    for module in pkgutil.iter_modules(package.submodule_search_locations, f"{package.name}."):
        found[module.name] = spec = module.module_finder.find_spec(module.name)
        if module.ispkg:
            found |= _specs(spec)
    return found


def _named_root():
    root = os.environ.get("NUMBA_CACHE_DIR")
    return Path(root).absolute() if root else None


def _users_root():
    root = Path(platformdirs.user_cache_dir("fastnp", appauthor=False))
    return root if root.is_absolute() else None  # a ~ that could not be expanded


def _temporary_root():
    root = Path(tempfile.gettempdir()) / f"fastnp-{os.getuid() if hasattr(os, 'getuid') else 'kernels'}"
    root.mkdir(mode=0o700, exist_ok=True)
    return root if is_ours(root) else None


def is_ours(folder):
    """Whether this is a folder, no link, that belongs to this user and that nobody else can write to.

    Kept kernels are pickles: to load somebody else's is to run their code.
    """
    try:
        status = folder.lstat()
    except OSError:
        return False
    if not stat.S_ISDIR(status.st_mode):
        return False
    return not hasattr(os, "getuid") or (status.st_uid == os.getuid() and not status.st_mode & 0o022)


def make(folder):
    """Make the folder of these sources where it is missing; OSError where it is not ours or cannot be written."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not is_ours(folder):
        raise PermissionError(f"{folder} belongs to another user, or others can write to it")
    with tempfile.TemporaryFile(dir=folder):
        pass


def cache_folder():
    """The folder to keep the kernels of these sources in, or None where there can be none.

    It stands in NUMBA_CACHE_DIR, else in the user's own cache folder, else in one for temporary files.
    """
    digest = source_digest()
    for root in (_named_root, _users_root, _temporary_root) if digest else ():
        # RuntimeError or KeyError: no HOME, and a user without an entry in the password file.
        with contextlib.suppress(OSError, RuntimeError, KeyError):
            parent = root()
            if parent is not None:
                folder = parent / f"fastnp-{digest}"
                make(folder)
                return folder
    return None
