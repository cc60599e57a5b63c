"""Files that are not what they should be: one error that names the file and what is wrong, and nothing else."""

import json
import os
import pickle
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from saved import change, every_layer, header, parameters, put_something_else, write_header

import fastnp as nn

pytest.importorskip("safetensors")


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    """A file with all that files may have."""
    path = tmp_path_factory.mktemp("good") / "good.safetensors"
    make(path)
    return path


def parts(seed=0):
    model = every_layer(seed=seed)
    optimizer = nn.Adam(model.parameters(), nn.schedules.Cosine(0.01, 100))
    data = nn.ArrayDataset(np.ones((20, 3)), np.ones((20, 6)))
    loader = nn.DataLoader(data, batch_size=5, reshuffle=True, rng=np.random.default_rng(seed))
    return {"model": model, "optimizer": optimizer, "dataloader": loader}


def make(path):
    all_of = parts()
    stopping = nn.EarlyStopping("loss", patience=2)

    def keep(epoch, loss):
        nn.save(path, history=history, early_stopping=stopping, **all_of)

    history = nn.History()
    model, optimizer, loader = all_of.values()
    nn.fit(model, nn.MSE(), optimizer, loader, 3, history=history, early_stopping=stopping, callback=keep)


@pytest.fixture
def bad(good, tmp_path):
    """A copy of it, to be spoilt."""
    path = tmp_path / "bad.safetensors"
    path.write_bytes(good.read_bytes())
    return path


def load_all(path):
    """Load all that a file has, which shall fail; nothing may be changed."""
    filled = parts(seed=5) | {"history": nn.History(), "early_stopping": nn.EarlyStopping("loss")}
    before = seen(filled)
    try:
        nn.load(path, restore_global_rng=True, **filled)
    except (nn.BadFileError, OSError) as error:
        assert str(path) in str(error)
        assert "\n" not in str(error)
        assert seen(filled) == before
        raise


def seen(filled):
    """All that loading could change, as bytes."""
    model, optimizer, loader = (filled[name] for name in ("model", "optimizer", "dataloader"))
    numbers = [*parameters(model), *optimizer.first_moment, *optimizer.second_moment, loader.sampler.indices]
    noise = model.graphs[2]._noise
    rest = (
        optimizer,
        optimizer.updates,
        loader.sampler.rng.bit_generator.state,
        filled["history"],
        filled["early_stopping"],
    )
    tensors = list(map(id, optimizer.parameters))
    drawn = np.random.get_state()[1].tobytes()
    return [array.tobytes() for array in numbers], repr(rest), repr(model), vars(noise).copy(), tensors, drawn


def test_the_file_itself_is_read(good):
    state = np.random.get_state()
    load_all(good)
    assert type(nn.load(good)) is nn.Sequential
    np.random.set_state(state)


# --- bytes ---


def test_a_file_that_ends_early(good, tmp_path):
    data = good.read_bytes()
    path = tmp_path / "short"
    head = int.from_bytes(data[:8], "little")
    for size in {*range(0, 200), *range(200, len(data), 997), *range(head - 5, head + 30), len(data) - 1}:
        path.write_bytes(data[:size])
        with pytest.raises(nn.BadFileError, match="no safetensors file, or not whole"):
            load_all(path)


@pytest.mark.slow
def test_a_file_that_ends_anywhere_early(good, tmp_path):
    data = good.read_bytes()
    path = tmp_path / "short"
    for size in range(len(data)):
        path.write_bytes(data[:size])
        with pytest.raises(nn.BadFileError):
            load_all(path)


@pytest.mark.parametrize("size", [0, 1, 2**31, 2**40, 2**63, 2**64 - 1, 100_000_000])
def test_a_header_of_a_length_that_lies(bad, size):
    data = bad.read_bytes()
    bad.write_bytes(size.to_bytes(8, "little") + data[8:])
    with pytest.raises(nn.BadFileError, match="no safetensors file"):
        load_all(bad)


class Boom:
    def __reduce__(self):
        return os.mkdir, ("executed",)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_pickle_is_not_executed(tmp_path, monkeypatch, protocol):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "model.safetensors"
    path.write_bytes(pickle.dumps([Boom(), nn.Linear(2, 3), np.zeros(10000)], protocol))
    with pytest.raises(nn.BadFileError, match="no safetensors file"):
        load_all(path)
    assert not (tmp_path / "executed").exists()


def test_no_file_a_folder_and_other_things(tmp_path):
    with pytest.raises(FileNotFoundError, match="none"):
        load_all(tmp_path / "none")
    with pytest.raises(nn.BadFileError, match="is a folder"):
        load_all(tmp_path)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(nn.BadFileError, match="is something else"):
        load_all(tmp_path / "pipe")
    (tmp_path / "empty").write_bytes(b"")
    with pytest.raises(nn.BadFileError, match="no safetensors file"):
        load_all(tmp_path / "empty")


def test_a_file_of_other_origin(tmp_path):
    from safetensors.numpy import save_file

    path = tmp_path / "theirs.safetensors"
    save_file({"0.weight": np.ones((2, 3), np.float32)}, path)
    with pytest.raises(nn.BadFileError, match="of other origin"):
        load_all(path)


# --- sizes that lie ---


def test_ten_gigabytes_are_not_taken(bad):
    def claim(head):
        head["0.weight"] = {"dtype": "F32", "shape": [50000, 50000], "data_offsets": [0, 10**10]}

    change(bad, claim, "header")
    tracemalloc.start()
    try:
        with pytest.raises(nn.BadFileError, match="no safetensors file"):
            load_all(bad)
        assert tracemalloc.get_traced_memory()[1] < 10**7
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("tensor", ["0.weight", "more", "optimizer.first_moment.0.weight", "dataloader.order"])
def test_ten_gigabytes_that_are_there_and_belong_to_nothing_are_not_read(bad, tensor):
    head, rest = header(bad)
    start = max(of["data_offsets"][1] for name, of in head.items() if name != "__metadata__")
    if tensor in head:
        old = head.pop(tensor)
        head["filler"] = old  # where it was
    head[tensor] = {"dtype": "F32", "shape": [50000, 50000], "data_offsets": [start, start + 10**10]}
    write_header(bad, head, rest)
    os.truncate(bad, bad.stat().st_size + 10**10)  # without any disk behind it
    tracemalloc.start()
    try:
        with pytest.raises(nn.BadFileError, match="tensor"):
            load_all(bad)
        assert tracemalloc.get_traced_memory()[1] < 10**7
    finally:
        tracemalloc.stop()


# --- notes ---


def layers(notes):
    return notes["model"]["layers"]


def kept(notes):
    return notes["optimizer"]["state"]["kept"]


def swap(mine, key, theirs, other):
    mine[key], theirs[other] = theirs[other], mine[key]


NOTES = {
    "an unknown layer": (lambda n: layers(n)[1].update(layer="Conv2D"), "the layer at 1 is 'Conv2D'"),
    "a class of the library that is no layer": (lambda n: layers(n)[1].update(layer="Adam"), "at 1 is 'Adam'"),
    "a module": (lambda n: layers(n)[1].update(layer="os.system"), "at 1 is 'os.system'"),
    "a layer without a name": (lambda n: layers(n)[1].clear(), "at 1 is None"),
    "a list as a layer": (lambda n: layers(n).__setitem__(1, [1]), "at 1 is None"),
    "a list as its name": (lambda n: layers(n)[1].update(layer=["ReLU"]), "at 1 is"),
    "no layers": (lambda n: n["model"].pop("layers"), "lacks the setting 'layers'"),
    "layers of another type": (lambda n: n["model"].update(layers=7), "layers must be a list"),
    "no model": (lambda n: n.pop("model"), "the model is None"),
    "an unknown part": (lambda n: n.update(more=1), "has 'more' in it"),
    "an unknown setting": (lambda n: layers(n)[1].update(slope=1), "has the setting 'slope'"),
    "a setting less": (lambda n: layers(n)[1].pop("negative_slope"), "lacks the setting 'negative_slope'"),
    "a slope in words": (lambda n: layers(n)[1].update(negative_slope="1"), "negative_slope must be a number"),
    "a negative slope": (lambda n: layers(n)[1].update(negative_slope=-1), "negative_slope must be finite and not"),
    "a slope of NaN": (lambda n: layers(n)[1].update(negative_slope=float("nan")), "negative_slope must be finite"),
    "an endless slope": (lambda n: layers(n)[1].update(negative_slope=10**400), "must fit a double"),
    "a width that is none": (lambda n: layers(n)[0].update(in_features=0), "in_features must be at least 1"),
    "half a width": (lambda n: layers(n)[0].update(in_features=1.5), "in_features must be an integer"),
    "another width": (lambda n: layers(n)[0].update(in_features=4), "has the shape (7, 3), where (7, 4) is expected"),
    "an endless width": (lambda n: layers(n)[0].update(in_features=10**30), "where (7, 1000000"),
    "another dtype": (lambda n: layers(n)[0].update(dtype="float64"), "is float32, where float64 is expected"),
    "an unknown dtype": (lambda n: layers(n)[0].update(dtype="O"), "dtype must be"),
    "a list as dtype": (lambda n: layers(n)[0].update(dtype=[1]), "dtype must be"),
    "a name that is none": (lambda n: layers(n)[0].update(name=3), "name must be a string"),
    "a mode that is none": (lambda n: layers(n)[0].update(training="no"), "training must be True or False"),
    "decays": (lambda n: layers(n)[0].update(decays=[1]), "decays must be two flags"),
    "a dropout of all": (lambda n: layers(n)[2].update(p=1), "p must be at least 0 and below 1"),
    "a seed": (lambda n: layers(n)[2].update(seed=2**63), "seed must be below"),
    "a count": (lambda n: layers(n)[2].update(count=-1), "count must be at least 0"),
    "an endless count": (lambda n: layers(n)[2].update(count=2**60), "count must be below"),
    "widths that do not fit": (lambda n: layers(n).pop(0), ""),
    "another format": (lambda n: n.update(format=2), "is of the format 2"),
    "no notes": (lambda n: [1], "cannot be read"),
    "an optimizer": (lambda n: n["optimizer"].update({"class": "SGD"}), "the optimizer was 'SGD'"),
    "an optimizer of another type": (lambda n: n.update(optimizer=3), "tensor too many"),
    "an optimizer without": (lambda n: n["optimizer"].pop("state"), "tensor too many"),
    "updates": (lambda n: n["optimizer"]["state"].update(updates=-1), "the number of updates is -1"),
    "updates, many": (lambda n: n["optimizer"]["state"].update(updates=10**30), "the number of updates is"),
    "a setting": (lambda n: n["optimizer"]["settings"].update(beta1=2), "beta1 must be"),
    "settings": (lambda n: n["optimizer"]["settings"].update(nesterov=True), "has the setting 'nesterov'"),
    "parameters": (lambda n: n["optimizer"]["parameters"].reverse(), "held other parameters"),
    "one less": (lambda n: n["optimizer"]["parameters"].pop(), "held other parameters"),
    "a schedule": (lambda n: n["optimizer"]["schedule"].update({"class": "eval"}), "followed 'eval'"),
    "settings of a schedule": (lambda n: n["optimizer"]["schedule"]["settings"].update(total=0), "total must be"),
    "other settings": (lambda n: n["optimizer"]["schedule"]["settings"].update(x=0), "unexpected keyword"),
    "a moment": (
        lambda n: n["optimizer"]["state"]["kept"]["0.weight"].__setitem__(0, {"tensor": "0.weight"}),
        "tensor too many",
    ),
    "moments": (lambda n: n["optimizer"]["state"]["kept"]["0.weight"].pop(), ""),
    "moments of another": (lambda n: n["optimizer"]["state"]["kept"].update(x=[1, 2]), "'x'"),
    "an order": (lambda n: n["dataloader"].update(order={"tensor": "history.loss"}), "tensor too many"),
    "an order of words": (lambda n: n["dataloader"].update(order="abc"), "tensor too many"),
    "a generator": (lambda n: rng(n).update(bit_generator="os"), "a generator of the kind 'os'"),
    "another generator": (lambda n: rng(n).update(bit_generator="SFC64"), "random generator cannot be read"),
    "a generator that is none": (lambda n: n["dataloader"].update(rng=4), "a generator of the kind None"),
    "a generator's number": (lambda n: rng(n).update(has_uint32=7), "has_uint32 is 7"),
    "a position": (lambda n: place(n, 625), "pos is 625"),
    "a position before": (lambda n: place(n, -1), "pos is -1"),
    "a position that is none": (lambda n: place(n, 0.5), "pos is 0.5"),
    "a history": (lambda n: n["history"].pop("loss"), "tensor too many"),
    "a loss": (lambda n: n["history"].update(loss=[1, 2]), "tensor too many"),
    "a history that is none": (lambda n: n["history"].update(more=1), "notes on the history cannot be read"),
    "losses of another kind": (
        lambda n: swap(n["history"], "loss", n["dataloader"], "order"),
        "the order of the samples is",
    ),
    "moments of another shape": (
        lambda n: swap(kept(n)["0.weight"], 0, kept(n)["0.bias"], 0),
        "has the shape (1, 7), where (3, 7) is expected",
    ),
    "a state with more": (lambda n: n["optimizer"]["state"].update(more=1), "notes on the optimizer cannot be read"),
    "a best epoch": (lambda n: n["history"].update(best_epoch=-1), "the best epoch is -1"),
    "patience": (lambda n: n["early_stopping"].update(patience=0), "patience must be at least 1"),
    "a monitor": (lambda n: n["early_stopping"].update(monitor="x"), "monitor must be"),
    "a rule": (lambda n: n["early_stopping"].update(x=0), "notes on early stopping"),
    "a run": (lambda n: n["run"].pop("done"), "notes on the run"),
    "epochs": (lambda n: n["run"].update(done="many"), "done is 'many'"),
    "negative epochs": (lambda n: n["run"].update(done=-3), "done is -3"),
    "what was best": (lambda n: n["run"].update(best={"float": "huge"}), "cannot be read"),
}  # fmt: skip


def rng(notes):
    return _Pairs(notes["dataloader"]["rng"]["dict"])


class _Pairs:
    """The notes of a dictionary, to be changed as one."""

    def __init__(self, pairs):
        self.pairs = pairs

    def update(self, **values):
        for pair in self.pairs:
            if pair[0] in values:
                pair[1] = values[pair[0]]


def place(notes, pos):
    inside = next(value for key, value in notes["numpy"]["dict"] if key == "state")
    _Pairs(inside["dict"]).update(pos=pos)


@pytest.mark.parametrize("what", NOTES)
def test_notes_that_are_wrong(bad, what):
    edit, words = NOTES[what]
    change(bad, lambda notes: result if isinstance(result := edit(notes), list) and what == "no notes" else None)
    if what == "no notes":
        change_whole(bad, "[1]")
    with pytest.raises(nn.BadFileError) as raised:
        load_all(bad)
    assert words in str(raised.value)


def change_whole(path, text):
    head, rest = header(path)
    head["__metadata__"]["fastnp"] = text
    write_header(path, head, rest)


@pytest.mark.parametrize(
    "text", ["", "{", "null", "3", "[" * 100_000, "9" * 10_000, '{"format":1}', "\udcff" * 0 + "x"]
)
def test_notes_that_are_none(bad, text):
    change_whole(bad, text)
    with pytest.raises(nn.BadFileError):
        load_all(bad)


def test_a_nest_without_end(bad):
    deep = '{"layer":"Sequential","layers":[' * 900 + "]}" * 900
    change_whole(bad, '{"format":1,"model":' + deep + "}")
    with pytest.raises(nn.BadFileError):
        load_all(bad)


# --- tensors ---


def names(path):
    return [name for name in header(path)[0] if name != "__metadata__"]


def test_each_tensor_missing_is_named(good, tmp_path):
    path = tmp_path / "bad"
    for name in names(good):
        path.write_bytes(good.read_bytes())
        change(path, lambda head, name=name: head.update({"renamed": head.pop(name)}), "header")
        with pytest.raises(nn.BadFileError) as raised:
            load_all(path)
        assert f"{name!r} is missing" in str(raised.value) or "'renamed'" in str(raised.value)


def test_each_tensor_of_another_dtype_or_shape_is_named(good, tmp_path):
    path = tmp_path / "bad"
    for name in names(good):
        for other in "dtype", "shape":

            def edit(head, name=name, other=other):
                tensor = head[name]
                if other == "dtype":
                    tensor["dtype"] = {"F32": "U32", "F64": "U64", "I32": "F32", "U32": "I32"}[tensor["dtype"]]
                else:
                    tensor["shape"] = [*tensor["shape"], 1]

            path.write_bytes(good.read_bytes())
            change(path, edit, "header")
            with pytest.raises(nn.BadFileError):
                load_all(path)


@pytest.mark.parametrize("dtype", ["BF16", "F8_E4M3", "F16"])
def test_numbers_that_numpy_lacks(bad, dtype):
    def edit(head):
        width = 1 if dtype == "F8_E4M3" else 2
        head["0.bias"] |= {"dtype": dtype, "shape": [7, 4 // width]}

    change(bad, edit, "header")
    with pytest.raises(nn.BadFileError, match=r"0\.bias|no safetensors file"):  # which older ones lack, too
        load_all(bad)


def test_a_part_that_is_missing_is_named(tmp_path):
    path = tmp_path / "model"
    nn.save(path, every_layer())
    wanted = parts() | {"history": nn.History(), "early_stopping": nn.EarlyStopping(), "restore_global_rng": True}
    for name, value in wanted.items():
        if name != "model":
            words = "NumPy's global" if name == "restore_global_rng" else name
            with pytest.raises(nn.BadFileError, match=f"has no .*{words}.* in it"):
                nn.load(path, **{name: value})


# --- fuzz ---


def fuzzed(good, folder, changes, cut):
    data = bytearray(good.read_bytes())
    for place, value in changes:
        data[place % len(data)] = value
    path = folder / "fuzzed"
    path.write_bytes(data[: cut % (len(data) + 1)] if cut is not None else data)
    state = np.random.get_state()
    try:
        load_all(path)
    except nn.BadFileError:
        pass
    finally:
        np.random.set_state(state)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("fuzz")


HEAD = st.integers(0, 9000)  # where most can be wrong
PLACES = st.one_of(HEAD, st.integers(0, 2**20))
VALUES = st.one_of(st.integers(0, 255), st.sampled_from(list(b'0123456789-.eE"{}[]:, nulltrefasNI')))
CHANGES = st.lists(st.tuples(PLACES, VALUES), max_size=6)
CUTS = st.one_of(st.none(), st.none(), st.integers(0, 2**20))


@settings(max_examples=300, deadline=None)
@given(changes=CHANGES, cut=CUTS)
def test_bytes_changed_anywhere(good, folder, changes, cut):
    fuzzed(good, folder, changes, cut)


@pytest.mark.slow
@settings(max_examples=10_000, deadline=None)
@given(changes=CHANGES, cut=CUTS)
def test_bytes_changed_anywhere_often(good, folder, changes, cut):
    fuzzed(good, folder, changes, cut)


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_any_part_of_the_notes_is_something_else(good, folder, data):
    notes_fuzzed(good, folder, data)


@pytest.mark.slow
@settings(max_examples=10_000, deadline=None)
@given(data=st.data())
def test_any_part_of_the_notes_is_something_else_often(good, folder, data):
    notes_fuzzed(good, folder, data)


def notes_fuzzed(good, folder, data):
    head, rest = header(good)
    notes = json.loads(head["__metadata__"]["fastnp"])
    put_something_else(notes, data)
    head["__metadata__"]["fastnp"] = json.dumps(notes)
    path = folder / "fuzzed"
    write_header(path, head, rest)
    state = np.random.get_state()
    try:
        load_all(path)
    except nn.BadFileError:
        pass
    finally:
        np.random.set_state(state)
