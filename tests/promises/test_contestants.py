"""The libraries that benchmarks measure beside fastnp compute what it computes."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

contestants = pytest.importorskip("asv_benches.contestants", reason="only in a checkout")
from asv_benches import latency  # noqa: E402
from asv_benches.agreement import assert_same_job  # noqa: E402
from asv_benches.contestants import plain  # noqa: E402
from asv_benches.jobs import JOBS  # noqa: E402

ROOT = Path(__file__).resolve().parents[2]
BATCHES, EPOCHS = 5, 2
SMALL = [job for job in JOBS if max(job.network.widths) < 1000]
OURS = [name for name in contestants.OURS if name != "fit"]
LIBRARIES = {**dict.fromkeys(OURS, "fastnp"), "NumPy": "numpy", "PyTorch": "torch", "JAX scan": "jax"}


def reached(name, job):
    train, parameters = contestants.CONTESTANTS[name](job, BATCHES)
    train(EPOCHS)
    return parameters()


@pytest.mark.parametrize("name", LIBRARIES)
@pytest.mark.parametrize("job", SMALL, ids=str)
def test_each_trains_to_the_same_parameters(job, name):
    pytest.importorskip(LIBRARIES[name])
    assert_same_job(f"{job}: {name}", job, reached("fit", job), reached(name, job))


@pytest.mark.parametrize("job", [SMALL[0], SMALL[-1]], ids=str)
@pytest.mark.parametrize("rate", [0.99e-3, 1.01e-3])
def test_another_rate_by_a_hundredth_is_seen(job, rate, monkeypatch):
    monkeypatch.setattr(plain, "LEARNING_RATE", rate)
    with pytest.raises(AssertionError, match="of their way apart"):
        assert_same_job("NumPy", job, reached("fit", job), reached("NumPy", job))


@pytest.mark.parametrize("job", SMALL, ids=str)
def test_scikit_learn_takes_each_job(job):
    pytest.importorskip("sklearn")
    assert reached("sklearn", job) is None  # for it starts from parameters of its own


def test_the_table_is_printed():
    chosen = ["--rounds", "1", "--job", "9", "--only", "NumPy", "--only", "fit, own data", "--threads", "default"]
    header, recipe, row = printed("peers", *chosen)
    assert re.split("  +", header)[-3:] == ["fit", "fit, own data", "NumPy"]
    assert recipe == "Tanh, Adam, MSE"
    assert re.fullmatch(r"64-64-64-64, 32  +[\d.]+ +0\.\d\d +[\d.]+ us +[\d.]+ x +[\d.]+ x", row)
    assert len(header) == len(row)


def printed(name, *options):
    command = [sys.executable, "-m", f"asv_benches.{name}", *options]
    return subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout.splitlines()


def test_the_table_of_one_sample_is_printed():
    header, *rows = printed("latency", "--processes", "1")
    assert re.split("  +", header)[:4] == ["network", "model(x)", "predict(x)", "np.dot"]
    assert [row.split()[0] for row in rows] == list(latency.SAMPLED)
    for row in rows:
        assert len(row) == len(header)
        assert re.findall(r"([\d.]+) x", row)[0] == "1.00"


@pytest.mark.parametrize("row", latency.SAMPLED)
def test_a_chain_with_another_bias_is_not_timed(row, monkeypatch):
    def shifted(parameters):
        return dots([*parameters[:-1], 0 * parameters[-1] + 0.01])

    dots = latency.dots
    latency.ways(latency.SAMPLED[row])
    monkeypatch.setattr(latency, "dots", shifted)
    with pytest.raises(AssertionError, match="not timed"):
        latency.ways(latency.SAMPLED[row])
