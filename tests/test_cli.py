"""The command: what it prints, learns and draws, and the one line it leaves for what goes wrong."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import fastnp
from fastnp import MSE, SGD, ArrayDataset, DataLoader, Linear, get_backend
from fastnp.commands import main as cli
from fastnp.datasets import sin_curve, sin_data

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
            cli.main([str(argument) for argument in arguments])
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


# --- what it does ---


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
    model = cli.sin_network("he", "float32")
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
    model = cli.sin_network("normal", "float64")
    linears = model.graphs[::2]
    assert [layer.weights.shape for layer in linears] == [(1, 16), (16, 64), (64, 16), (16, 1)]
    assert all(isinstance(layer, Linear) and layer.weights.dtype == np.float64 for layer in linears)
    assert [str(layer) for layer in model.graphs[1::2]] == ["relu"] * 3
    assert np.std(linears[1].weights.data) == pytest.approx(0.01, rel=0.1)
    he = cli.sin_network("he", "float32").graphs[2]
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


# --- what goes wrong ---

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

    monkeypatch.setattr(cli, "fit", train)


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


# --- Ctrl-C and the progress bar ---


def test_ctrl_c_is_status_130_and_one_line(call, monkeypatch):
    def train(*arguments, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "fit", train)
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


# --- warmup ---


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


# --- the picture ---


def test_the_figure_holds_data_curves_and_losses():
    plot = pytest.importorskip("fastnp.training.plot")
    x, y = sin_data(40, rng=np.random.default_rng(0))
    grid = np.linspace(-np.pi, np.pi, 500)[:, np.newaxis]
    losses = [1.0, 0.5, 0.01]
    figure = plot.draw_fit(x, y, grid, sin_curve(grid), 0.9 * sin_curve(grid), losses)
    left, right = figure.axes
    assert np.array_equal(left.collections[0].get_offsets(), np.hstack([x, y]))
    truth, fitted = left.lines
    assert np.array_equal(truth.get_ydata(), sin_curve(grid)[:, 0])
    assert np.array_equal(fitted.get_ydata(), 0.9 * sin_curve(grid)[:, 0])
    (loss,) = right.lines
    assert loss.get_xdata().tolist() == [1, 2, 3] and list(loss.get_ydata()) == losses
    assert right.get_yscale() == "log"
    assert [text.get_text() for text in left.get_legend().get_texts()] == [
        "data, 40 points",
        "2 sin x",
        "fitted network",
    ]
    assert all(axes.get_xlabel() and axes.get_ylabel() and axes.get_title(loc="left") for axes in figure.axes)


def test_a_history_is_drawn_with_and_without_validation():
    plot = pytest.importorskip("fastnp.training.plot")
    (axes,) = plot.draw_history([1.0, 0.1], []).axes
    assert [line.get_label() for line in axes.lines] == ["training"]
    (axes,) = plot.draw_history([1.0, 0.1], [1.2, 0.0]).axes
    assert [line.get_label() for line in axes.lines] == ["training", "validation"]
    assert axes.lines[1].get_ydata()[0] == 1.2 and np.isnan(axes.lines[1].get_ydata()[1])


@pytest.mark.parametrize("losses", [[], [0.5], [0.0, 0.0], [np.nan, np.nan], [1.0, np.inf]])
def test_any_training_can_be_drawn(tmp_path, losses):
    plot = pytest.importorskip("fastnp.training.plot")
    x = np.linspace(-50, 50, 5)[:, np.newaxis]
    figure = plot.draw_fit(x, x, x, x, np.full_like(x, np.nan), losses)
    figure.savefig(tmp_path / "fit.png")
    assert (tmp_path / "fit.png").stat().st_size > 10_000


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
