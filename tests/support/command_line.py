"""The command, called in this process and in one of its own, and files to give to it."""

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import fastnp
from fastnp.commands.main import main

ROOT = Path(fastnp.__file__).parents[1]


def start(*arguments, code=None, **environment):
    """The command in a process of its own; `code` runs before it."""
    program = [sys.executable, "-W", "error", "-m", "fastnp"]
    if code:
        program = [sys.executable, "-W", "error", "-c", f"{code}\nfrom fastnp.commands.main import main\nmain()"]
    return subprocess.Popen(
        [*program, *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
        env=os.environ | {"FASTNP_QUIET": "1", "PYTHONPATH": str(ROOT)} | environment,
    )


def run(*arguments, code=None, **environment):
    """(exit status, stdout, stderr) of the command in a process of its own."""
    process = start(*arguments, code=code, **environment)
    out, err = process.communicate(timeout=120)
    return process.returncode, out, err


@pytest.fixture
def call(capsys, monkeypatch):
    """(exit status, stdout, stderr) of the command in this process."""
    monkeypatch.setenv("FASTNP_QUIET", "1")

    def call(*arguments):
        try:
            main([str(argument) for argument in arguments])
        except SystemExit as stop:
            status = stop.code
        else:
            status = 0
        return (status, *capsys.readouterr())

    return call


@pytest.fixture
def files(tmp_path, monkeypatch):
    """A folder to be in, with a good x.npy and y.npy."""
    monkeypatch.chdir(tmp_path)
    x = np.linspace(-3, 3, 12)
    np.save("x.npy", x)
    np.save("y.npy", 2 * np.sin(x))
    return tmp_path


def number(out, label):
    return float(re.search(rf"^{label} +(\S+)", out, re.MULTILINE)[1])
