"""The picture of a network that tells digits, of digits that are made up."""

import numpy as np
import pytest

import fastnp as nn


def drawn(labels, predicted, history):
    """The axes of the picture: examples, confusion, losses; and the picture."""
    plot = pytest.importorskip("fastnp.training.plot_digits")
    images = np.arange(len(labels) * 64.0).reshape(-1, 8, 8)
    figure = plot.draw_digits(images, labels, predicted, history)
    return (*figure.axes, figure)


def texts(axes):
    return [text.get_text() for text in axes.texts]


LABELS = np.repeat(np.arange(10), 9)


def with_wrong(n):
    """Predictions, of which n are wrong, by one each."""
    predicted = LABELS.copy()
    predicted[::7][:n] = (LABELS[::7][:n] + 1) % 10
    assert (predicted != LABELS).sum() == n
    return predicted


@pytest.mark.parametrize(("wrong", "rows"), [(0, 7), (1, 6), (6, 6), (7, 4), (12, 4)])
def test_all_wrong_digits_are_shown_and_as_many_right_ones_as_there_is_room(wrong, rows):
    predicted = with_wrong(wrong)
    axes, _, _, figure = drawn(LABELS, predicted, nn.History())
    right, *said = texts(axes)
    assert right == f"Right: {90 - wrong} of 90 test digits, {100 * (90 - wrong) / 90:.1f} %"
    assert said[: rows * 10] == [str(digit) for digit in range(10) for _ in range(rows)]
    where = np.flatnonzero(predicted != LABELS)
    assert said[rows * 10 :] == [f"Wrong: {wrong}", *(f"{predicted[i]}, not {LABELS[i]}" for i in where)]
    images = [image.get_array() for image in axes.images]
    assert len(images) == len(axes.patches) == rows * 10 + wrong
    for image, i in zip(images[rows * 10 :], where, strict=True):
        assert image[0, 0] == 64 * i
    figure.canvas.draw()
    inside = axes.get_window_extent()
    assert all(inside.contains(*patch.get_window_extent().get_points()[0]) for patch in axes.patches)


def test_of_many_wrong_digits_the_first_are_shown():
    axes = drawn(LABELS, (LABELS + 3) % 10, nn.History())[0]
    assert texts(axes)[:2] == ["Right: 0 of 90 test digits, 0.0 %", "Wrong: 90, the first 12 of them:"]
    assert len(axes.images) == 12


def test_the_confusion_matrix_counts():
    labels, predicted = np.array([0, 0, 0, 3, 9, 9]), np.array([0, 0, 7, 3, 1, 1])
    axes = drawn(labels, predicted, nn.History())[1]
    counts = {(text.get_position()[1], text.get_position()[0]): text.get_text() for text in axes.texts}
    assert counts == {(0, 0): "2", (0, 7): "1", (3, 3): "1", (9, 1): "2"}
    assert (axes.get_ylabel(), axes.get_xlabel()) == ("the digit is", "the network says")


@pytest.mark.parametrize(
    ("history", "labels"),
    [
        (nn.History([1.0, 0.4, 0.2], [0.9, 0.5, 0.6], best_epoch=1), ["training", "validation", "best epoch: 2"]),
        (nn.History([1.0, 0.4, 0.2], best_epoch=2), ["training", "best epoch: 3"]),
        (nn.History([1.0], [0.9]), ["training", "validation"]),
        (nn.History(), ["not trained"]),
    ],
)
def test_losses_and_the_best_epoch(tmp_path, history, labels):
    *_, axes, figure = drawn(LABELS, LABELS, history)
    lines = dict(zip(labels, axes.lines, strict=True))
    assert [text.get_text() for text in axes.get_legend().get_texts()] == labels
    assert list(next(iter(lines.values())).get_ydata()) == history.loss
    if history.best_epoch is not None:
        ((epoch, loss),) = axes.lines[-1].get_xydata()
        assert epoch == history.best_epoch + 1
        assert loss == (history.validation_loss or history.loss)[history.best_epoch]
    figure.savefig(tmp_path / "digits.png")
    assert (tmp_path / "digits.png").stat().st_size > 50_000
