"""Every kernel and every part stands in both wings, and has cases."""

import inspect
import os
import subprocess
import sys
from pathlib import Path

import cases
import program_cases
import pytest
import sizes
import step_cases

import fastnp
from fastnp.backend import BACKENDS, kernels_of
from fastnp.commands.warmup import part_names
from fastnp.kernels.compiled import run as compiled
from fastnp.kernels.compiled import step as compiled_step
from fastnp.kernels.reference import run as reference
from fastnp.kernels.reference import step as reference_step

KERNELS = [name for name in vars(kernels_of("numpy")) if name not in ("name", "parts", "steps")]


@pytest.mark.parametrize("name", KERNELS)
def test_a_kernel_and_its_twin_have_one_signature(name):
    kernel = getattr(compiled, name).py_func
    twin = getattr(reference, name)
    assert inspect.signature(twin) == inspect.signature(kernel)
    assert kernel.__name__ == twin.__name__ == name
    assert kernel.__doc__


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_backend_has_all_kernels(backend):
    run = compiled if backend == "numba" else reference
    listed = vars(kernels_of(backend)).copy()
    assert listed.pop("name") == backend
    del listed["parts"], listed["steps"]
    public = [name for name, value in vars(compiled).items() if hasattr(value, "py_func") and not name.startswith("_")]
    assert {name for name in public if getattr(compiled, name).py_func.__module__ == compiled.__name__} == set(KERNELS)
    assert listed == {name: getattr(run, name) for name in KERNELS}


STEPS = [name.removeprefix("step_") for name in step_cases.STEPS_OF_NETWORKS | step_cases.STEPS_OF_SIZES]


@pytest.mark.parametrize("name", STEPS)
def test_a_step_and_its_twin_have_one_signature(name):
    step, twin = getattr(compiled_step, name), getattr(reference_step, name)
    assert inspect.signature(twin) == inspect.signature(step)
    assert step.__doc__


def test_all_steps_have_cases():
    of_module = inspect.getmembers(compiled_step, inspect.isfunction)
    functions = [name for name, value in of_module if value.__module__ == compiled_step.__name__]
    assert sorted(functions) == sorted(STEPS)


class Asked(dict):
    """The parts of a backend, and which of them were asked for."""

    def __init__(self, parts):
        self.parts, self.names = parts, set()

    def __getitem__(self, key):
        self.names.add(key[0])
        return self.parts[key]


def test_every_part_has_cases():
    """What warmup compiles, taken from the classes, is what the cases call."""
    kernels = kernels_of("numpy")
    asked = Asked(kernels.parts)
    watched = type(kernels)(**{**vars(kernels), "parts": asked})
    for name in cases.ON_SIZES:
        cases.build(name, sizes.CASES[1], "float32").run(watched)
    assert asked.names == set(part_names())
    # `loss`, `squares` and `update` run the parts of losses and rules
    assert len(program_cases.ON_NETWORKS) + 3 == len(KERNELS)


def test_the_benchmarks_run_all_cases():
    """They read the classes of the working tree: the commit that is measured may have others."""
    layouts = pytest.importorskip("asv_benches.layouts", reason="only in a checkout")
    assert sorted(layouts.ON_SIZES) == sorted(cases.ON_SIZES)
    assert sorted(layouts.ON_NETWORKS) == sorted(cases.ON_NETWORKS)


def test_a_program_on_numpy_never_loads_numba():
    code = """
import sys
import numpy as np
import fastnp
assert "numba" not in sys.modules, "loaded by the import"
model = fastnp.Sequential(fastnp.Linear(2, 3), fastnp.ReLU(), fastnp.Linear(3, 1))
optimizer, loss = fastnp.SGD(parameters=model.parameters()), fastnp.MSE()
x, y = np.ones((4, 2)), np.ones((4, 1))
loss(model(x), y)
model.backward(loss.backward())
optimizer.step()
optimizer.clear_grad()
fastnp.fit(model, loss, optimizer, fastnp.DataLoader(fastnp.ArrayDataset(x, y)), 1)
assert "numba" not in sys.modules, "loaded by the training"
"""
    path = os.pathsep.join(filter(None, [str(Path(fastnp.__file__).parents[1]), os.environ.get("PYTHONPATH")]))
    environment = {**os.environ, "FASTNP_BACKEND": "numpy", "PYTHONPATH": path}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
