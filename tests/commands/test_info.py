"""`fastnp info`, and `--save` of the commands that train."""

import numpy as np
import pytest
from command_line import call as call
from command_line import files as files
from command_line import run
from saved import change, every_layer

import fastnp as nn

pytest.importorskip("safetensors")


@pytest.mark.parametrize("backend", ["numba", "numpy"])
def test_sin_saves_what_it_trained(files, call, backend):
    status, out, err = call(
        "sin", "--epochs", 5, "--backend", backend, "--dtype", "float64", "--save", "sin.safetensors"
    )
    assert status == 0 and out.endswith("file                sin.safetensors\n")
    model = nn.load("sin.safetensors")
    loss = float(np.mean((model.predict(np.linspace(-np.pi, np.pi, 500)[:, np.newaxis]).ravel()) ** 2))
    assert model.parameters()[0].dtype == np.float64 and np.isfinite(loss)
    status, out, err = call("info", "sin.safetensors")
    assert (status, err) == (0, "")
    lines = dict(line.split("  ", 1) for line in out.splitlines() if not line.startswith("  "))
    assert lines["model"].strip() == "Sequential, 2,177 parameters in 8 tensors, float64"
    assert lines["optimizer"].strip() == "SGD(learning_rate=0.01, momentum=0.9), 125 updates"
    assert lines["loss function"].strip() == "MSE" and lines["epochs"].strip() == "5"
    assert lines["loss"].strip().endswith(" at the end")
    assert "  2                 Linear(16, 64, dtype=float64)               1,088" in out.splitlines()


def test_sin_goes_on_from_its_file(files, call):
    call("sin", "--epochs", 5, "--save", "sin.safetensors")
    history = nn.History()
    model = nn.load("sin.safetensors", history=history)
    assert len(history.loss) == 5 and len(model.graphs) == 7


def test_digits_saves_what_it_trained(files, call):
    pytest.importorskip("sklearn")
    status, out, _ = call("digits", "--epochs", 3, "--save", "digits.safetensors")
    assert status == 0 and out.endswith("file                digits.safetensors\n")
    _, out, _ = call("info", "digits.safetensors")
    assert (
        "Adam(learning_rate=0.01, beta1=0.9" in out
        and "CrossEntropy" in out
        and "epochs              3, the best" in out
    )
    assert "validation loss     " in out and " in the best epoch" in out


def test_info_of_all_layers(files, call):
    nn.save("model", every_layer())
    _, out, err = call("info", "model")
    assert err == "" and "  3.2               LayerNorm(5, epsilon=0.001)                 10" in out.splitlines()
    assert sum(line.startswith("  ") for line in out.splitlines()) == 18


def test_info_of_a_layer_and_of_a_checkpoint(files, call):
    nn.save("layer", nn.Linear(2, 3, name="mine"))
    assert "Linear, 9 parameters in 2 tensors, float32" in call("info", "layer")[1]
    model = nn.Sequential(nn.Linear(3, 3))
    optimizer = nn.Adam(model.parameters(), nn.schedules.Linear(0.1, 0.0, 100))
    loader = nn.DataLoader(nn.ArrayDataset(np.ones((4, 3)), np.ones((4, 3))), batch_size=2)
    nn.fit(model, nn.MAE(), optimizer, loader, 3, checkpoint="run")
    out = call("info", "run")[1]
    assert "Adam(learning_rate=Linear(start=0.1, stop=0.0, total=100)" in out and "6 updates" in out
    assert "a run of fit, 3 epochs on" in out and "MAE" in out
    optimizer.learning_rate = lambda update: 0.1
    nn.save("own", model, optimizer=optimizer)
    assert (
        "learning_rate=a function()" in call("info", "own")[1] or "learning_rate=a function" in call("info", "own")[1]
    )


@pytest.mark.parametrize(
    ("name", "words"),
    [("none", "No such file"), (".", "is a folder"), ("x.npy", "no safetensors file"), ("theirs", "of other origin")],
)
def test_a_bad_file_is_one_line_and_status_2(files, call, name, words):
    from safetensors.numpy import save_file

    save_file({"x": np.ones(3)}, "theirs")
    status, out, err = call("info", name)
    assert (status, out) == (2, "")
    assert err.startswith("fastnp: error: ") and err.count("\n") == 1 and words in err and name in err


def test_an_unknown_layer_is_one_line(files, call):
    nn.save("model", nn.Linear(2, 3))
    change(files / "model", lambda notes: notes["model"].update(layer="Mine\nOwn"))
    status, out, err = call("info", "model")
    assert (
        (status, out) == (2, "") and "a layer that this version of fastnp does not know" in err and err.count("\n") == 1
    )


@pytest.mark.parametrize("command", ["sin", "digits"])
@pytest.mark.parametrize(("path", "words"), [(".", "is a folder"), ("none/x", "none does not exist")])
def test_where_nothing_can_be_saved_nothing_is_trained(files, call, monkeypatch, command, path, words):
    from fastnp.commands import digits, sin

    if command == "digits":
        pytest.importorskip("sklearn")
    for module in sin, digits:
        monkeypatch.setattr(module, "fit", lambda *a, **o: (_ for _ in ()).throw(AssertionError("trained")))
    status, out, err = call(command, "--save", path)
    assert (status, out) == (2, "") and words in err and err.count("\n") == 1


def test_a_training_that_diverges_saves_nothing(files, call):
    status, _, _ = call("sin", "--learning-rate", 1e38, "--save", "model")
    assert status == 1 and not (files / "model").exists()


def test_without_safetensors(files):
    nn.save("model", nn.Linear(2, 3))
    code = "import sys; sys.modules['safetensors'] = None"
    status, out, err = run("info", files / "model", code=code)
    assert (status, out) == (2, "") and 'pip install "fastnp[io]"' in err and err.count("\n") == 1


def test_help(call):
    assert "info" in call("--help")[1] and "FILE" in call("info", "--help")[1]
