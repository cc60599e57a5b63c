"""What a notebook shows of an object as the last line of a cell: a line, or a few."""

import dataclasses

import numpy as np
import pytest
from models import Scale, build, sgd

import fastnp as nn

DATASET = nn.ArrayDataset(np.zeros((10, 3)), np.zeros((10, 2), np.float32))


@dataclasses.dataclass
class Shift(nn.Layer):
    by: float = 1.0

    def forward(self, x):
        return x + self.by


REPRS = {
    "Tensor((2, 3), float32)": nn.Tensor((2, 3)),
    "Linear(3, 2)": nn.Linear(3, 2),
    "Linear(3, 2, name='fc', dtype=float64)": nn.Linear(3, 2, "fc", dtype=np.float64),
    "ReLU()": nn.ReLU(),
    "ReLU('bend')": nn.ReLU("bend"),
    "Scale('scale')": Scale(),
    "Shift(by=1.0)": Shift(),
    "Sequential()": nn.Sequential(),
    "Sequential(\n  Linear(3, 8)\n  ReLU()\n  Linear(8, 2)\n)": build(3, 8, 2),
    "Sequential(\n  Sequential(\n    Linear(3, 2)\n  )\n  ReLU()\n)": nn.Sequential(build(3, 2), nn.ReLU()),
    "MSE(reduction='sum')": nn.MSE(reduction="sum"),
    "SGD(50 parameters in 4 tensors, learning_rate=0.05, weight_decay=0, momentum=0.9)": sgd(build(3, 8, 2)),
    "Optimizer(50 parameters in 4 tensors, learning_rate=0.001, weight_decay=0)": nn.Optimizer(
        build(3, 8, 2).parameters()
    ),
    "ArrayDataset(X (10, 3) float64, Y (10, 2) float32)": DATASET,
    "BatchSampler(10 rows in batches of 4)": nn.BatchSampler(DATASET, batch_size=4),
    "DataLoader(ArrayDataset(X (10, 3) float64, Y (10, 2) float32), "
    "2 batches of BatchSampler(10 rows in batches of 4, drop_last, reshuffle))": nn.DataLoader(
        DATASET, batch_size=4, drop_last=True, reshuffle=True
    ),
    "Normal(mean=0, std=0.01)": nn.Normal(),
    "HeNormal()": nn.HeNormal(rng=np.random.default_rng(0)),
    "Constant(value=2)": nn.Constant(2),
    "History(0 epochs)": nn.History(),
    "History(1 epoch, loss 1.5)": nn.History([1.5]),
    "History(2 epochs, loss 1.5 → 0.25, validation_loss 1 → 0.5)": nn.History([1.5, 0.25], [1.0, 0.5]),
    "History(2 epochs, loss 1.5 → 0.25, best_epoch 1)": nn.History([1.5, 0.25], [], [0.1, 0.1], 1),
}


@pytest.mark.parametrize("text", REPRS)
def test_repr(text):
    assert repr(REPRS[text]) == text


def test_large_objects_are_short():
    model = nn.Sequential(*(nn.Linear(2, 2) for _ in range(800)))
    assert len(repr(model).splitlines()) < 20 and "… 788 more" in repr(model)
    losses = [0.123456] * 20_000
    assert len(repr(nn.History(losses, losses, losses, 19_999))) < 120


@pytest.mark.parametrize("cls", [nn.Linear, nn.ReLU, nn.Sequential, nn.MSE, nn.SGD, nn.DataLoader, nn.Normal])
def test_half_made_objects_have_one_too(cls):
    """As a debugger shows them, in the middle of an `__init__`."""
    assert cls.__name__ in repr(cls.__new__(cls))


def test_str_is_the_tutorials():
    assert str(nn.Linear(1, 16)) == "linear layer, weight shape: (1, 16), bias shape: (1, 16)"
    assert str(build(1, 2)) == "Sequential:\nlinear layer, weight shape: (1, 2), bias shape: (1, 2)"
