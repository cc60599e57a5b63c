"""What goes wrong with the command: one line, and a status."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from command_line import call as call
from command_line import files as files
from command_line import run

from fastnp.commands import sin, warmup

BAD = [
    ("--x none.npy --y y.npy", "'none.npy' does not exist"),
    ("--x . --y y.npy", "is a directory"),
    ("--x x.npy", "--y is missing"),
    ("--y y.npy", "--x is missing"),
    ("--x x.npy --y bad.npy", "bad.npy is not an .npy file of numbers"),
    ("--x x.npy --y complex.npy", "complex.npy has dtype complex128"),
    ("--x x.npy --y wide.npy", "wide.npy has shape (6, 2)"),
    ("--x x.npy --y nan.npy", "nan.npy has nan at position 4"),
    ("--x x.npy --y short.npy", "x.npy has 12 numbers, short.npy 3"),
    ("--x x.npy --y y.npy --batch-size 13", "more than the 12 points"),
    ("--batch-size 101", "more than the 100 points"),
    ("--batch-size 0", "0 is not in the range"),
    ("--epochs -1", "-1 is not in the range"),
    ("--epochs many", "'many'"),
    ("--learning-rate -0.1", "learning_rate must be finite and not negative, got -0.1"),
    ("--learning-rate nan", "learning_rate must be finite and not negative, got nan"),
    ("--momentum -1", "momentum must be finite and not negative, got -1.0"),
    ("--momentum nan", "momentum must be finite and not negative, got nan"),
    ("--backend torch", "'torch' is not one of 'numba', 'numpy'"),
    ("--init zeros", "'zeros' is not one of 'normal', 'he'"),
    ("--dtype float16", "'float16' is not one of"),
    ("--seed -1", "-1 is not in the range"),
    ("--plot none/fit.png", "the folder none of the picture does not exist"),
    ("--plot fit.gif", "must end in one of .png, .pdf, .svg"),
    ("--plot .", "is a directory"),
    ("--unknown", "--unknown"),
    ("x.npy", "unexpected extra argument"),
]


@pytest.fixture
def no_training(monkeypatch):
    def train(*arguments, **options):
        raise AssertionError("trained before the error was found")

    monkeypatch.setattr(sin, "fit", train)
    monkeypatch.setattr(warmup, "fit", train)


@pytest.mark.parametrize(("arguments", "message"), BAD, ids=[arguments for arguments, _ in BAD])
def test_a_mistake_is_one_line_and_status_2(files, call, no_training, arguments, message):
    np.save("complex.npy", np.zeros(12, complex))
    np.save("wide.npy", np.zeros((6, 2)))
    np.save("nan.npy", np.where(np.arange(12) == 4, np.nan, 0))
    np.save("short.npy", np.zeros(3))
    (files / "bad.npy").write_text("0.1\n0.2\n")
    status, out, err = call("sin", *arguments.split())
    assert (status, out) == (2, "")
    assert err.startswith("fastnp: error: ") and err.endswith("\n") and err.count("\n") == 1
    assert message in err


@pytest.mark.parametrize("arguments", [["nonsense"], ["sin", "--epochs", "-1"], ["sin", "--x", "a\nb.npy"]])
def test_a_mistake_in_a_process_of_its_own(arguments):
    status, out, err = run(*arguments)
    assert (status, out) == (2, "")
    assert err.startswith("fastnp: error: ") and err.count("\n") == 1


def test_a_picture_without_matplotlib():
    status, out, err = run("sin", "--plot", "fit.png", code="import sys; sys.modules['matplotlib'] = None")
    assert (status, out) == (2, "")
    assert 'pip install "fastnp[plot]"' in err and err.count("\n") == 1


def test_a_picture_that_cannot_be_written_after_all(files, call, monkeypatch):
    def savefig(figure, path):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("matplotlib.figure.Figure.savefig", savefig)
    status, out, err = call("sin", "--epochs", 0, "--plot", "fit.png")
    assert status == 2 and "mean squared error" in out
    assert "No space left on device" in err and err.count("\n") == 1


# --- output that cannot be written ---


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a device of Linux")
@pytest.mark.parametrize("arguments", [["sin", "--epochs", "1"], ["check"], ["--version"], ["sin", "--help"], []])
def test_a_full_disk_is_one_line(arguments):
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "fastnp", *arguments], stdout=full, stderr=subprocess.PIPE, text=True,
            env=os.environ | {"FASTNP_QUIET": "1"}, timeout=300,
        )  # fmt: skip
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1] == "fastnp: error: the output cannot be written: No space left on device"
    assert "Traceback" not in done.stderr and "Exception ignored" not in done.stderr


def test_a_reader_that_goes_away_is_no_traceback():
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        [sys.executable, "-m", "fastnp", "--version"], stdout=writing, stderr=subprocess.PIPE, text=True, timeout=300
    )
    os.close(writing)
    assert (done.returncode, done.stderr) == (1, "")
