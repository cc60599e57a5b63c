"""A loader that takes many batches at once gives those that it would take one by one."""

import copy
import pickle
import tracemalloc

import numpy as np
import pytest

import fastnp as nn
from fastnp.data import loader as module

RNG = np.random.default_rng(3)


def arrays(rows=23, shape=(3,), dtype=np.float64):
    return (10 * RNG.standard_normal((rows, *shape))).astype(dtype)


def one_by_one(dataset, **options):
    """The batches of a loader with chunk=False, and the order and draws it leaves."""
    options = {"shuffle": True, "batch_size": 4} | options
    loaders = [nn.DataLoader(dataset, rng=np.random.default_rng(1), chunk=chunk, **options) for chunk in (True, False)]
    epochs = [[list(loader) for _ in range(2)] for loader in loaders]
    assert loaders[0].sampler.rng.bit_generator.state == loaders[1].sampler.rng.bit_generator.state
    return epochs


def assert_same_batches(mine, theirs):
    assert len(mine) == len(theirs)
    for batch, other in zip(mine, theirs, strict=True):
        assert type(batch) is tuple and len(batch) == len(other)
        for array, expected in zip(batch, other, strict=True):
            assert type(array) is np.ndarray and array.flags.writeable
            assert (array.dtype, array.shape) == (expected.dtype, expected.shape)
            assert array.tobytes() == expected.tobytes()


DATA = {
    "vectors": lambda: (arrays(), arrays(shape=(2,), dtype=np.float32)),
    "numbers": lambda: (arrays(shape=()), arrays(shape=(), dtype=np.int8)),
    "pictures": lambda: (arrays(shape=(4, 5, 2)), arrays(shape=(1,))),
    "no columns": lambda: (arrays(shape=(0,)), arrays(shape=(2, 0))),
    "weights": lambda: (arrays(), arrays(), abs(arrays(shape=()))),
    "in columns": lambda: (np.asfortranarray(arrays()), arrays(shape=(4,))[:, ::2]),
    "big-endian": lambda: (arrays().astype(">f8"), arrays().astype(">i2")),
    "no rows": lambda: (arrays(0), arrays(0)),
    "fewer than a batch": lambda: (arrays(3), arrays(3)),
}


@pytest.mark.parametrize(
    "options", [{}, {"drop_last": True}, {"reshuffle": True}, {"batch_size": 1}, {"shuffle": False}]
)
@pytest.mark.parametrize("chunk_bytes", [1, 400, 1 << 19])
@pytest.mark.parametrize("of", DATA)
def test_the_same_batches(of, chunk_bytes, options, monkeypatch):
    monkeypatch.setattr(module, "CHUNK_BYTES", chunk_bytes)
    for mine, theirs in zip(*one_by_one(nn.ArrayDataset(*DATA[of]()), **options), strict=True):
        assert_same_batches(mine, theirs)


@pytest.fixture
def taken(monkeypatch):
    """A list that grows by the number of rows with every look into an array."""
    rows, take = [], nn.ArrayDataset.__getitems__

    def counted(self, indices):
        rows.append(len(indices))
        return take(self, indices)

    monkeypatch.setattr(nn.ArrayDataset, "__getitems__", counted)
    return rows


def test_rows_are_taken_for_many_batches_at_once_when_they_are_asked_for(taken, monkeypatch):
    monkeypatch.setattr(module, "CHUNK_BYTES", 9 * (3 + 3) * 8)
    loader = nn.DataLoader(nn.ArrayDataset(arrays(), arrays()), batch_size=4)
    batches = iter(loader)
    assert taken == []
    next(batches), next(batches)
    assert taken == [8]
    list(batches)
    assert taken == [8, 8, 4, 3]
    taken.clear()
    loader.chunk = False
    list(loader)
    assert taken == [4, 4, 4, 4, 4, 3]


def test_what_is_written_is_seen_a_chunk_later_or_in_the_next_batch(monkeypatch):
    monkeypatch.setattr(module, "CHUNK_BYTES", 8 * 2 * 8)
    for chunk, seen in (True, [0, 0, 7, 7]), (False, [0, 5, 7, 7]):
        dataset = nn.ArrayDataset(np.zeros((16, 1)), np.zeros(16))
        found = []
        for i, (x, _) in enumerate(nn.DataLoader(dataset, batch_size=4, chunk=chunk)):
            found.append(x[0, 0])
            if i == 0:
                dataset.X[:] = 5
            elif i == 1:
                dataset.X = np.full((16, 3), 7.0)
        assert found == seen


def test_batches_survive_and_may_be_written():
    X = arrays()
    batches = list(nn.DataLoader(nn.ArrayDataset(X, X), batch_size=4))
    before = X.copy()
    for x, y in batches:
        x[:] = -1
        assert (y != -1).all()
    assert (before == X).all()


def test_an_index_out_of_reach_is_refused_by_its_batch():
    for chunk in True, False:
        loader = nn.DataLoader(nn.ArrayDataset(arrays(), arrays()), batch_size=4, chunk=chunk)
        loader.sampler.indices[9] = 23
        batches = iter(loader)
        next(batches), next(batches)
        with pytest.raises(IndexError, match="index 23 is out of bounds"):
            next(batches)


@pytest.mark.parametrize(
    "shrink", [lambda d: setattr(d, "Y", d.Y[:3]), lambda d: (setattr(d, "X", d.X[:3]), setattr(d, "Y", d.Y[:3]))]
)
def test_errors_of_the_first_look(shrink):
    said = []
    for chunk in True, False:
        dataset = nn.ArrayDataset(arrays(), arrays())
        batches = iter(nn.DataLoader(dataset, batch_size=4, chunk=chunk))
        shrink(dataset)
        with pytest.raises(ValueError) as raised:
            next(batches)
        said.append(str(raised.value))
    assert said[0] == said[1]


def test_memory_mapped_rows_are_read_piece_by_piece(tmp_path):
    np.save(tmp_path / "x.npy", arrays(40_000, (16,)))
    X = np.load(tmp_path / "x.npy", mmap_mode="r")
    loader = nn.DataLoader(nn.ArrayDataset(X, np.arange(40_000)), batch_size=8, shuffle=True)
    tracemalloc.start()
    for x, y in loader:
        assert x[0, 0] == X[y[0], 0]
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 4 * module.CHUNK_BYTES < X.nbytes


def test_chunk_is_checked_kept_and_known_to_loaders_from_before():
    dataset = nn.ArrayDataset(arrays(), arrays())
    for make in (
        lambda value: nn.DataLoader(dataset, chunk=value),
        lambda value: setattr(nn.DataLoader(dataset), "chunk", value),
    ):
        with pytest.raises(TypeError, match="DataLoader: chunk must be True or False, got 'no'"):
            make("no")
    loader = nn.DataLoader(dataset, chunk=False)
    assert loader.chunk is copy.copy(loader).chunk is pickle.loads(pickle.dumps(loader)).chunk is False
    old = nn.DataLoader.__new__(nn.DataLoader)
    old.__dict__.update(dataset=dataset, sampler=loader.sampler)
    assert old.chunk is True and len(list(old)) == 23


def test_a_subclass_may_mean_something_else_by_chunk(taken):
    class Mine(nn.DataLoader):
        def chunk(self):
            return "mine"

    loader = Mine(nn.ArrayDataset(arrays(), arrays()), batch_size=8)
    assert loader.chunk() == "mine"
    assert len(list(loader)) == 3 and taken == [8, 8, 7]
