"""What a `DataLoader` costs, by the data set it draws from."""

import tempfile
from pathlib import Path

import numpy as np

from fastnp import ArrayDataset, DataLoader, Dataset

ROWS, FEATURES = 4096, 16


class Written(Dataset):
    """What a user writes: one row at a time."""

    def __init__(self, x, y):
        self.x, self.y = x, y

    def __getitem__(self, i):
        return self.x[i], self.y[i]

    def __len__(self):
        return len(self.x)


class Epoch:
    """An epoch over 4,096 shuffled rows of 16 float32 features, without training."""

    params = (("user's Dataset", "ArrayDataset", "memory-mapped ArrayDataset"), (4, 32))
    param_names = ("data set", "batch")

    def setup(self, kind, batch):
        rng = np.random.default_rng(0)
        x, y = (rng.standard_normal((ROWS, n), dtype=np.float32) for n in (FEATURES, 1))
        self.folder = tempfile.TemporaryDirectory()
        if kind.startswith("memory-mapped"):
            x, y = self.mapped("x", x), self.mapped("y", y)
        dataset = (Written if kind.startswith("user") else ArrayDataset)(x, y)
        self.loader = DataLoader(dataset, shuffle=True, batch_size=batch, rng=rng)
        order = self.loader.sampler.indices
        for i, (data, target) in enumerate(self.loader):
            rows = order[i * batch : (i + 1) * batch]
            assert np.array_equal(data, x[rows]), f"{kind}, batch {batch}: wrong rows"
            assert np.array_equal(target, y[rows]), f"{kind}, batch {batch}: wrong rows"

    def mapped(self, name, array):
        path = Path(self.folder.name, f"{name}.npy")
        np.save(path, array)
        return np.load(path, mmap_mode="r")

    def teardown(self, *_):
        self.folder.cleanup()

    def time_epoch(self, *_):
        for _ in self.loader:
            pass
