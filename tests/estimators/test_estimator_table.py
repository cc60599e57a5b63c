"""The command that measures estimators beside scikit-learn's prints its table."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("sklearn")
table = pytest.importorskip("asv_benches.estimators", reason="only in a checkout")

NUMBERS = r" +[\d.]+ ms +[\d.]+ ms +[\d.]+ x +(-?\d\.\d{3}) ± \d\.\d{3} +(\d+) +(-?\d\.\d{3}) ± \d\.\d{3} +(\d+)"


def test_the_table_is_printed():
    rows = [5, 8]
    command = [sys.executable, "-m", "asv_benches.estimators", "--rounds", "1", "--epochs", "3"]
    for row in rows:
        command += ["--row", str(row)]
    done = subprocess.run(command, cwd=Path(__file__).parents[2], check=True, capture_output=True, text=True)
    header, *found, one, other, overhead = done.stdout.splitlines()
    assert re.split("  +", header)[:3] == ["data, settings", "fastnp", "scikit-learn"]
    for row, line in zip(rows, found, strict=True):
        assert len(line) == len(header) and line.startswith(str(table.TASKS[row - 1]))
        ours, epochs, theirs, their_epochs = re.search(NUMBERS, line).groups()
        assert (ours, epochs) == (theirs, their_epochs), "with the same random_state they come to the same"
    for data, line in ("digits", one), ("diabetes", other):
        assert re.fullmatch(rf"one row, {data}: " + ", ".join([r"\D+ [\d.]+ us"] * 4), line)
    assert re.fullmatch(r"digits, 3 epochs: [\d.]+ times as long as fastnp.fit, which takes [\d.]+ ms", overhead)


@pytest.mark.parametrize("task", table.TASKS, ids=str)
def test_both_are_told_the_same(task):
    ours, theirs = task.estimators()
    assert ours.random_state == theirs.random_state == 0
    told = ours.get_params()
    assert {name: told[name] for name in theirs.get_params()} == theirs.get_params()
    assert {name: told[name] for name in task.ours} == task.ours
