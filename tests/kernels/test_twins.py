"""The shape of the code base: every kernel has its twin, and imports go one way only."""

import ast
import importlib
import inspect
import os
import subprocess
import sys
from pathlib import Path

import cases
import pytest
from numba.core.caching import NullCache
from numba.core.dispatcher import Dispatcher

import fastnp
from fastnp import kernels as layout
from fastnp.backend import BACKENDS, kernels_of
from fastnp.kernels import reference

KERNEL_FILES = sorted(Path(layout.__file__).parent.glob("*.py"))
FASTNP_FILES = sorted(Path(fastnp.__file__).parent.rglob("*.py"))
COMPILED = [path for path in KERNEL_FILES if path.stem not in ("__init__", "reference")]
ROOT = Path(__file__).parents[2]


def compiled_kernels():
    """Everything decorated with `kernel` in any module of the kernels, by name."""
    found = {}
    for path in COMPILED:
        module = importlib.import_module(f"fastnp.kernels.{path.stem}")
        for name, value in vars(module).items():
            if not isinstance(value, Dispatcher) or value.py_func.__module__ != module.__name__:
                continue
            if type(value._cache) is not NullCache:  # what `inner` decorates has no cache of its own
                assert name not in found
                found[name] = value
    return found


KERNELS = compiled_kernels()


def public_functions(module):
    return {
        name
        for name, value in vars(module).items()
        if inspect.isfunction(value) and value.__module__ == module.__name__ and not name.startswith("_")
    }


def imports(path):
    """(level, module, names) of every import in a file, wherever it stands; level counts the leading dots."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield 0, alias.name, []
        elif isinstance(node, ast.ImportFrom):
            yield node.level, node.module or "", [alias.name for alias in node.names]


def top(module):
    return module.split(".")[0]


def test_kernels_are_found():
    assert {"linear_forward", "relu_backward", "mse", "momentum_update", "program_forward"} <= set(KERNELS)


@pytest.mark.parametrize("name", KERNELS)
def test_a_kernel_and_its_twin_have_one_signature(name):
    twin = getattr(reference, name)
    assert inspect.signature(twin) == inspect.signature(KERNELS[name].py_func)
    assert KERNELS[name].py_func.__name__ == twin.__name__ == name


def test_every_public_twin_has_a_kernel():
    assert public_functions(reference) == set(KERNELS)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_backend_has_all_kernels(backend):
    listed = vars(kernels_of(backend)).copy()
    assert listed.pop("name") == backend
    assert listed == {name: KERNELS[name] if backend == "numba" else getattr(reference, name) for name in KERNELS}


def test_every_kernel_has_cases():
    assert set(cases.BUILDERS) == set(KERNELS)
    for name, kernel in KERNELS.items():
        parameters = list(inspect.signature(kernel.py_func).parameters)
        case = cases.NETWORKS[0] if "table" in parameters else cases.CASES[0]
        assert list(cases.build(name, case, "float32").arguments) == parameters


def test_every_kernel_says_what_it_computes():
    assert all(kernel.py_func.__doc__ for kernel in KERNELS.values())


@pytest.mark.parametrize("path", KERNEL_FILES, ids=lambda path: path.name)
def test_kernels_import_nothing_of_fastnp(path):
    for level, module, _ in imports(path):
        assert level <= 1
        assert level == 1 or top(module) not in ("fastnp", "kernels")


def test_the_twins_import_numpy_and_the_layout_alone():
    found = list(imports(next(path for path in KERNEL_FILES if path.stem == "reference")))
    assert (0, "numpy", []) in found
    for level, module, names in found:
        if level:
            assert (level, module) == (1, "")
            assert all(name.isupper() and isinstance(getattr(layout, name), int) for name in names)
        else:
            assert module == "numpy"


def test_the_layout_imports_neither_numba_nor_numpy():
    found = list(imports(next(path for path in KERNEL_FILES if path.stem == "__init__")))
    assert not [module for level, module, _ in found if level or top(module) in ("numba", "numpy", "llvmlite")]


@pytest.mark.parametrize("path", FASTNP_FILES, ids=lambda path: path.name)
def test_fastnp_never_imports_numba(path):
    for level, module, _ in imports(path):
        assert level or top(module) not in ("numba", "llvmlite")


@pytest.mark.parametrize("folder", ["fastnp", "kernels", "tests", "asv_benches"])
def test_nobody_imports_a_bare_kernels(folder):
    for path in (ROOT / folder).rglob("*.py"):
        for level, module, _ in imports(path):
            assert level or top(module) != "kernels", path


def test_a_program_on_numpy_never_loads_numba():
    code = """
import sys
import numpy as np
import fastnp
assert "numba" not in sys.modules, "loaded by the import"
model = fastnp.Sequential(fastnp.Linear(2, 3), fastnp.ReLU(), fastnp.Linear(3, 1))
optimizer, loss = fastnp.SGD(parameters=model.parameters()), fastnp.MSE()
loss(model(np.ones((4, 2))), np.ones((4, 1)))
model.backward(loss.backward())
optimizer.step()
optimizer.clear_grad()
assert "numba" not in sys.modules, "loaded by the training"
"""
    path = os.pathsep.join(filter(None, [str(Path(fastnp.__file__).parents[1]), os.environ.get("PYTHONPATH")]))
    environment = {**os.environ, "FASTNP_BACKEND": "numpy", "PYTHONPATH": path}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
