"""`fastnp digits`: what it splits, learns, prints and draws, and what it says where scikit-learn is missing."""

import re
import statistics

import numpy as np
import pytest
from command_line import call as call
from command_line import files as files
from command_line import number, run

import fastnp as nn
from fastnp.commands import digits


@pytest.fixture
def sklearn():
    return pytest.importorskip("sklearn")


def lines(out):
    """What is printed, without what it took in time."""
    return re.sub(r"[0-9.]+ s,|, \d+ steps/s", "", out).splitlines()


# --- what it reports ---


@pytest.mark.parametrize("backend", ["numba", "numpy"])
def test_digits_reports(sklearn, call, backend):
    before = nn.get_backend()
    status, out, err = call("digits", "--epochs", 3, "--batch-size", 40, "--backend", backend, "--dtype", "float64")
    assert (status, err) == (0, "")
    assert [line.split("  ")[0] for line in out.splitlines()] == ["accuracy", "validation loss", "training", "backend"]
    right, seconds, speed = number(out, "accuracy") * 360, number(out, "training"), re.search(r"(\d+) steps/s", out)
    assert f"({round(right)} of 360 test digits)" in out and "of 3, the best, whose parameters are kept)" in out
    assert "90 steps" in out and int(speed[1]) == pytest.approx(90 / seconds, rel=0.2)
    assert re.search(rf"^backend +{backend}, float64$", out, re.MULTILINE)
    assert nn.get_backend() == before


def test_it_learns_whatever_the_seed(sklearn, call):
    accuracies = [number(call("digits", "--seed", seed, "--backend", "numba")[1], "accuracy") for seed in range(10)]
    print(accuracies)
    assert statistics.median(accuracies) >= 0.97 and min(accuracies) >= 0.96


def test_a_seed_fixes_all_that_is_drawn(sklearn, call):
    np.random.seed(1)
    first = lines(call("digits", "--epochs", 4, "--seed", 5)[1])
    np.random.seed(2)
    again = lines(call("digits", "--epochs", 4, "--seed", 5)[1])
    other = lines(call("digits", "--epochs", 4, "--seed", 6)[1])
    assert first == again and first[1] != other[1]


def test_it_stops_and_says_where(sklearn, call):
    status, out, _ = call("digits", "--patience", 1)
    best, last = map(int, re.search(r"epoch (\d+) of (\d+), the best", out).groups())
    assert status == 0
    assert best == last - 1 < 100
    assert f"{last * 38} steps" in out


def test_no_epochs(sklearn, call):
    status, out, err = call("digits", "--epochs", 0)
    assert (status, err) == (0, "")
    assert "validation loss" not in out and " 0 steps, 0 steps/s" in out


def test_help(call):
    status, out, _ = call("--help")
    assert status == 0 and "digits" in out
    assert "Linear(64,64) GELU Linear(64,10)" in " ".join(call("digits", "--help")[1].split())


# --- what it trains on ---


def test_the_parts_are_apart_and_alike(sklearn):
    parts = digits.split_digits(0)
    assert [x.shape for x, _ in parts] == [(1197, 64), (240, 64), (360, 64)]
    assert all(y.shape == (len(x),) for x, y in parts)
    x = np.concatenate([x for x, _ in parts])
    assert x.min() == 0 and x.max() == 1
    assert len(np.unique(x, axis=0)) == 1797  # no two are the same, so that none is in two parts
    for _, y in parts:
        np.testing.assert_allclose(np.bincount(y) / len(y), np.bincount(parts.training[1]) / 1197, atol=0.006)
    assert not np.array_equal(digits.split_digits(1).test[1], parts.test[1])


def test_the_best_parameters_are_kept(sklearn):
    data = digits.split_digits(3)
    training = digits.Training(data, 32, 0.02, 3, 3, "float32")
    history = training.run(100)
    x, y = data.validation
    losses = history.validation_loss
    assert len(losses) < 100 and history.best_epoch == np.argmin(losses) == len(losses) - 4
    assert nn.CrossEntropy(digits.SMOOTHING)(training.model.predict(x), y) == min(losses)


# --- the picture ---


def test_the_picture_reads_back(sklearn, files, call):
    image = pytest.importorskip("matplotlib.image")
    status, out, err = call("digits", "--epochs", 2, "--plot", "digits.png")
    assert (status, err) == (0, "") and out.endswith("picture             digits.png\n")
    assert image.imread("digits.png").shape[:2] == (1147, 2040)


# --- what goes wrong ---

BAD = [
    ("--plot none/digits.png", "the folder none of the picture does not exist"),
    ("--plot digits.gif", "must end in one of .png, .pdf, .svg"),
    ("--plot .", "is a directory"),
    ("--learning-rate nan", "learning_rate must be finite and not negative, got nan"),
    ("--patience 0", "0 is not in the range"),
    ("--epochs -1", "-1 is not in the range"),
    ("--batch-size 0", "0 is not in the range"),
    ("--seed -1", "-1 is not in the range"),
]


@pytest.mark.parametrize(("arguments", "message"), BAD, ids=[arguments for arguments, _ in BAD])
def test_a_mistake_is_one_line_and_status_2(sklearn, files, call, monkeypatch, arguments, message):
    def train(*arguments, **options):
        raise AssertionError("trained before the error was found")

    monkeypatch.setattr(digits, "fit", train)
    if "--plot" in arguments:
        pytest.importorskip("matplotlib")
    status, out, err = call("digits", *arguments.split())
    assert (status, out) == (2, "")
    assert err.startswith("fastnp: error: ") and err.count("\n") == 1 and message in err


@pytest.mark.parametrize("backend", ["numba", "numpy"])
def test_a_training_that_diverges_is_one_line_and_status_1(sklearn, call, backend):
    status, out, err = call("digits", "--learning-rate", 1e38, "--backend", backend)
    assert (status, out) == (1, "")
    assert err.startswith("fastnp: the training diverged: ") and err.count("\n") == 1


def test_without_scikit_learn():
    status, out, err = run("digits", code="import sys; sys.modules['sklearn'] = None")
    assert (status, out) == (2, "")
    assert err.startswith('fastnp: error: digits needs scikit-learn: pip install "fastnp[sklearn]"')
    assert err.count("\n") == 1
