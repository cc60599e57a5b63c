"""The progress bar: at a terminal and in a notebook, and nowhere else."""

import sys
from types import SimpleNamespace

import numpy as np
import pytest
from models import build, sgd

import fastnp as nn
from fastnp.training import progress

LOADER = nn.DataLoader(nn.ArrayDataset(np.ones((4, 3)), np.ones((4, 2))), batch_size=2)


def train(**options):
    model = build(3, 4, 2)
    return nn.fit(model, nn.MSE(), sgd(model), LOADER, 3, **options)


def in_shell(monkeypatch, **attributes):
    shell = SimpleNamespace(**attributes)
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: shell))


def test_where_there_is_no_terminal_nothing_is_shown(capsys):
    train()
    assert capsys.readouterr() == ("", "")


def test_ipython_at_a_terminal_is_no_notebook(monkeypatch, capsys):
    in_shell(monkeypatch)
    train()
    assert capsys.readouterr() == ("", "")


def test_a_notebook_without_widgets_shows_characters(monkeypatch, capsys):
    notebook = pytest.importorskip("tqdm.notebook")
    monkeypatch.setattr(notebook, "IProgress", None)
    in_shell(monkeypatch, kernel=object())
    train()
    out, err = capsys.readouterr()
    assert out == "" and "3/3" in err and "loss" in err
    train(progress=False)
    assert capsys.readouterr() == ("", "")


def test_a_notebook_with_widgets_shows_one(monkeypatch, capsys):
    notebook = pytest.importorskip("tqdm.notebook")
    made = []

    def widget(**options):
        made.append(options)
        return progress.tqdm(disable=True, **options)

    monkeypatch.setattr(notebook, "IProgress", object())
    monkeypatch.setattr(notebook, "tqdm", widget)
    in_shell(monkeypatch, kernel=object())
    train()
    assert made == [{"total": 3, "unit": " epochs"}]
    assert capsys.readouterr() == ("", "")


def test_without_a_stderr(monkeypatch):
    monkeypatch.setattr(sys, "stderr", None)
    train()
