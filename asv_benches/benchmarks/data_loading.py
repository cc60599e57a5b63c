"""What a `DataLoader` costs, by the data set it draws from."""

import inspect
import tempfile
from pathlib import Path

import numpy as np

from asv_benches.contestants.own_data import Written
from fastnp import ArrayDataset, DataLoader

ROWS, FEATURES = 4096, 16


class Epoch:
    """An epoch over 4,096 shuffled rows of 16 float32 features, without training."""

    params = (
        ("user's Dataset", "ArrayDataset", "ArrayDataset, chunk=False", "memory-mapped ArrayDataset"),
        (4, 32),
    )
    param_names = ("data set", "batch")

    def setup(self, kind, batch):
        self.folder = tempfile.TemporaryDirectory()
        options = {"chunk": False} if kind.endswith("chunk=False") else {}
        if not options.keys() <= inspect.signature(DataLoader).parameters.keys():
            raise NotImplementedError("the loader of this commit has no chunks")
        rng = np.random.default_rng(0)
        x, y = (rng.standard_normal((ROWS, n), dtype=np.float32) for n in (FEATURES, 1))
        if kind.startswith("memory-mapped"):
            x, y = self.mapped("x", x), self.mapped("y", y)
        dataset = (Written if kind.startswith("user") else ArrayDataset)(x, y)
        self.loader = DataLoader(dataset, shuffle=True, batch_size=batch, rng=rng, **options)
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
