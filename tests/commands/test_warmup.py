"""`fastnp warmup`: what it compiles, where that is kept, and which old caches go."""

import re
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest
from command_line import call as call
from command_line import files as files
from command_line import run
from wings import named, operation_modules

import fastnp
from fastnp.commands.warmup import part_names
from fastnp.kernels.table import Operation
from fastnp.program.op import Kind, Rule

TRAIN_ALL_CLASSES = """
import itertools
import numpy as np
import fastnp as nn

public = [value for value in map(vars(nn).get, nn.__all__) if isinstance(value, type)]
layers = [cls for cls in public if "_kernel_kind" in vars(cls) and issubclass(cls, nn.Layer)]
losses = [cls for cls in public if "_kernel_kind" in vars(cls) and cls not in layers]
optimizers = [cls for cls in public if "_kernel_rule" in vars(cls)]
rows = [[each[i % len(each)] for each in (layers, losses, optimizers)] for i in range(len(layers + losses))]
for dtype, (layer, loss, optimizer) in itertools.product(("float32", "float64"), rows):
    make = lambda: layer(3, 3, dtype=dtype) if layer._kernel_kind.weights else layer()
    x, y = np.ones((4, 3), dtype), np.ones((4, 3), dtype)
    model = nn.Sequential(make(), nn.Linear(3, 3, dtype=dtype), make(), nn.Linear(3, 3, dtype=dtype))
    loss, optimizer = loss(), optimizer(parameters=model.parameters())
    target = loss._example_target(y.shape, np.random.default_rng(0))
    loader = nn.DataLoader(nn.ArrayDataset(x, target), batch_size=2)
    nn.fit(model, loss, optimizer, loader, 2)
    nn.fit(model, loss, optimizer, loader, 2, validation=(x, target), early_stopping=nn.EarlyStopping())
    nn.fit(model, loss, optimizer, list(loader), 2)
    for variant in {"nesterov", "momentum", "rate_in_velocity"} & vars(optimizer).keys():
        setattr(optimizer, variant, 1)
    nn.fit(model, loss, optimizer, loader, 1)
    if hasattr(optimizer, "nesterov"):
        optimizer.nesterov = False
    optimizer.clip_norm = 1.0
    nn.fit(model, loss, optimizer, loader, 1)
    nn.fit(model, loss, optimizer, list(loader), 1)
    model.predict(x)
    alone = make()
    alone(x), alone.backward(y), alone.predict(x)
    nn.jit(model).jacobian(x[0])
print(*(cls.__name__ for cls in layers + losses + optimizers))
"""


# Before warmup: note in a file which files of the cache are read and written.
TAKE_NOTE = """
from numba.core.caching import IndexDataCacheFile

def noted(name):
    method = getattr(IndexDataCacheFile, name)
    def call(self, of, *others):
        found = method(self, of, *others)
        print(self._index_path, self._data_path(of), sep="\\n", file=notes, flush=True)
        return found
    setattr(IndexDataCacheFile, name, call)

notes = open({!r}, "a")
noted("_load_data")
noted("_save_data")
"""


@pytest.fixture(scope="module")
def compiled(tmp_path_factory):
    """A cache with what `warmup` compiles and no more. It stands in the cache of these tests, too: others need it."""
    folder = tmp_path_factory.mktemp("compiled")
    status, _, err = run("warmup", code=TAKE_NOTE.format(str(folder / "notes")))
    assert (status, err) == (0, "")
    files = set(map(Path, (folder / "notes").read_text(encoding="utf-8").splitlines()))
    (name,) = {path.parent.name for path in files}
    (folder / name).mkdir(mode=0o700)
    for path in files:
        shutil.copy(path, folder / name)
    return folder / name


@pytest.fixture(scope="module", params=["compiled before", pytest.param("all anew", marks=pytest.mark.slow)])
def warmed(request, tmp_path_factory):
    """A folder with old caches and with what only looks like some, after `warmup --clear`, and what that printed."""
    folder = tmp_path_factory.mktemp("caches")
    if request.param == "compiled before":
        compiled = request.getfixturevalue("compiled")
        shutil.copytree(compiled, folder / compiled.name)
    old = folder / "fastnp-0123456789abcdef"
    kept = [folder / name for name in ("fastnp-0123456789abcde", "fastnp-notes", "fastnp-0123456789ABCDEF", "other")]
    for cache in [old, *kept]:
        cache.mkdir(mode=0o700)
        (cache / "file").touch()
    link = folder / "fastnp-fedcba9876543210"
    link.symlink_to(kept[-1])
    environment = {"NUMBA_CACHE_DIR": str(folder)}
    status, out, err = run("warmup", "--clear", FASTNP_QUIET="", **environment)
    assert status == 0
    assert err.count("\n") == (request.param == "all anew"), "whether something was compiled"
    return SimpleNamespace(folder=folder, old=old, kept=kept, link=link, environment=environment, out=out)


def test_warmup_clears_only_old_caches(warmed):
    removed, ready = warmed.out.splitlines()
    assert removed == f"removed {warmed.old}"
    cache = Path(re.fullmatch(r"ready after \d+\.\d s, kept in (.+)", ready)[1])
    assert cache.parent == warmed.folder and re.fullmatch("fastnp-[0-9a-f]{16}", cache.name)
    assert list(cache.rglob("*.nbc"))
    assert not warmed.old.exists()
    assert warmed.link.is_symlink() and all((folder / "file").exists() for folder in warmed.kept)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_after_warmup_the_command_compiles_nothing(warmed, dtype):
    arguments = "sin", "--epochs", 30, "--init", "he", "--dtype", dtype
    _, out, err = run(*arguments, FASTNP_QUIET="", FASTNP_BACKEND="numba", **warmed.environment)
    assert err == "", "something was still compiled"
    assert f"numba, {dtype}" in out


def test_after_warmup_no_class_compiles_anything(warmed):
    environment = {"FASTNP_QUIET": "", "FASTNP_BACKEND": "numba", **warmed.environment}
    status, out, err = run("--version", code=TRAIN_ALL_CLASSES, **environment)
    assert (status, err) == (0, ""), "something was still compiled"
    assert {"Linear", "ReLU", "MSE", "SGD"} <= set(out.splitlines()[0].split())


# --- which parts there are ---


def test_the_parts_are_those_of_the_kernels():
    modules = operation_modules("compiled")
    rules = named(modules.pop("updates"))
    expected = {f"updates.{rule}.{role}" for rule in rules - {"gradients"} for role in ("begin", "flat")}
    expected.add("norm.gradients.squares")
    del modules["norm"]
    for room, module in modules.items():
        for name in named(module):
            operation = getattr(module, name)
            roles = ["forward", "input"] if isinstance(operation, Operation) else ["sum"]
            if getattr(operation, "parameters", None):
                roles += [f"parameters.{rule}" for rule in rules]
            expected |= {f"{room}.{name}.{role}" for role in roles}
    assert sorted(part_names()) == sorted(expected)


def test_every_public_class_that_kernels_know_has_its_parts():
    for cls in [value for value in map(vars(fastnp).get, fastnp.__all__) if isinstance(value, type)]:
        kind, rule = getattr(cls, "_kernel_kind", None), getattr(cls, "_kernel_rule", None)
        if isinstance(kind, Kind):
            assert any(name.startswith(f"{kind.name}.") for name in part_names()), cls
        if isinstance(rule, Rule):
            assert f"updates.{rule.name}.flat" in part_names(), cls


def test_a_new_public_class_is_compiled_too(monkeypatch):
    before = set(part_names())
    with_weights = [name.removesuffix(".momentum") for name in before if name.endswith(".parameters.momentum")]
    rules = [name.split(".")[1] for name in before if name.endswith(".begin")] + ["rule", "variant"]
    layer = type("New", (fastnp.Layer,), {"_kernel_kind": Kind("new.layer", weights=True)})
    for name, cls in {
        "New": layer,
        "NewLoss": type("NewLoss", (), {"_kernel_kind": Kind("new.loss", variants=("new.other",))}),
        "Rules": type("Rules", (), {"_kernel_rule": Rule("rule", variants=("variant",))}),
        "Own": type("Own", (layer,), {}),  # which declares nothing itself
    }.items():
        monkeypatch.setattr(fastnp, name, cls, raising=False)
        monkeypatch.setattr(fastnp, "__all__", [*fastnp.__all__, name])
    assert set(part_names()) - before == {
        "new.layer.forward",
        "new.layer.input",
        *(f"new.layer.parameters.{rule}" for rule in ("gradients", *rules)),
        *(f"{name}.{rule}" for name in with_weights for rule in ("rule", "variant")),
        "new.loss.sum",
        "new.other.sum",
        *(f"updates.{rule}.{role}" for rule in ("rule", "variant") for role in ("begin", "flat")),
    }


# --- what may be missing ---


def test_warmup_without_a_cache_folder_says_so(call, monkeypatch):
    from fastnp.kernels.compiled import _cache

    monkeypatch.setattr(_cache, "CACHE_FOLDER", None)
    monkeypatch.setattr("fastnp.commands.warmup.compile_everything", lambda dtype: None)
    status, out, _ = call("warmup", "--clear")
    assert status == 0
    assert "kept in nowhere: no cache folder can be written, every process compiles anew" in out


def test_warmup_without_numba():
    status, out, err = run("warmup", code="import sys; sys.modules['numba'] = None")
    assert (status, out) == (2, "")
    assert "Numba cannot be imported" in err and err.count("\n") == 1
