"""Data sets, samplers and loaders as the tutorial knows them: the order, the draws, the calls."""

import numpy as np
import pytest

import fastnp as nn


@pytest.fixture(params=["numba", "numpy"], autouse=True)
def backend(request):
    with nn.use_backend(request.param):
        yield request.param


class Pairs(nn.Dataset):
    """x = i, y = 10 i."""

    def __init__(self, n):
        self.n = n
        self.asked = []

    def __getitem__(self, idx):
        self.asked.append(idx)
        return np.array([idx]), 10.0 * idx

    def __len__(self):
        return self.n


@pytest.mark.parametrize("call", [lambda d: d[0], len], ids=["getitem", "len"])
def test_dataset_methods_are_to_be_defined(call):
    class Mine(nn.Dataset):
        pass

    with pytest.raises(NotImplementedError, match="Mine"):
        call(Mine())


@pytest.mark.parametrize(("n", "size", "drop", "sizes"), [
    (10, 4, False, [4, 4, 2]), (10, 4, True, [4, 4]), (8, 4, True, [4, 4]), (8, 4, False, [4, 4]),
    (3, 5, False, [3]), (3, 5, True, []), (0, 2, False, []), (2, 1, False, [1, 1]),
])  # fmt: skip
def test_batches_cut(n, size, drop, sizes):
    sampler = nn.BatchSampler(range(n), False, size, drop)
    loader = nn.DataLoader(Pairs(n), nn.BatchSampler, False, size, drop)
    assert [len(batch) for batch in sampler] == sizes
    assert [len(x) for x, _ in loader] == sizes
    assert len(sampler) == len(loader) == len(sizes)
    assert [i for batch in sampler for i in batch] == list(range(sum(sizes)))


def test_sampler_indices_are_int64_and_decide_the_order():
    sampler = nn.BatchSampler(range(5), batch_size=2)
    assert sampler.indices.dtype == np.int64
    sampler.indices = np.array([4, 3, 2, 1, 0])
    assert [list(batch) for batch in sampler] == [[4, 3], [2, 1], [0]]


def test_changing_a_batch_does_not_change_the_order():
    sampler = nn.BatchSampler(range(4), batch_size=2)
    for batch in sampler:
        batch[:] = -1
    assert list(sampler.indices) == [0, 1, 2, 3]


def test_sampler_shuffles_once_with_the_tutorials_draw():
    np.random.seed(2)
    sampler = nn.BatchSampler(range(30), shuffle=True, batch_size=7)
    np.random.seed(2)
    order = np.arange(30)
    np.random.shuffle(order)
    for _ in range(2):
        np.testing.assert_array_equal(np.concatenate(list(sampler)), order)


@pytest.mark.parametrize("make", [lambda **options: nn.DataLoader(Pairs(40), **options).sampler,
                                  lambda **options: nn.BatchSampler(Pairs(40), **options)])  # fmt: skip
def test_reshuffle_draws_a_new_order_each_epoch(make):
    sampler = make(shuffle=True, batch_size=8, reshuffle=True, rng=np.random.default_rng(0))
    first, second = np.concatenate(list(sampler)), np.concatenate(list(sampler))
    assert list(first) != list(second)
    assert sorted(first) == sorted(second) == list(range(40))


def test_own_generator_fixes_the_order_and_leaves_the_global_one_alone():
    before = np.random.get_state()[1].copy()
    orders = [
        np.concatenate([x for x, _ in nn.DataLoader(Pairs(20), shuffle=True, rng=np.random.default_rng(6))])
        for _ in range(2)
    ]
    np.testing.assert_array_equal(*orders)
    assert (np.random.get_state()[1] == before).all()


def test_loader_stacks_data_and_labels():
    (x, y), (x2, _) = nn.DataLoader(Pairs(5), batch_size=3)
    np.testing.assert_array_equal(x, [[0], [1], [2]])
    np.testing.assert_array_equal(y, [0, 10, 20])
    np.testing.assert_array_equal(x2, [[3], [4]])


def test_calling_the_loader_gives_the_iterator():
    loader = nn.DataLoader(Pairs(4), batch_size=2)
    batches = loader()
    assert iter(batches) is batches
    np.testing.assert_array_equal(next(batches)[0], [[0], [1]])
    np.testing.assert_array_equal(next(loader())[0], [[0], [1]])


def test_loader_asks_for_plain_integers():
    data = Pairs(3)
    list(nn.DataLoader(data, batch_size=2))
    assert [type(idx) for idx in data.asked] == [int] * 3


class PairsInLists(Pairs):
    def __getitems__(self, indices):
        self.asked.append(len(indices))
        return [(np.array([i]), 10.0 * i) for i in indices]


class PairsAsBatch(Pairs):
    def __getitems__(self, indices):
        self.asked.append(len(indices))
        return np.array(indices)[:, np.newaxis], 10.0 * np.array(indices)


@pytest.mark.parametrize("kind", [PairsInLists, PairsAsBatch])
def test_getitems_gives_the_same_batches_in_one_call_each(kind):
    data = kind(5)
    batches = list(nn.DataLoader(data, batch_size=2))
    assert data.asked == [2, 2, 1]
    for (x, y), (x2, y2) in zip(batches, nn.DataLoader(Pairs(5), batch_size=2), strict=True):
        np.testing.assert_array_equal(x, x2)
        np.testing.assert_array_equal(y, y2)


@pytest.mark.parametrize("plain", [list, np.array])
@pytest.mark.parametrize("data", [Pairs(4), PairsInLists(4), PairsAsBatch(4)], ids=lambda d: type(d).__name__)
def test_custom_sampler_class(plain, data):
    class Backwards:
        """The four arguments of the tutorial, and no others."""

        def __init__(self, dataset, shuffle, batch_size, drop_last):
            self.arguments = (dataset, shuffle, batch_size, drop_last)

        def __len__(self):
            return 17

        def __iter__(self):
            yield plain([3, 2])
            yield plain([1])

    loader = nn.DataLoader(data, Backwards, True, 2, True)
    assert loader.sampler.arguments == (data, True, 2, True)
    assert len(loader) == 17
    assert [x.tolist() for x, _ in loader] == [[[3], [2]], [[1]]]


def test_custom_sampler_gets_reshuffle_and_rng_only_where_set():
    seen = []

    def sampler(*arguments, **options):
        seen.append(options)
        return nn.BatchSampler(*arguments, **options)

    rng = np.random.default_rng(0)
    nn.DataLoader(Pairs(2), sampler)
    nn.DataLoader(Pairs(2), sampler, reshuffle=True, rng=rng)
    assert seen == [{}, {"reshuffle": True, "rng": rng}]


def test_array_dataset():
    x, y = np.arange(10.0).reshape(5, 2), [0, 1, 2, 3, 4]
    data = nn.ArrayDataset(x, y)
    assert len(data) == 5
    np.testing.assert_array_equal(data[3][0], [6, 7])
    assert data[3][1] == 3
    (xs, ys), *_ = nn.DataLoader(data, batch_size=3)
    np.testing.assert_array_equal(xs, x[:3])
    np.testing.assert_array_equal(ys, [0, 1, 2])


def test_array_dataset_reads_memory_mapped_files_without_copying(tmp_path):
    np.save(tmp_path / "x.npy", np.arange(12, dtype=np.float32).reshape(6, 2))
    x = np.load(tmp_path / "x.npy", mmap_mode="r")
    data = nn.ArrayDataset(x, np.arange(6))
    assert np.shares_memory(data.X, x)
    np.random.seed(0)
    xs, ys = next(nn.DataLoader(data, shuffle=True, batch_size=4)())
    np.testing.assert_array_equal(xs, np.stack([2 * ys, 2 * ys + 1], axis=1))
    xs[:] = -1
    assert x[0, 1] == 1
