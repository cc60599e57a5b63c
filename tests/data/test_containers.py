"""Data as people have it: lists, tables, tensors, sparse matrices, arrays of any memory order, through any sampler.

It is taken as the numbers that it holds, by position, or refused by name before anything changes.
"""

import numpy as np
import pytest
from models import assert_same_bits, build, sgd, values

import fastnp as nn

pytestmark = pytest.mark.filterwarnings("ignore:the matrix subclass:PendingDeprecationWarning")

X = np.random.default_rng(0).normal(size=(12, 3)).astype(np.float32)
Y = np.random.default_rng(1).normal(size=(12, 2)).astype(np.float32)


def lists(a):
    return a.tolist()


def tuples(a):
    return tuple(map(tuple, a.tolist()))


def frame(a):
    pandas = pytest.importorskip("pandas")
    return pandas.DataFrame(a, index=range(5, 5 + len(a)), columns=[f"c{i}" for i in range(a.shape[1])])


def nullable_frame(a):
    return frame(a).astype("Float32").to_numpy(float)


def frame_read_backwards(a):
    """The index says one order, the rows stand in another: what counts is where they stand."""
    pandas = pytest.importorskip("pandas")
    return pandas.DataFrame(a, index=range(len(a))[::-1])


def polars_frame(a):
    return pytest.importorskip("polars").DataFrame(a)


def torch_tensor(a):
    return pytest.importorskip("torch").tensor(a)


def jax_array(a):
    return pytest.importorskip("jax.numpy").asarray(a)


def dense(a):
    return pytest.importorskip("scipy.sparse").csr_array(a).toarray()


def strided(a):
    wide = np.full((2 * len(a), 3 * a.shape[1]), np.nan, a.dtype)
    wide[::2, ::3] = a
    return wide[::2, ::3]


def misaligned(a):
    raw = np.zeros(a.nbytes + 1, np.uint8)[1:]
    array = raw.view(a.dtype).reshape(a.shape)
    array[...] = a
    return array


def read_only(a):
    a = a.copy()
    a.flags.writeable = False
    return a


CONTAINERS = [lists, tuples, np.asfortranarray, strided, misaligned, read_only, np.asmatrix, memoryview, list]
CONTAINERS += [lambda a: a[::-1].copy()[::-1], lambda a: a.astype(">f4"), frame, nullable_frame, frame_read_backwards]
CONTAINERS += [polars_frame, torch_tensor, jax_array, dense]


class Fixed:
    """A sampler of the user's own that gives the batches of every epoch in one kind of container."""

    def __init__(self, wrap):
        self.wrap = wrap

    def __call__(self, dataset, shuffle, batch_size, drop_last):
        return self

    def __iter__(self):
        for batch in [3, 1, 4], [5, 9, 2], [6, 0, 7]:
            yield self.wrap(batch)

    def __len__(self):
        return 3


SAMPLERS = {
    "batch sampler": nn.BatchSampler,
    "lists": Fixed(list),
    "tuples": Fixed(tuple),
    "arrays": Fixed(np.array),
    "unsigned": Fixed(lambda batch: np.array(batch, np.uint64)),
    "bytes": Fixed(lambda batch: np.array(batch, np.uint8)),
    "generators": Fixed(iter),
    "Python's own numbers": Fixed(lambda batch: [np.int64(i) for i in batch]),
}


def trained(x, y, sampler=nn.BatchSampler, how="fit", validation=None):
    model = build(3, 8, 2)
    optimizer, loss_fn = sgd(model), nn.MSE()
    loader = nn.DataLoader(nn.ArrayDataset(x, y), sampler, batch_size=3)
    if how == "fit":
        history = nn.fit(model, loss_fn, optimizer, loader, 2, progress=False, validation=validation)
        return [*values(model), history.loss, history.validation_loss]
    for _ in range(2):
        for data, target in loader:
            loss_fn(model(data), target)
            model.backward(loss_fn.backward())
            optimizer.step()
            optimizer.clear_grad()
    return values(model)


@pytest.mark.parametrize("how", ["fit", "loop"])
@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize("container", CONTAINERS)
def test_it_trains_to_the_same_bits(container, sampler, how):
    plain = trained(X, Y, SAMPLERS[sampler], how)
    assert_same_bits(trained(container(X), container(Y), SAMPLERS[sampler], how), plain)


@pytest.mark.parametrize("container", CONTAINERS)
def test_a_model_and_a_loss_take_it(container):
    model, loss_fn = build(3, 8, 2), nn.MSE()
    assert_same_bits([model(container(X)), model.predict(container(X))], [model(X), model.predict(X)])
    assert loss_fn(container(Y), container(Y + 1)) == pytest.approx(loss_fn(Y, Y + 1), rel=1e-7)  # lists are doubles


@pytest.mark.parametrize("pair", [tuple, list])
@pytest.mark.parametrize("container", CONTAINERS)
def test_it_validates(container, pair):
    plain = trained(X, Y, validation=(X, Y))
    assert_same_bits(trained(X, Y, validation=pair([container(X), container(Y)])), plain)


@pytest.mark.parametrize(
    "batches", [[(X[:5], Y[:5]), (X[5:], Y[5:])], ((X[:4], Y[:4]), (X[4:8], Y[4:8]), (X[8:], Y[8:]))]
)
def test_batches_in_a_list_validate_as_a_loader_does(batches):
    assert trained(X, Y, validation=batches)[-1] == pytest.approx(trained(X, Y, validation=(X, Y))[-1], rel=1e-6)


def pandas_frame(make):
    return lambda: make(pytest.importorskip("pandas"))


def polars(make):
    return lambda: make(pytest.importorskip("polars"))


def torch(make):
    return lambda: make(pytest.importorskip("torch"))


def sparse(kind):
    return lambda: getattr(pytest.importorskip("scipy.sparse"), kind)(np.eye(12, 3))


TO_NUMPY = r"\.to_numpy\(float\)"
REFUSED = {
    "nullable integers": (
        pandas_frame(lambda p: p.DataFrame(X).astype("Float64").convert_dtypes().astype("Float64")),
        TO_NUMPY,
    ),
    "mixed columns": (pandas_frame(lambda p: p.DataFrame(X).assign(name="a")), TO_NUMPY),
    "numbers and booleans": (pandas_frame(lambda p: p.DataFrame(X).assign(flag=True)), TO_NUMPY),
    "strings": (pandas_frame(lambda p: p.DataFrame(X).astype(str)), TO_NUMPY),
    "dates": (pandas_frame(lambda p: p.Series(p.date_range("2020", periods=12))), "dtype datetime64.*to_numpy"),
    "polars of strings": (polars(lambda p: p.DataFrame({"a": ["x"] * 12})), r"\.cast\(polars\.Float64\)"),
    "polars, lazy": (polars(lambda p: p.DataFrame(X).lazy()), r"\.collect\(\)"),
    "a tensor with a gradient": (torch(lambda t: t.tensor(X, requires_grad=True)), r"detach\(\)"),
    "a tensor of bfloat16": (torch(lambda t: t.tensor(X, dtype=t.bfloat16)), "BFloat16"),
    "a sparse tensor": (torch(lambda t: t.tensor(X).to_sparse()), "to_dense"),
    "sparse rows": (sparse("csr_matrix"), r"sparse, a csr_matrix; .*\.toarray\(\)"),
    "sparse array": (sparse("csc_array"), r"sparse, a csc_array; .*\.toarray\(\)"),
    "sparse lists": (sparse("lil_matrix"), r"\.toarray\(\)"),
    "sparse keys": (sparse("dok_array"), r"\.toarray\(\)"),
    "masked": (lambda: np.ma.masked_less(X, 0), r"\.filled\(0\)"),
    "a dict": (lambda: {"x": X}, "dtype object"),
    "a set": (lambda: {1.0, 2.0}, "dtype object"),
    "a generator": (lambda: (row for row in X), "dtype object"),
    "records": (lambda: np.zeros(12, [("a", float)]), "dtype .*'a'"),
    "complex": (lambda: X + 1j, "dtype complex"),
    "text": (lambda: "text", "dtype <U4"),
    "ragged": (lambda: [[1.0, 2.0], [3.0]] * 6, "ragged"),
}


def calls(bad):
    model, loss_fn = build(3, 8, 2), nn.MSE()
    loader = nn.DataLoader(nn.ArrayDataset(X, Y), batch_size=3)
    optimizer = sgd(model)

    def fit(**options):
        return nn.fit(model, loss_fn, optimizer, options.pop("data", loader), 1, progress=False, **options)

    return model, {
        "data set X": lambda: nn.ArrayDataset(bad, Y),
        "data set Y": lambda: nn.ArrayDataset(X, bad),
        "model": lambda: model(bad),
        "predict": lambda: model.predict(bad),
        "loss": lambda: loss_fn(bad, Y),
        "validation X": lambda: fit(validation=(bad, Y)),
        "validation Y": lambda: fit(validation=[X, bad]),
    }


@pytest.mark.parametrize("what", REFUSED)
@pytest.mark.parametrize("where", calls(None)[1])
def test_it_is_refused_by_name(what, where):
    make, words = REFUSED[what]
    model, ways = calls(make())
    before = values(model)
    with pytest.raises((TypeError, ValueError), match=words):
        ways[where]()
    assert_same_bits(values(model), before)


@pytest.mark.parametrize("name", ["data", "validation"])
@pytest.mark.parametrize(
    "what", ["an array", "a dict", "a string", "a number", "four arrays", "a pandas table", "a data set"]
)
def test_what_is_no_loader_is_refused_before_training(name, what):
    bad = {
        "an array": X,
        "a dict": {"x": X, "y": Y},
        "a string": "XY",
        "a number": 5,
        "four arrays": [X, Y, X, Y],
        "a pandas table": frame(X) if what == "a pandas table" else None,
        "a data set": nn.ArrayDataset(X, Y),
    }[what]
    model = build(3, 8, 2)
    loader = nn.DataLoader(nn.ArrayDataset(X, Y), batch_size=3)
    before = values(model)
    options = {"validation": bad} if name == "validation" else {}
    with pytest.raises(TypeError, match=f"fit: {'validation' if options else 'dataloader'} must be"):
        nn.fit(model, nn.MSE(), sgd(model), loader if options else bad, 1, progress=False, **options)
    assert_same_bits(values(model), before)


@pytest.mark.parametrize("pair", [(X, Y), [X, Y]])
def test_arrays_for_the_data_of_fit_are_refused_with_what_to_write(pair):
    model = build(3, 8, 2)
    with pytest.raises(TypeError, match=r"DataLoader\(ArrayDataset\(X, Y\), batch_size=32\)"):
        nn.fit(model, nn.MSE(), sgd(model), pair, 1)


@pytest.mark.parametrize("wrap", [lambda batch: np.isin(np.arange(12), batch), lambda batch: np.array(batch, float)])
def test_a_sampler_of_masks_or_fractions_is_refused(wrap):
    loader = nn.DataLoader(nn.ArrayDataset(X, Y), Fixed(wrap))
    with pytest.raises(TypeError, match="sampler must give lists of positions"):
        next(iter(loader))


def test_a_data_set_of_tensors_and_series():
    """What users' data sets give, stacked."""
    torch, pandas = pytest.importorskip("torch"), pytest.importorskip("pandas")

    class Own(nn.Dataset):
        def __getitem__(self, idx):
            return torch.tensor(X[idx]), pandas.Series(Y[idx], index=[7, 8])

        def __len__(self):
            return len(X)

    ((x, y),) = nn.DataLoader(Own(), batch_size=12)
    assert_same_bits([x, y], [X, Y])
