"""The shape of the code base: short files and functions, imports downward only, and two wings that are alike."""

import ast
import graphlib
import os
import pickle
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
from wings import WINGS, is_operation_module, named, operation_modules

import fastnp

ROOT = Path(__file__).parents[2]
FOLDERS = {"fastnp": ROOT / "fastnp", "fastnp.kernels": ROOT / "kernels"}
SETUPTOOLS = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"]
PUBLIC = {name: value for name, value in vars(fastnp).items() if name in fastnp.__all__}


def sources():
    """The file of every module, by its name; a package is its `__init__`."""
    found = {}
    for package, folder in FOLDERS.items():
        for path in sorted(folder.rglob("*.py")):
            inside = path.relative_to(folder).with_suffix("").parts
            found[".".join([package, *inside]).removesuffix(".__init__")] = path
    return found


SOURCES = sources()
TREES = {name: ast.parse(path.read_text(encoding="utf-8")) for name, path in SOURCES.items()}


def imports(name):
    """What a module imports, by full name: at its top, in its functions, and for types alone.

    `from package import module` imports the module; that it runs the `__init__` above it does not count.
    """
    package = name if SOURCES[name].name == "__init__.py" else name.rpartition(".")[0]
    found = set()
    for node in ast.walk(TREES[name]):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            base = ".".join([*above, *filter(None, [node.module])])
            for alias in node.names:
                found.add(f"{base}.{alias.name}" if f"{base}.{alias.name}" in SOURCES else base)
    return found


IMPORTS = {name: imports(name) for name in SOURCES}
INSIDE = {name: {other for other in others if other in SOURCES} for name, others in IMPORTS.items()}


def reachable(name):
    """All modules of ours that a module imports, and those import."""
    found, waiting = set(), [name]
    while waiting:
        for other in INSIDE[waiting.pop()] - found:
            found.add(other)
            waiting.append(other)
    return found


def room(name):
    """The folder or file in `fastnp/` that a module belongs to; that of `fastnp/__init__.py` is ''."""
    return ".".join(name.split(".")[1:2])


# --- size ---


def test_the_sources_are_found():
    assert {"fastnp", "fastnp.training.fit", "fastnp.kernels", "fastnp.kernels.compiled.run"} <= set(SOURCES)


@pytest.mark.parametrize("name", SOURCES)
def test_a_file_is_short(name):
    lines = SOURCES[name].read_text(encoding="utf-8").count("\n")
    assert lines <= 250 or name == "fastnp.kernels.compiled.simd"  # one intrinsic after the other


@pytest.mark.parametrize("name", SOURCES)
def test_a_function_is_short(name):
    functions = [node for node in ast.walk(TREES[name]) if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))]
    assert not {f.name: f.end_lineno - f.lineno + 1 for f in functions if f.end_lineno - f.lineno >= 50}


# --- imports ---

FLOORS = [  # from the top; on each, what imports only what is on it or below
    {"commands", "__main__", "estimators"},
    {""},
    {"trust", "training", "embedding"},
    {"interchange"},
    {"layers"},
    {"program", "optimizers", "losses"},
    {"tensor", "arena", "data", "datasets", "initializers"},
    {"arrays", "checks", "backend", "errors", "overrides", "prediction", "schedules", "state", "warned", "weights"},
    {"kernels", "listeners"},
]


def floor(name):
    (found,) = (i for i, rooms in enumerate(FLOORS) if room(name) in rooms)
    return found


def test_every_room_has_its_floor():
    rooms = [name for rooms in FLOORS for name in rooms]
    assert sorted(rooms) == sorted({room(name) for name in SOURCES})


@pytest.mark.parametrize("name", SOURCES)
def test_imports_go_downward(name):
    assert not [other for other in INSIDE[name] if floor(other) < floor(name)]


def assert_no_circle(graph):
    try:
        graphlib.TopologicalSorter(graph).prepare()
    except graphlib.CycleError as error:
        pytest.fail(f"a circle of imports: {' <- '.join(error.args[1])}")


def test_modules_do_not_import_in_a_circle():
    assert_no_circle(INSIDE)


def test_rooms_do_not_import_in_a_circle():
    rooms = {}
    for name, others in INSIDE.items():
        rooms.setdefault(room(name), set()).update({room(other) for other in others} - {room(name)})
    assert_no_circle(rooms)


def test_a_circle_is_found():
    with pytest.raises(pytest.fail.Exception, match=r"a <- .*a"):
        assert_no_circle({"a": {"b"}, "b": {"c"}, "c": {"a", "d"}})


def test_imports_are_found_wherever_they_stand():
    assert "fastnp.training.plot" in IMPORTS["fastnp.training.history"]  # inside a function
    assert "fastnp.overrides" in IMPORTS["fastnp.layers.sequential"]  # `from .. import overrides`
    assert "fastnp" in IMPORTS["fastnp.commands.check"]  # `from .. import Linear`
    assert "fastnp.layers.linear" in IMPORTS["fastnp"]  # of an `__init__`
    assert "numba" in IMPORTS["fastnp.kernels.compiled._jit"]


# --- the wings of the kernels ---


def wing(name):
    """'compiled', 'reference', or '' for what is in neither."""
    name = name.removeprefix("fastnp.kernels").removeprefix(".").partition(".")[0]
    return name if name in WINGS else ""


KERNELS = [name for name in SOURCES if room(name) == "kernels"]


@pytest.mark.parametrize("wing_name", WINGS)
@pytest.mark.parametrize("module", ["run", "walk"])
def test_what_goes_through_a_table_knows_no_operation(wing_name, module):
    found = [name for name in reachable(f"fastnp.kernels.{wing_name}.{module}") if wing(name)]
    assert found
    assert not [name for name in found if is_operation_module(name.rpartition(".")[2])]


@pytest.mark.parametrize("name", KERNELS)
def test_a_wing_is_imported_by_itself_alone(name):
    assert {wing(other) for other in INSIDE[name]} <= {wing(name), ""}


@pytest.mark.parametrize("name", KERNELS)
def test_what_kernels_import_of_others(name):
    allowed = {"": {"numpy", "platformdirs"}, "compiled": {"numpy", "numba", "llvmlite"}, "reference": {"numpy"}}
    outside = {other.split(".")[0] for other in IMPORTS[name] - INSIDE[name]}
    assert outside <= allowed[wing(name)] | sys.stdlib_module_names
    if wing(name) == "reference":
        assert {other for other in INSIDE[name] if not wing(other)} <= {"fastnp.kernels.blocks", "fastnp.kernels.table"}


def test_both_wings_have_the_same_operations():
    compiled, reference = (
        {name: named(module) for name, module in operation_modules(wing_name).items()} for wing_name in WINGS
    )
    assert compiled == reference
    assert all(compiled.values())
    some = {"linear": {"linear"}, "activations": {"relu"}, "losses": {"mse"}, "updates": {"gradients", "momentum"}}
    assert all(names <= compiled[module] for module, names in some.items())


# --- how it is packed ---


def packages():
    """The packages in the folders, and the folder of each."""
    return {name: path.parent for name, path in SOURCES.items() if path.name == "__init__.py"}


def test_all_packages_are_installed():
    assert SETUPTOOLS["packages"] == sorted(packages())
    assert {name: ROOT / folder for name, folder in SETUPTOOLS["package-dir"].items()} == FOLDERS


def installed(folder):
    """The packages as they are installed, in a folder to import from."""
    for name in SETUPTOOLS["packages"]:
        place = folder.joinpath(*name.split("."))
        place.mkdir(parents=True)
        for path in packages()[name].glob("*.py"):
            shutil.copy(path, place)
    return folder


def answers(code, folder):
    """What a program prints that is run in a folder, with fastnp to be found there."""
    environment = os.environ | {"PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], env=environment, cwd=folder, capture_output=True, text=True,
        timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


@pytest.mark.parametrize("place", ["checkout", "installed"])
def test_nothing_beside_the_packages_is_a_part_of_fastnp(place, tmp_path):
    folder = ROOT if place == "checkout" else installed(tmp_path)
    code = """
import importlib.util, fastnp
print(fastnp.__file__)
for name in "kernels", "kernels.compiled", "layers", "tests", "fastnp", "asv_benches":
    print(importlib.util.find_spec(f"fastnp.{name}") is not None)
"""
    file, *found = answers(code, folder)
    assert Path(file) == folder / "fastnp" / "__init__.py"
    assert found == ["True"] * 3 + ["False"] * 3


def test_every_module_is_installed(tmp_path):
    extras = {"fastnp.training.plot", "fastnp.training.plot_digits"}
    extras |= {name for name in SOURCES if room(name) == "estimators"}
    names = sorted(set(SOURCES) - extras - {"fastnp.__main__"})  # which would run
    code = f"""
import importlib
for name in {names}:
    print(importlib.import_module(name).__file__)
"""
    folder = installed(tmp_path)
    assert all(Path(file).is_relative_to(folder) for file in answers(code, folder))


# --- public names ---


def test_all_public_names_are_there():
    assert sorted(PUBLIC) == sorted(fastnp.__all__)
    assert "Linear" in PUBLIC and "fit" in PUBLIC


@pytest.mark.parametrize("name", PUBLIC)
def test_a_public_name_stands_in_fastnp(name):
    assert (PUBLIC[name].__module__, PUBLIC[name].__qualname__) == ("fastnp", name)


@pytest.mark.parametrize("name", [name for name, value in PUBLIC.items() if isinstance(value, type)])
def test_pickles_find_a_class_in_fastnp(name):
    pickled = pickle.dumps(PUBLIC[name], protocol=0)  # the one that can be read
    assert pickled.startswith(f"cfastnp\n{name}\n".encode())
    assert pickle.loads(pickled) is PUBLIC[name]


def test_the_installed_layout_can_be_imported_from_an_archive(tmp_path):
    archive = tmp_path / "fastnp.zip"
    with zipfile.ZipFile(archive, "w") as file:
        for name, path in SOURCES.items():
            inside = Path(*name.split("."))
            file.write(path, inside / "__init__.py" if path.name == "__init__.py" else inside.with_suffix(".py"))
    code = "import fastnp as nn, fastnp.kernels as k; print(k.__file__); nn.Sequential(nn.Linear(2, 1))([[1, 2]])"
    environment = {**os.environ, "PYTHONPATH": str(archive), "FASTNP_BACKEND": "numpy"}
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert str(archive) in done.stdout
