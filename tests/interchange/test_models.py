"""`save` and `load` of models: the same bits, in a file that others read, whatever happens while it is written."""

import json
import os
import pickle
import resource
import stat
import subprocess
import sys

import numpy as np
import pytest
from saved import change, every_layer, header, parameters, same

import fastnp as nn
from fastnp.interchange import replacing
from fastnp.interchange.architecture import SETTINGS

pytest.importorskip("safetensors")
DTYPES = pytest.mark.parametrize("dtype", [np.float32, np.float64])


@pytest.fixture(params=["numba", "numpy"], autouse=True)
def backend(request):
    with nn.use_backend(request.param):
        yield request.param


@pytest.fixture
def file(tmp_path):
    return tmp_path / "model.safetensors"


def trained(model, steps=3, seed=0):
    """Train, and give all that comes out."""
    rng = np.random.default_rng(seed)
    optimizer, loss_fn, outputs = nn.SGD(parameters=model.parameters(), learning_rate=0.05), nn.MSE(), []
    for _ in range(steps):
        x = rng.normal(size=(9, 3))
        y = model(x)
        loss_fn(y, np.ones_like(y))
        outputs += [y, model.backward(loss_fn.backward())]
        optimizer.step()
        optimizer.clear_grad()
    return outputs + parameters(model)


# --- round trips ---


def test_the_model_has_all_layers():
    layers = {type(layer) for layer in every_layer().graphs + every_layer().graphs[3].graphs}
    public = {value for value in vars(nn).values() if isinstance(value, type) and issubclass(value, nn.Layer)}
    assert layers == public - {nn.Layer} == set(SETTINGS) | {nn.Sequential}


@DTYPES
def test_a_model_comes_back_with_the_same_bits(file, dtype):
    model = every_layer(dtype)
    trained(model)
    model.graphs[4].eval()
    nn.save(file, model)
    np.random.seed(3)
    before = np.random.get_state()[1].copy()
    again = nn.load(file)
    assert np.array_equal(before, np.random.get_state()[1])  # nothing was drawn
    assert repr(again) == repr(model) and again.graphs[4].training is False
    assert same(parameters(again), parameters(model))
    x = np.random.default_rng(1).normal(size=(33, 3))
    assert same([again.predict(x), again.predict(x[:1])], [model.predict(x), model.predict(x[:1])])
    assert same(trained(again), trained(model))
    nn.save(file, again)
    assert same(parameters(nn.load(file)), parameters(model))


@DTYPES
@pytest.mark.parametrize("layer", [nn.Linear, nn.LayerNorm])
@pytest.mark.parametrize("width", [1, 2, 16, 17])
def test_a_layer_alone(file, layer, dtype, width):
    one = layer(width, width, dtype=dtype) if layer is nn.Linear else layer(width, dtype=dtype)
    one.bias.data = np.random.default_rng(0).normal(size=(1, width))
    one.bias.decays = True
    nn.save(file, one)
    assert set(header(file)[0]) == {"__metadata__", "weight", "bias"}
    again = nn.load(str(file))
    assert type(again) is layer and same(parameters(again), parameters(one))
    assert again.bias.decays is True and again.weights.decays is one.weights.decays
    x = np.random.default_rng(1).normal(size=(5, width))
    assert same([again.predict(x)], [one.predict(x)])


@pytest.mark.parametrize("layer", [layer for layer in SETTINGS if layer not in (nn.Linear, nn.LayerNorm)])
def test_a_layer_without_parameters_alone(file, layer):
    one = layer(name="mine")
    one.eval()
    nn.save(file, one)
    again = nn.load(file)
    assert (type(again), again.name, again.training, repr(again)) == (layer, "mine", False, repr(one))


def test_no_layers_and_a_deep_nest(file):
    model = nn.Sequential()
    for _ in range(30):
        model = nn.Sequential(model)
    nn.save(file, model)
    assert repr(nn.load(file)) == repr(model)


def test_numbers_that_are_not_finite(file):
    model = nn.Linear(2, 2)
    model.weights.data = [[np.nan, -np.inf], [-0.0, 1e-45]]
    nn.save(file, model)
    assert same(parameters(nn.load(file)), parameters(model))


def test_dropout_goes_on_where_it_was(file):
    model = nn.Sequential(nn.Linear(4, 4), nn.Dropout(0.5), nn.Linear(4, 4), nn.Dropout(0.25))
    x = np.ones((5, 4))
    model(x)
    nn.save(file, model)
    again = nn.load(file)
    assert same([again(x) for _ in range(3)], [model(x) for _ in range(3)])


# --- filling a model ---


def test_a_model_is_filled(file):
    model, other = every_layer(), every_layer(seed=9)
    x = np.ones((5, 3))
    other(x)
    model(x)
    model.graphs[2].p = 0.6
    nn.save(file, model)
    tensors = other.parameters()
    assert nn.load(file, model=other) is other
    assert all(mine is theirs for mine, theirs in zip(other.parameters(), tensors, strict=True))
    assert other.graphs[2].p == 0.6 and same(parameters(other), parameters(model))
    assert same([other(x), other(x), other.predict(x)], [model(x), model(x), model.predict(x)])


@pytest.mark.parametrize(
    ("other", "word"),
    [
        (lambda: nn.Sequential(nn.Linear(3, 4), nn.ReLU()), "has 3 layers, that to fill 2"),
        (lambda: nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1)), "at 1 is ReLU"),
        (lambda: nn.Sequential(nn.Linear(3, 5), nn.ReLU(), nn.Linear(5, 1)), "at 0 is Linear"),
        (lambda: nn.Sequential(nn.Linear(3, 4, dtype="float64"), nn.ReLU(), nn.Linear(4, 1)), "at 0 is Linear"),
        (lambda: nn.Linear(3, 4), "the model is Sequential"),
    ],
)
def test_another_model_is_not_filled(file, other, word):
    nn.save(file, nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 1)))
    model = other()
    before = parameters(model)
    with pytest.raises(nn.BadFileError, match=word):
        nn.load(file, model=model)
    assert same(parameters(model), before)


# --- the file ---


def test_names_and_shapes_are_those_of_pytorch(file):
    nn.save(file, every_layer())
    shapes = {name: tensor["shape"] for name, tensor in header(file)[0].items() if name != "__metadata__"}
    assert shapes == {
        "0.weight": [7, 3], "0.bias": [7], "3.0.weight": [5, 7], "3.0.bias": [5], "3.2.weight": [5], "3.2.bias": [5],
        "5.weight": [4, 5], "5.bias": [4], "8.weight": [4, 4], "8.bias": [4], "12.weight": [1, 4], "12.bias": [1],
        "13.weight": [6, 1], "13.bias": [6],
    }  # fmt: skip


@DTYPES
def test_pytorch_reads_it(file, dtype):
    torch = pytest.importorskip("torch")
    from safetensors.torch import load_file

    model = nn.Sequential(nn.Linear(3, 7, dtype=dtype), nn.Tanh(), nn.LayerNorm(7, dtype=dtype))
    model.add(nn.Sequential(nn.Linear(7, 1, dtype=dtype)))
    for tensor in model.parameters():
        tensor.data = np.random.default_rng(1).normal(size=tensor.shape)
    nn.save(file, model)
    theirs = torch.nn.Sequential(
        torch.nn.Linear(3, 7), torch.nn.Tanh(), torch.nn.LayerNorm(7), torch.nn.Sequential(torch.nn.Linear(7, 1))
    ).to(getattr(torch, np.dtype(dtype).name))
    theirs.load_state_dict(load_file(file))
    x = np.random.default_rng(0).normal(size=(5, 3)).astype(dtype)
    with torch.no_grad():
        np.testing.assert_allclose(theirs(torch.from_numpy(x)).numpy(), model.predict(x), rtol=1e-4, atol=1e-5)


def test_size(file):
    model = nn.Sequential(nn.Linear(1, 16), nn.ReLU(), nn.Linear(16, 64), nn.ReLU(), nn.Linear(64, 16), nn.ReLU())
    model.add(nn.Linear(16, 1))
    nn.save(file, model)
    assert file.stat().st_size < sum(tensor.data.nbytes for tensor in model.parameters()) + 2048


def test_the_notes_are_json_with_a_version(file):
    nn.save(file, nn.Sequential(nn.Linear(2, 3), nn.Tanh()))
    notes = json.loads(header(file)[0]["__metadata__"]["fastnp"])
    assert notes["version"] == nn.__version__ and notes["format"] == 1
    assert notes["model"] == {
        "layer": "Sequential",
        "layers": [
            {"layer": "Linear", "in_features": 2, "out_features": 3, "dtype": "float32"}, {"layer": "Tanh"},
        ],
    }  # fmt: skip


# --- what is not saved ---


class Residual(nn.Sequential):
    pass


class Own(nn.Layer):
    pass


@pytest.mark.parametrize("own", [Own, Residual, type("Mine", (nn.ReLU,), {})])
def test_a_layer_of_the_users_own_is_refused_by_name(file, own):
    file.write_bytes(b"before")
    with pytest.raises(TypeError, match=rf"the layer at 1.0 is of a class of yours, {own.__name__}"):
        nn.save(file, nn.Sequential(nn.ReLU(), nn.Sequential(own())))
    with pytest.raises(TypeError, match="the model is of a class of yours"):
        nn.save(file, own())
    assert file.read_bytes() == b"before"


def test_a_method_of_the_users_own_is_refused_by_name(file):
    model = nn.Sequential(nn.Linear(2, 2))
    model.graphs[0].forward = lambda x: x
    with pytest.raises(TypeError, match=r"the layer at 0, Linear.*has a 'forward' of yours"):
        nn.save(file, model)


@pytest.mark.parametrize("value", [None, 3, nn.Linear, [nn.ReLU()], np.zeros(3)])
def test_what_is_no_model_is_refused(file, value):
    with pytest.raises(TypeError, match="save: the model must be a Layer"):
        nn.save(file, value)
    assert not file.exists()


# --- writing it ---


def litter(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture(params=["without a name", "with a name"])
def way(request, monkeypatch):
    if request.param == "with a name":
        monkeypatch.setattr(replacing, "NAMELESS", 0)


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
@pytest.mark.parametrize("place", ["fsync", "fchmod"])
def test_an_error_leaves_the_old_file(file, monkeypatch, way, error, place):
    nn.save(file, nn.Linear(2, 3))
    before = file.read_bytes()

    def fail(*_):
        raise error

    monkeypatch.setattr(os, place, fail)
    with pytest.raises(type(error)) as raised:
        nn.save(file, nn.Linear(20, 30))
    if isinstance(error, OSError):
        assert raised.value.filename == str(file) and raised.value.errno == 28
    assert file.read_bytes() == before and litter(file.parent) == [file.name]


def test_a_disk_that_is_full_leaves_the_old_file(file, way):
    nn.save(file, nn.Linear(2, 3))
    before, limits = file.read_bytes(), resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20000, limits[1]))
    try:
        with pytest.raises(OSError, match="File too large") as raised:
            nn.save(file, nn.Linear(200, 300))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert raised.value.filename == str(file)
    assert file.read_bytes() == before and litter(file.parent) == [file.name]


def test_a_link_and_its_permissions_stay(file, tmp_path, way):
    nn.save(file, nn.Linear(2, 3))
    file.chmod(0o640)
    link = tmp_path / "link"
    link.symlink_to(file)
    nn.save(link, nn.Linear(4, 5))
    assert link.is_symlink() and stat.S_IMODE(file.stat().st_mode) == 0o640
    assert nn.load(file).weights.shape == nn.load(link).weights.shape == (4, 5)
    assert litter(tmp_path) == ["link", file.name]


def test_a_new_file_has_the_usual_permissions(file, tmp_path, way):
    nn.save(file, nn.Linear(2, 3))
    (tmp_path / "plain").write_bytes(b"")
    assert file.stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_the_file_is_on_the_disk_before_it_takes_the_place(file, monkeypatch, way):
    events = []
    fsync, replace = os.fsync, os.replace
    monkeypatch.setattr(
        os, "fsync", lambda handle: (events.append(stat.S_ISDIR(os.fstat(handle).st_mode)), fsync(handle))
    )
    monkeypatch.setattr(os, "replace", lambda *paths: (events.append("replace"), replace(*paths)))
    nn.save(file, nn.Linear(2, 3))
    assert events == [False, "replace", True]


@pytest.mark.parametrize(("name", "error"), [(".", IsADirectoryError), ("none/model", FileNotFoundError)])
def test_where_no_file_can_be(tmp_path, name, error):
    with pytest.raises(error) as raised:
        nn.save(tmp_path / name, nn.Linear(2, 3))
    assert raised.value.filename == str(tmp_path / name)


def test_long_names(tmp_path, way):
    path = tmp_path / ("x" * 255)
    nn.save(path, nn.Linear(2, 3))
    assert nn.load(path).weights.shape == (2, 3)


# --- other processes ---


def run(code, *arguments, **environment):
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", code, *map(str, arguments)], capture_output=True, text=True, timeout=300,
        env=os.environ | {"FASTNP_QUIET": "1"} | environment,
    )  # fmt: skip


def test_without_safetensors(file):
    nn.save(file, nn.Linear(2, 3))
    code = "import sys; sys.modules['safetensors'] = None; import fastnp; fastnp.load(sys.argv[1])"
    done = run(code, file, FASTNP_BACKEND="numpy")
    assert done.returncode == 1 and 'pip install "fastnp[io]"' in done.stderr.splitlines()[-1]


def test_safetensors_is_imported_only_where_it_is_used(file):
    code = "import sys, fastnp as nn; nn.save(sys.argv[1], nn.Linear(2, 3)); print('safetensors' in sys.modules)"
    assert run(code, file, FASTNP_BACKEND="numpy").stdout == "False\n"


def test_without_numba(file):
    model = every_layer()
    nn.save(file, model)
    code = """
import sys; sys.modules["numba"] = None
import numpy as np, fastnp as nn
sys.stdout.buffer.write(nn.load(sys.argv[1]).predict(np.ones((5, 3))).tobytes())
"""
    done = subprocess.run(
        [sys.executable, "-c", code, str(file)], capture_output=True, env=os.environ | {"FASTNP_BACKEND": "numpy"},
        timeout=300,
    )  # fmt: skip
    with nn.use_backend("numpy"):
        assert done.stdout == model.predict(np.ones((5, 3))).tobytes(), done.stderr


def test_pickles_of_what_was_loaded(file):
    nn.save(file, every_layer())
    model = nn.load(file)
    assert same(parameters(pickle.loads(pickle.dumps(model))), parameters(model))


def test_dropout_with_another_seed_takes_effect_in_a_model_that_ran():
    model = nn.Sequential(nn.Linear(4, 40), nn.Dropout(0.5, rng=np.random.default_rng(0)))
    x = np.ones((2, 4))
    first = model(x)
    model.graphs[1]._drawing().seed += 1
    model.graphs[1]._drawing().count = 0
    nn.overrides.count_change()
    assert not np.array_equal(model(x) == 0, first == 0)


def test_notes_that_were_changed_are_read(file):
    nn.save(file, nn.Sequential(nn.Linear(2, 3), nn.Dropout(0.5)))
    change(file, lambda notes: notes["model"]["layers"][1].update(p=0.25))
    assert nn.load(file).graphs[1].p == 0.25
