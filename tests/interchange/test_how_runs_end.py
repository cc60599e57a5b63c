"""Checkpoints of runs that end early, diverge, are refused, or go on after their end."""

import numpy as np
import pytest

import fastnp as nn

pytest.importorskip("safetensors")


def run(optimizer=lambda parameters: nn.Adam(parameters, 0.3)):
    """Model, optimizer and loader, made as a script makes them each time."""
    rng = np.random.default_rng(0)
    first, last = (nn.Linear(*widths, weight_attr=nn.HeNormal(rng=rng)) for widths in ((2, 8), (8, 1)))
    model = nn.Sequential(first, nn.Tanh(), last)
    x = rng.normal(size=(20, 2))
    loader = nn.DataLoader(nn.ArrayDataset(x, np.sin(x[:, :1])), batch_size=6, reshuffle=True, rng=rng)
    return model, optimizer(model.parameters()), loader


def fitted(parts, epochs, **options):
    model, optimizer, loader = parts
    return nn.fit(model, nn.MSE(), optimizer, loader, epochs, progress=False, **options)


def loaded(path, **options):
    model, optimizer, loader = parts = run()
    nn.load(path, model=model, optimizer=optimizer, dataloader=loader, **options)
    return parts


def validation():
    rng = np.random.default_rng(1)
    return rng.normal(size=(10, 2)), 3 * rng.normal(size=(10, 1))


@pytest.mark.parametrize(("patience", "more"), [(100, 100), (3, 8)])
def test_the_best_epoch_stays_the_best_when_a_run_that_had_ended_goes_on(tmp_path, patience, more):
    path = tmp_path / "run.safetensors"
    stopping = nn.EarlyStopping(patience=patience)
    fitted(run(), 10, validation=validation(), early_stopping=stopping, checkpoint=path)
    parts = loaded(path)
    parts[1].learning_rate = 0.5
    stopping = nn.EarlyStopping(patience=more)
    history = fitted(parts, 14, validation=validation(), early_stopping=stopping, checkpoint=path)
    x, y = validation()
    assert nn.MSE()(parts[0].predict(x), y) == pytest.approx(min(history.validation_loss), rel=1e-6)
    assert len(history.loss) > 10 or patience == 100


def test_a_run_that_diverges_leaves_a_file_to_go_back_to(tmp_path):
    path = tmp_path / "run.safetensors"
    with pytest.raises(nn.DivergedError), np.errstate(all="ignore"):
        fitted(run(lambda parameters: nn.SGD(0.9, parameters, 5.0)), 400, checkpoint=path)
    assert all(np.isfinite(parameter.data).all() for parameter in nn.load(path).parameters())


def test_a_fit_that_is_refused_forgets_nothing(tmp_path):
    path = tmp_path / "run.safetensors"
    fitted(run(), 4, checkpoint=path)
    parts = loaded(path)
    for wrong in {"stage": "x"}, {"every": 0}, {"history": nn.History(loss=[1.0])}:
        with pytest.raises((TypeError, ValueError)):
            fitted(parts, 6, **wrong)
    history = fitted(parts, 6)
    assert len(history.loss) == 6 and parts[1].updates == 6 * 4


def test_another_file_is_written_by_a_run_that_had_ended(tmp_path):
    path, other = tmp_path / "run.safetensors", tmp_path / "other.safetensors"
    fitted(run(), 3, checkpoint=path)
    parts = loaded(path)
    fitted(parts, 3, checkpoint=other)
    assert np.array_equal(nn.load(other).predict(np.ones((1, 2))), parts[0].predict(np.ones((1, 2))))


def test_a_history_with_a_loss_that_is_no_number_goes_on(tmp_path):
    path, history = tmp_path / "run.safetensors", nn.History(loss=[np.nan])
    fitted(run(), 2, history=history, checkpoint=path)
    again = nn.History()
    parts = loaded(path, history=again)
    assert len(fitted(parts, 4, history=again).loss) == 5


def test_a_run_inside_a_callback_does_not_end_the_one_around(tmp_path):
    path, parts = tmp_path / "run.safetensors", run()

    def callback(epoch, loss):
        if epoch == 1:
            fitted(parts, 1)
        if epoch == 4:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        fitted(parts, 8, callback=callback, checkpoint=path)
    assert len(fitted(loaded(path), 8).loss) == 8
