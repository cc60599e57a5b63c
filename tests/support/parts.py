"""Data, and models that have been trained, to be used in parts."""

import numpy as np
from models import batches, build, sgd, train

import fastnp as nn

DATA = batches(3, 2, count=20, size=7)
LOADER_X, LOADER_Y = (np.concatenate(arrays) for arrays in zip(*DATA, strict=True))
RATE, MOMENTUM = 0.05, 0.9


def linear(n_in, n_out, seed=5):
    rng = np.random.default_rng(seed)
    return nn.Linear(n_in, n_out, weight_attr=nn.HeNormal(rng=rng), dtype=np.float64)


def pretrained():
    """A model that has been trained, and is used in parts from here on."""
    model = build(3, 8, 8, 2, dtype=np.float64)
    train(model, sgd(model), DATA[:5])
    return model


def loader():
    return nn.DataLoader(nn.ArrayDataset(LOADER_X, LOADER_Y), batch_size=7)
