"""Checkpoints: a run that was broken off goes on to the very bits of the one that was not."""

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from checkpointed import EPOCHS, network, rng_data, run, seen, training

import fastnp as nn
from fastnp.training import checkpoints

pytest.importorskip("safetensors")
NAMES = [
    "sgd", "nesterov+stopping", "adam+global", "adamw+stopping+every", "rmsprop+mt",
    "adam+f64+no dropout+stopping+by loss",
    "sgd+fixed+no dropout", "own schedule+validation", "adam+rows", "sgd+rows+stopping", "adamw+loop+stopping", "own",
    "around+stopping", "own+loop+philox+every", "rmsprop+loop+global", "around+rows",
]  # fmt: skip


@pytest.fixture(params=["numba", "numpy"], autouse=True)
def backend(request):
    with nn.use_backend(request.param):
        yield request.param


@pytest.fixture
def file(tmp_path):
    return tmp_path / "run.safetensors"


class Broken(Exception):
    pass


def breaking(at):
    def callback(epoch, loss):
        if epoch >= at:
            raise Broken

    return callback


def without_checkpoints(name, epochs=EPOCHS):
    parts, options = training(name)
    options.pop("every")
    return seen(parts, nn.fit(*parts, epochs, **options))


@pytest.mark.parametrize("name", NAMES)
def test_a_run_that_breaks_off_goes_on_to_the_same_bits(file, tmp_path, name):
    expected = without_checkpoints(name)
    assert run(file, name) == expected
    for at in range(2, EPOCHS, 3):
        path = tmp_path / f"{at}"
        try:
            run(path, name, callback=breaking(at))
        except Broken:
            assert path.exists() or "every" in name
        else:
            assert "stopping" in name and at > 4  # it has stopped before
        assert run(path, name) == expected


@pytest.mark.parametrize("name", ["adam", "nesterov+stopping", "adamw+loop+stopping", "own", "sgd+rows"])
def test_broken_off_again_and_again(file, name):
    expected = without_checkpoints(name)
    for at in range(1, EPOCHS):
        try:
            result = run(file, name, callback=breaking(at))
        except Broken:
            continue
        break
    else:
        result = run(file, name)
    assert result == expected


@pytest.mark.parametrize("name", ["adam", "sgd+stopping", "own+loop"])
def test_a_run_that_ended_has_nothing_left_to_do(file, name):
    expected = run(file, name)
    before = file.read_bytes()
    assert run(file, name) == expected
    assert file.read_bytes() == before


def test_more_epochs_than_at_first(file):
    run(file, "adam+mt", epochs=5)
    assert run(file, "adam+mt") == without_checkpoints("adam+mt")


def test_epochs_of_the_next_run_count_anew(file):
    parts, options = training("adam")
    nn.fit(*parts, 5, checkpoint=file, **options)
    again, options = training("adam")
    nn.load(file, model=again[0], optimizer=again[2], dataloader=again[3])
    assert len(nn.fit(*again, 5, **options).loss) == 5
    assert len(nn.fit(*again, 5, **options).loss) == 5
    parts = training("adam")[0]
    nn.fit(*parts, 10)
    assert again[2].updates == parts[2].updates == 90


def test_callbacks_see_the_epochs_that_are_left(file):
    parts, options = training("sgd")
    nn.fit(*parts, 5, checkpoint=file, **options)
    again, options = training("sgd")
    nn.load(file, model=again[0], optimizer=again[2], dataloader=again[3])
    seen_epochs = []
    nn.fit(*again, 8, callback=lambda epoch, loss: seen_epochs.append(epoch), **options)
    assert seen_epochs == [5, 6, 7]


def test_a_callback_that_stopped_has_stopped(file):
    parts, options = training("sgd")
    history = nn.fit(*parts, 9, checkpoint=file, callback=lambda epoch, loss: epoch == 3, **options)
    again, options = training("sgd")
    nn.load(file, model=again[0], optimizer=again[2], dataloader=again[3])
    assert nn.fit(*again, 9, **options).loss == history.loss and len(history.loss) == 4
    assert len(nn.fit(*again, 2, **options).loss) == 2


# --- what is written, and when ---


@pytest.fixture
def written(monkeypatch):
    """How many epochs were done each time a checkpoint was written."""
    times, save = [], checkpoints.save

    def counted(path, model, **given):
        times.append(len(given["history"].loss))
        save(path, model, **given)

    monkeypatch.setattr(checkpoints, "save", counted)
    return times


@pytest.mark.parametrize("name", ["sgd", "sgd+loop", "sgd+rows", "sgd+validation"])
@pytest.mark.parametrize(("every", "expected"), [(1, [1, 2, 3, 4, 5, 6, 7]), (3, [3, 6, 7]), (7, [7]), (100, [7])])
def test_every(file, written, name, every, expected):
    parts, options = training(name)
    nn.fit(*parts, 7, checkpoint=file, **options | {"every": every})
    assert written == expected


def test_none_where_none_is_asked_for(written, tmp_path):
    parts, options = training("sgd")
    nn.fit(*parts, 7, **options)
    assert written == []


def test_the_kernel_trains_as_many_epochs_at_once_as_may_be(file, monkeypatch):
    from fits import _take_time

    _take_time(monkeypatch)
    calls, epochs = [], checkpoints.Checkpoints.counts
    monkeypatch.setattr(
        checkpoints.Checkpoints, "counts", lambda self, epoch: (calls.append(epoch), epochs(self, epoch))
    )
    parts, options = training("sgd+fixed+no dropout")
    nn.fit(*parts, 10, checkpoint=file, **options | {"every": 4})
    assert calls == [4, 8, 10]


def test_an_error_in_training_leaves_the_last_checkpoint(file):
    parts, options = training("sgd")
    parts[2].learning_rate = 1e30
    nn.save(file, nn.Linear(1, 1))
    before = file.read_bytes()
    with pytest.raises(nn.DivergedError), np.errstate(all="ignore"):
        nn.fit(*parts, 5, checkpoint=file, **options | {"every": 5})
    assert file.read_bytes() == before


@pytest.mark.parametrize("name", ["sgd", "sgd+loop"])
def test_a_full_disk_ends_the_training_and_keeps_the_file(file, monkeypatch, name):
    parts, options = training(name)

    def fill(epoch, loss):
        if epoch == 2:
            monkeypatch.setattr(
                os, "fsync", lambda handle: (_ for _ in ()).throw(OSError(28, "No space left on device"))
            )

    with pytest.raises(OSError, match="No space left") as raised:
        nn.fit(*parts, 9, checkpoint=file, callback=fill, **options)
    monkeypatch.undo()
    assert raised.value.filename == str(file) and [p.name for p in file.parent.iterdir()] == [file.name]
    assert run(file, name, 9) == without_checkpoints(name, 9)


def test_the_file_at_the_end_has_the_model_that_fit_leaves(file):
    parts, options = training("sgd+stopping")
    history = nn.fit(*parts, 30, checkpoint=file, **options)
    assert history.best_epoch is not None and history.best_epoch < len(history.loss) - 1
    x = np.random.default_rng(0).normal(size=(5, 3))
    assert np.array_equal(nn.load(file).predict(x), parts[0].predict(x))


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"checkpoint": "none/run"}, FileNotFoundError, "the folder .*none does not exist"),
        ({"checkpoint": "."}, IsADirectoryError, "is a folder"),
        ({"checkpoint": 3}, TypeError, "int"),
        ({"checkpoint": "run", "every": 0}, ValueError, "fit: every must be at least 1"),
        ({"checkpoint": "run", "every": 1.5}, TypeError, "fit: every must be an integer"),
    ],
)
def test_what_is_refused_before_anything_is_trained(tmp_path, monkeypatch, options, error, words):
    monkeypatch.chdir(tmp_path)
    parts, others = training("sgd")
    with pytest.raises(error, match=words):
        nn.fit(*parts, 2, **others | options)
    assert parts[2].updates == 0 and not list(tmp_path.iterdir())


def test_a_layer_of_the_users_own_is_refused_before_anything_is_trained(file):
    class Own(nn.ReLU):
        pass

    model = network()
    model.add(Own())
    parts, _ = training("sgd")
    optimizer = nn.SGD(parameters=model.parameters())
    with pytest.raises(TypeError, match="the layer at 5 is of a class of yours, Own"):
        nn.fit(model, parts[1], optimizer, parts[3], 2, checkpoint=file)
    assert optimizer.updates == 0 and not file.exists()


# --- saving and loading by hand ---


def test_saving_in_a_callback(file):
    name = "adam+stopping"
    parts, options = training(name)
    model, _, optimizer, loader = parts

    def keep(epoch, loss):
        if epoch == 4:
            nn.save(file, model, optimizer=optimizer, dataloader=loader, early_stopping=options["early_stopping"])
            raise Broken

    with pytest.raises(Broken):
        nn.fit(*parts, EPOCHS, callback=keep, **options)
    parts, options = training(name)
    history = nn.History()
    nn.load(file, model=parts[0], optimizer=parts[2], dataloader=parts[3])
    options.pop("every")
    nn.fit(*parts, EPOCHS, history=history, **options)
    whole, others = training(name)
    others.pop("every")
    expected = nn.fit(*whole, EPOCHS, **others)
    assert history.loss == expected.loss[5:] and np.array_equal(
        parts[0].predict(np.ones((3, 3))), whole[0].predict(np.ones((3, 3)))
    )


def test_saving_between_runs_begins_the_next_anew(file):
    parts, options = training("adamw")
    history = nn.fit(*parts, 4, **options)
    nn.save(file, parts[0], optimizer=parts[2], dataloader=parts[3], history=history)
    again, options = training("adamw")
    found = nn.History()
    nn.load(file, model=again[0], optimizer=again[2], dataloader=again[3], history=found)
    assert found == history
    nn.fit(*again, 4, history=found, **options)
    nn.fit(*parts, 4, history=history, **options)
    assert found == history and len(found.loss) == 8
    assert seen(again, found) == seen(parts, history)


def test_a_loop_of_the_users_own(file):
    def epochs(parts, count):
        model, loss_fn, optimizer, loader = parts
        for _ in range(count):
            for x, y in loader:
                loss_fn(model(x), y)
                model.backward(loss_fn.backward())
                optimizer.step()
                optimizer.clear_grad()

    parts, again = training("nesterov")[0], training("nesterov")[0]
    epochs(parts, 3)
    nn.save(file, parts[0], optimizer=parts[2], dataloader=parts[3])
    nn.load(file, model=again[0], optimizer=again[2], dataloader=again[3])
    epochs(parts, 3)
    epochs(again, 3)
    assert seen(again, nn.History()) == seen(parts, nn.History())


def test_a_new_model_is_given_to_the_optimizer(file):
    parts, options = training("adam")
    nn.fit(*parts, 4, checkpoint=file, **options)
    other = training("adam")[0]
    model = nn.load(file, optimizer=other[2], dataloader=other[3])
    assert model is not other[0]
    assert all(mine is theirs for mine, theirs in zip(other[2].parameters, model.parameters(), strict=True))
    history = nn.fit(model, *other[1:], EPOCHS, **options)
    assert seen((model, *other[1:]), history) == without_checkpoints("adam")


def test_early_stopping_and_the_history_are_filled(file):
    parts, options = training("sgd+stopping")
    history = nn.fit(*parts, 5, checkpoint=file, **options)
    found, stopping = nn.History([1.0]), nn.EarlyStopping("loss", 99)
    nn.load(file, history=found, early_stopping=stopping)
    assert found == history and stopping == options["early_stopping"]


def test_numpys_generator_is_left_alone_unless_it_is_asked_for(file):
    parts, options = training("sgd")
    np.random.seed(5)
    nn.fit(*parts, 2, checkpoint=file, **options)
    state = np.random.get_state()[1].copy()
    np.random.seed(6)
    other = np.random.get_state()[1].copy()
    nn.load(file)
    assert np.array_equal(np.random.get_state()[1], other)
    nn.load(file, restore_global_rng=True)
    assert np.array_equal(np.random.get_state()[1], state)


def test_a_model_alone_keeps_no_generator(file):
    nn.save(file, nn.Linear(2, 2))
    with pytest.raises(nn.BadFileError, match="no state of NumPy's global generator"):
        nn.load(file, restore_global_rng=True)


def test_settings_and_rates_that_a_callback_changed(file):
    parts, options = training("adam")

    def change(epoch, loss):
        parts[2].learning_rate, parts[2].beta1, parts[0].graphs[2].p = 0.003, 0.8, 0.1

    nn.fit(*parts, 2, callback=change, checkpoint=file, **options)
    again = training("adam")[0]
    nn.load(file, model=again[0], optimizer=again[2])
    assert (again[2].learning_rate, again[2].schedule, again[2].beta1, again[0].graphs[2].p) == (0.003, None, 0.8, 0.1)


def test_a_schedule_comes_back(file):
    parts, options = training("adamw")
    nn.fit(*parts, 2, checkpoint=file, **options)
    again = training("adamw")[0]
    again[2].learning_rate = 0.1
    nn.load(file, model=again[0], optimizer=again[2])
    assert again[2].schedule == parts[2].schedule and again[2].learning_rate == parts[2].learning_rate


def test_a_schedule_of_the_users_own_has_to_be_there(file):
    parts, options = training("own schedule")
    nn.fit(*parts, 2, checkpoint=file, **options)
    again = training("adam")[0]
    with pytest.raises(nn.BadFileError, match="those of a function of yours; give the Adam that function"):
        nn.load(file, model=again[0], optimizer=again[2])


def test_a_part_of_a_model_is_trained(file):
    parts, options = training("sgd+no dropout")
    model, loss_fn, _, loader = parts
    optimizer = nn.SGD(0.9, model.graphs[-1].parameters(), 0.01)
    nn.fit(model, loss_fn, optimizer, loader, 3, checkpoint=file, **options)
    again = training("sgd+no dropout")[0]
    other = nn.SGD(0.9, again[0].graphs[-1].parameters(), 0.01)
    nn.load(file, model=again[0], optimizer=other, dataloader=again[3])
    nn.fit(model, loss_fn, optimizer, loader, 2)
    nn.fit(again[0], again[1], other, again[3], 5)
    assert seen((again[0], None, other, again[3]), nn.History()) == seen((model, None, optimizer, loader), nn.History())
    with pytest.raises(nn.BadFileError, match="held other parameters"):
        nn.load(file, model=again[0], optimizer=nn.SGD(0.9, again[0].parameters(), 0.01))


def test_another_history_is_refused(file):
    parts, options = training("sgd")
    nn.fit(*parts, 3, checkpoint=file, **options)
    again, options = training("sgd")
    nn.load(file, model=again[0], optimizer=again[2])
    with pytest.raises(ValueError, match="fit: history has 2 epochs, that of the run that goes on had 3"):
        nn.fit(*again, 5, history=nn.History([1.0, 2.0]), **options)
    with pytest.raises(IsADirectoryError):
        nn.fit(*again, 5, checkpoint=file.parent, **options)
    assert len(nn.fit(*again, 5, **options).loss) == 5  # and it goes on all the same
    assert again[2].updates == 45


def test_another_data_set_is_refused(file):
    parts, options = training("sgd")
    nn.fit(*parts, 3, checkpoint=file, **options)
    with pytest.raises(nn.BadFileError, match=r"int32 \(41,\); the loader to fill has 17"):
        nn.load(file, dataloader=nn.DataLoader(nn.ArrayDataset(*rng_data(0))))


def test_a_loader_of_the_users_own(file):
    parts, options = training("sgd")
    batches = list(parts[3])
    nn.fit(*parts[:3], batches, 3, checkpoint=file, **options)
    again = training("sgd")[0]
    nn.load(file, model=again[0], optimizer=again[2], dataloader=batches)
    history = nn.fit(*again[:3], batches, 6, **options)
    whole = training("sgd")[0]
    assert history.loss == nn.fit(*whole[:3], batches, 6).loss


# --- processes that are killed ---

PROGRAM = Path(sys.modules[run.__module__].__file__)


def start(path, name):
    environment = os.environ | {
        "FASTNP_QUIET": "1",
        "FASTNP_BACKEND": nn.get_backend(),
        "PYTHONPATH": os.pathsep.join(sys.path),
    }
    return subprocess.Popen(
        [sys.executable, PROGRAM, str(path), name],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    )


@pytest.mark.parametrize("name", ["adam+global", "nesterov+stopping", "own+loop", "sgd+rows+stopping"])
def test_a_process_that_is_killed_goes_on_to_the_same_bits(file, name):
    expected = without_checkpoints(name)
    wait = random.Random(name)
    for tries in range(40):
        process = start(file, name)
        process.stdout.readline()
        if tries < 4:
            deadline, before = time.monotonic() + 60, file.stat().st_mtime_ns if file.exists() else 0
            while process.poll() is None and time.monotonic() < deadline:
                if file.exists() and file.stat().st_mtime_ns > before:
                    break
            time.sleep(wait.random() * 0.01)
            process.send_signal(signal.SIGKILL)
        out, err = process.communicate()
        assert process.returncode in (0, -signal.SIGKILL), err
        if process.returncode == 0:
            break
    assert out.strip() == expected
    assert [p.name for p in file.parent.iterdir() if not p.name.startswith(".")] == [file.name]


def test_ctrl_c_leaves_a_checkpoint_that_goes_on(file):
    name = "own+loop"
    process = start(file, name)
    while process.poll() is None and not file.exists():
        time.sleep(0.001)
    process.send_signal(signal.SIGINT)
    process.communicate()
    assert [p.name for p in file.parent.iterdir()] == [file.name]
    assert run(file, name) == without_checkpoints(name)


def test_files_may_be_copied(file, tmp_path):
    run(file, "adam", 5)
    shutil.copy(file, tmp_path / "copy")
    assert run(tmp_path / "copy", "adam") == without_checkpoints("adam")
