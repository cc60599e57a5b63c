"""Files: models over pickles of them, in turns, and what a checkpoint costs a run."""

import itertools
import pickle
import tempfile
from pathlib import Path

import numpy as np

import fastnp as nn
from asv_benches.contestants.ours import job_parts
from asv_benches.jobs import JOBS
from asv_benches.turns import TURNS, median_ratio, seconds_of
from fastnp.interchange import replacing

CALLS = 50
EPOCHS, ROWS = 10, 6400
WIDE = 784, 128, 10


def _folder():
    return tempfile.TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else None)


def _same(model, other):
    """AssertionError where two models differ."""
    for mine, theirs in zip(model.parameters(), other.parameters(), strict=True):
        np.testing.assert_array_equal(mine.data, theirs.data)


class OverPickle:
    """Saving and loading the model of the sin training, in percent of what pickle takes; nothing is synced."""

    unit = "% of pickle's time"

    def setup(self):
        self.folder = _folder()
        self.model, *_ = job_parts(JOBS[0], 1)
        self.file, self.pickle = (Path(self.folder.name) / name for name in ("model.safetensors", "model.pickle"))
        self.sync, replacing.os.fsync = replacing.os.fsync, lambda handle: None
        self._save(), self._dump()
        _same(nn.load(self.file), self.model)

    def teardown(self):
        replacing.os.fsync = self.sync
        self.folder.cleanup()

    def _save(self):
        nn.save(self.file, self.model)

    def _dump(self):
        with self.pickle.open("wb") as file:
            pickle.dump(self.model, file)

    def _load(self):
        nn.load(self.file)

    def _undump(self):
        with self.pickle.open("rb") as file:
            pickle.load(file)

    def _over(self, mine, theirs):
        def repeated(call):
            return lambda: [call() for _ in range(CALLS)], CALLS

        return 100 * median_ratio(repeated(mine), repeated(theirs))

    def track_save(self):
        return self._over(self._save, self._dump)

    def track_load(self):
        return self._over(self._load, self._undump)


class Size:
    """Bytes of a file beyond those of the numbers in it."""

    unit = "bytes"

    def track_sin_model(self):
        model, *_ = job_parts(JOBS[0], 1)
        with _folder() as folder:
            path = Path(folder) / "model.safetensors"
            nn.save(path, model)
            return path.stat().st_size - sum(tensor.data.nbytes for tensor in model.parameters())


class Checkpoints:
    """What a checkpoint after every epoch adds to the CPU time of a run of 784-128-10 over 6,400 rows, unsynced."""

    unit = "% of the run"
    timeout = 600

    def setup(self):
        rng = np.random.default_rng(0)
        self.X, self.Y = (rng.standard_normal((ROWS, n)).astype(np.float32) for n in (WIDE[0], WIDE[-1]))
        self.sync, replacing.os.fsync = replacing.os.fsync, lambda handle: None

    def teardown(self):
        replacing.os.fsync = self.sync

    def _parts(self):
        rng = np.random.default_rng(1)
        first, last = (nn.Linear(n, m, weight_attr=nn.HeNormal(rng=rng)) for n, m in itertools.pairwise(WIDE))
        model = nn.Sequential(first, nn.ReLU(), last)
        data = nn.ArrayDataset(self.X, self.Y)
        loader = nn.DataLoader(data, batch_size=64, reshuffle=True, rng=np.random.default_rng(2))
        return model, nn.MSE(), nn.SGD(0.9, model.parameters(), 1e-3), loader

    def track_every_epoch(self):
        with _folder() as folder:
            without, kept, path = self._parts(), self._parts(), Path(folder) / "run.safetensors"

            def train(parts, checkpoint):
                return lambda: nn.fit(*parts, EPOCHS, progress=False, checkpoint=checkpoint)

            ways = train(without, None), train(kept, path)
            for way in ways:
                way()
            _same(without[0], kept[0])
            ratios = []
            for _ in range(2 * TURNS):
                plain, checkpointed = map(seconds_of, ways)
                ratios.append(checkpointed / plain)
            _same(nn.load(path), kept[0])
            return 100 * (float(np.median(ratios)) - 1)
