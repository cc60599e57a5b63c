"""The command: what it prints, learns and draws, and how Ctrl-C ends it."""

import os
import re
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from command_line import ROOT, number, run
from command_line import call as call
from command_line import files as files

import fastnp
from fastnp import MSE, SGD, ArrayDataset, DataLoader, Linear, get_backend
from fastnp.commands import sin
from fastnp.datasets import sin_curve, sin_data


@pytest.mark.parametrize("backend", ["numba", "numpy"])
def test_sin_reports(call, backend):
    before = get_backend()
    status, out, _ = call("sin", "--epochs", 3, "--backend", backend, "--dtype", "float64")
    assert status == 0
    assert [line.split("  ")[0] for line in out.splitlines()] == [
        "training loss",
        "mean squared error",
        "training",
        "backend",
    ]
    assert "75 steps" in out and "epoch 3)" in out and "against 2 sin x, 500 points in [-pi, pi]" in out
    assert re.search(rf"^backend +{backend}, float64$", out, re.MULTILINE)
    assert get_backend() == before


def test_the_default_run_learns_the_curve(files, call):
    status, out, err = call("sin", "--plot", "fit.png")
    assert (status, err) == (0, "")
    assert number(out, "training loss") < 0.02
    assert number(out, "mean squared error") < 0.05
    assert (files / "fit.png").stat().st_size > 20_000


def test_a_run_is_the_tutorials_program_by_hand(call):
    """The same draws in the same order: data, choice, weights, shuffle."""
    _, out, _ = call("sin", "--epochs", 4, "--seed", 3, "--init", "he", "--learning-rate", 0.002, "--momentum", 0.5)
    np.random.seed(3)
    x, y = sin_data()
    picked = np.random.choice(200, 100)
    model = sin.sin_network("he", "float32")
    optimizer, loss_fn = SGD(0.5, parameters=model.parameters(), learning_rate=0.002), MSE()
    loader = DataLoader(ArrayDataset(x[picked], y[picked]), shuffle=True, batch_size=4, drop_last=True)
    for _ in range(4):
        losses = []
        for data, target in loader:
            losses.append(loss_fn(model(data), target))
            model.backward(loss_fn.backward())
            optimizer.step()
            optimizer.clear_grad()
    grid = np.linspace(-np.pi, np.pi, 500)[:, np.newaxis]
    assert number(out, "training loss") == pytest.approx(np.mean(losses), abs=1e-6)
    assert number(out, "mean squared error") == pytest.approx(np.mean((model(grid) - sin_curve(grid)) ** 2), abs=1e-6)


def test_the_network_is_the_tutorials():
    model = sin.sin_network("normal", "float64")
    linears = model.graphs[::2]
    assert [layer.weights.shape for layer in linears] == [(1, 16), (16, 64), (64, 16), (16, 1)]
    assert all(isinstance(layer, Linear) and layer.weights.dtype == np.float64 for layer in linears)
    assert [str(layer) for layer in model.graphs[1::2]] == ["relu"] * 3
    assert np.std(linears[1].weights.data) == pytest.approx(0.01, rel=0.1)
    he = sin.sin_network("he", "float32").graphs[2]
    assert np.std(he.weights.data) == pytest.approx(np.sqrt(2 / 16), rel=0.1)


def test_given_files_are_used_whole(files, call):
    status, out, _ = call("sin", "--x", "x.npy", "--y", "y.npy", "--batch-size", 5, "--epochs", 7)
    assert status == 0
    assert "14 steps" in out


def test_a_batch_may_be_all_points(files, call):
    assert call("sin", "--x", "x.npy", "--y", "y.npy", "--batch-size", 12, "--epochs", 1)[0] == 0
    assert call("sin", "--batch-size", 100, "--epochs", 1)[0] == 0


def test_no_epochs(files, call):
    status, out, err = call("sin", "--epochs", 0, "--plot", "fit.svg")
    assert (status, err) == (0, "")
    assert "training loss" not in out and "0 steps" in out
    assert (files / "fit.svg").read_text(encoding="utf-8").startswith("<?xml")


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        (["--epochs", 2], "--init he --learning-rate 0.001"),
        (["--epochs", 2, "--init", "he", "--learning-rate", 0], "a smaller --learning-rate or more --epochs"),
    ],
)
def test_a_failed_training_says_so_in_one_line(call, arguments, hint):
    status, _, err = call("sin", *arguments)
    assert status == 0
    assert err.startswith("fastnp: ") and hint in err and err.count("\n") == 1


@pytest.mark.parametrize("backend", ["numba", "numpy"])
def test_a_training_that_diverges_is_one_line_and_status_1(call, backend):
    status, out, err = call("sin", "--epochs", 2, "--learning-rate", 1e30, "--backend", backend)
    assert (status, out) == (1, "")
    assert err.startswith("fastnp: the training diverged: ") and err.count("\n") == 1


@pytest.mark.parametrize("arguments", [[], ["-h"], ["--help"]])
def test_help(call, arguments):
    status, out, err = call(*arguments)
    assert (status, err) == (0, "")
    assert "sin" in out and "warmup" in out


def test_version(call):
    assert call("--version") == (0, f"fastnp {fastnp.__version__}\n", "")


def test_nothing_heavy_is_imported_before_it_is_needed():
    code = """
import sys, fastnp
print("click" in sys.modules)
import fastnp.commands.main
print([name for name in ("numba", "matplotlib") if name in sys.modules])
"""
    status, out, _ = run("--version", code=code)
    assert status == 0
    assert out.splitlines()[:2] == ["False", "[]"]


def test_python_m_shows_the_name_of_the_command():
    status, out, _ = run("sin", "--help")
    assert status == 0
    assert out.startswith("Usage: fastnp sin ")


# --- Ctrl-C and the progress bar ---


def test_ctrl_c_is_status_130_and_one_line(call, monkeypatch):
    def train(*arguments, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(sin, "fit", train)
    assert call("sin") == (130, "", "fastnp: stopped\n")


@pytest.mark.skipif(sys.platform == "win32", reason="no terminals to open")
def test_ctrl_c_at_a_terminal_with_a_progress_bar():
    import pty
    import termios

    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (24, 100))
    process = subprocess.Popen(
        [sys.executable, "-m", "fastnp", "sin", "--epochs", "100000000", "--backend", "numpy"],
        stdout=subprocess.PIPE,
        stderr=theirs,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )
    os.close(theirs)
    seen, deadline = b"", time.monotonic() + 60
    try:
        while b"loss" not in seen and time.monotonic() < deadline:
            seen += os.read(ours, 4096)
        process.send_signal(signal.SIGINT)
        out, _ = process.communicate(timeout=60)
        while not seen.endswith(b"stopped\r\n"):
            seen += os.read(ours, 4096)
    finally:
        process.kill()
        os.close(ours)
    assert process.returncode == 130
    assert out == b""
    assert re.search(rb"\d+/100000000 \[.*loss \d\.\d{4}\]", seen)


def test_no_progress_bar_in_a_pipe():
    status, _, err = run("sin", "--epochs", 30, "--backend", "numpy", "--init", "he")
    assert (status, err) == (0, "")


def test_the_picture_reads_back(files, call):
    image = pytest.importorskip("matplotlib.image")
    assert call("sin", "--epochs", 20, "--init", "he", "--plot", "fit.png")[0] == 0
    assert (files / "fit.png").read_bytes().startswith(b"\x89PNG")
    pixels = image.imread("fit.png")
    height, width, _ = pixels.shape
    assert width == 1650 and height == 690
    for half in pixels[:, : width // 2], pixels[:, width // 2 :]:
        white = (half[..., :3] == 1).all(axis=-1).mean()
        assert 0.7 < white < 0.98
        red = np.abs(half[..., :3] - np.array([0xD1, 0x49, 0x5B]) / 255).max(axis=-1) < 0.02
        assert red.sum() > 500
