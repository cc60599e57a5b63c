"""The pictures of a fit and of a history."""

import numpy as np
import pytest

from fastnp.datasets import sin_curve, sin_data


def test_the_figure_holds_data_curves_and_losses():
    plot = pytest.importorskip("fastnp.training.plot")
    x, y = sin_data(40, rng=np.random.default_rng(0))
    grid = np.linspace(-np.pi, np.pi, 500)[:, np.newaxis]
    losses = [1.0, 0.5, 0.01]
    figure = plot.draw_fit(x, y, grid, sin_curve(grid), 0.9 * sin_curve(grid), losses)
    left, right = figure.axes
    assert np.array_equal(left.collections[0].get_offsets(), np.hstack([x, y]))
    truth, fitted = left.lines
    assert np.array_equal(truth.get_ydata(), sin_curve(grid)[:, 0])
    assert np.array_equal(fitted.get_ydata(), 0.9 * sin_curve(grid)[:, 0])
    (loss,) = right.lines
    assert loss.get_xdata().tolist() == [1, 2, 3] and list(loss.get_ydata()) == losses
    assert right.get_yscale() == "log"
    assert [text.get_text() for text in left.get_legend().get_texts()] == [
        "data, 40 points",
        "2 sin x",
        "fitted network",
    ]
    assert all(axes.get_xlabel() and axes.get_ylabel() and axes.get_title(loc="left") for axes in figure.axes)


def test_a_history_is_drawn_with_and_without_validation():
    plot = pytest.importorskip("fastnp.training.plot")
    (axes,) = plot.draw_history([1.0, 0.1], []).axes
    assert [line.get_label() for line in axes.lines] == ["training"]
    (axes,) = plot.draw_history([1.0, 0.1], [1.2, 0.0]).axes
    assert [line.get_label() for line in axes.lines] == ["training", "validation"]
    assert axes.lines[1].get_ydata()[0] == 1.2 and np.isnan(axes.lines[1].get_ydata()[1])
    (axes,) = plot.draw_history([1.0, 0.1, 0.2], [], 1).axes
    assert [line.get_label() for line in axes.lines] == ["training", "best epoch"]
    at = axes.lines[0].get_xdata()[1]
    assert list(axes.lines[1].get_xdata()) == [at, at]


@pytest.mark.parametrize("losses", [[], [0.5], [0.0, 0.0], [np.nan, np.nan], [1.0, np.inf]])
def test_any_training_can_be_drawn(tmp_path, losses):
    plot = pytest.importorskip("fastnp.training.plot")
    x = np.linspace(-50, 50, 5)[:, np.newaxis]
    figure = plot.draw_fit(x, x, x, x, np.full_like(x, np.nan), losses)
    figure.savefig(tmp_path / "fit.png")
    assert (tmp_path / "fit.png").stat().st_size > 10_000
