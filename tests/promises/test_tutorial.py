"""The tutorial's program as a user types it, and its arithmetic."""

import numpy as np
import pytest
from models import batches, build, sgd, train, values
from products import matrix_product

import fastnp as nn

pytestmark = pytest.mark.usefixtures("backend")


def test_the_tutorials_program_runs_and_learns(tmp_path):
    rng = np.random.default_rng(0)
    points = np.linspace(-np.pi, np.pi, 200).reshape(-1, 1)
    np.save(tmp_path / "x.npy", points)
    np.save(tmp_path / "y.npy", 2 * np.sin(points) + rng.normal(0, 0.1, points.shape))

    class LinearDataset(nn.Dataset):
        def __init__(self, X, Y):
            self.X = X
            self.Y = Y

        def __len__(self):
            return len(self.X)

        def __getitem__(self, idx):
            return self.X[idx], self.Y[idx]

    np.random.seed(4)
    X = np.load(tmp_path / "x.npy")
    Y = np.load(tmp_path / "y.npy")
    index = np.random.choice(range(200), 100, replace=False)
    dataloader = nn.DataLoader(LinearDataset(X[index], Y[index]), shuffle=True, batch_size=4, drop_last=True)
    model = nn.Sequential(
        nn.Linear(1, 16, name="linear1"),
        nn.ReLU(name="relu1"),
        nn.Linear(16, 64, name="linear2"),
        nn.ReLU(name="relu2"),
        nn.Linear(64, 16, name="linear3"),
        nn.ReLU(name="relu3"),
        nn.Linear(16, 1, name="linear4"),
    )
    opt = nn.SGD(parameters=model.parameters(), learning_rate=0.01, weight_decay=0.0, decay_type="l2")
    loss_fn = nn.MSE()
    losses = []
    for _ in range(300):
        total = 0
        for x, y in dataloader:
            pred = model(x)
            loss = loss_fn(pred, y)
            grad = loss_fn.backward()
            model.backward(grad)
            opt.step()
            opt.clear_grad()
            total += loss
        losses.append(total / len(dataloader))
    assert losses[0] > 0.8
    assert losses[-1] < 0.1

    grid = np.linspace(-np.pi, np.pi, 500).reshape(-1, 1)
    outputs = [model(x) for x, _ in nn.DataLoader(LinearDataset(grid, grid), batch_size=2)]
    fit = np.stack(outputs).reshape(-1, 1)
    assert np.mean((fit - 2 * np.sin(grid)) ** 2) < 0.1

    printed = [
        "\n".join(map(str, (layer.name, layer.weights.data, layer.bias.data)))
        for layer in model.graphs
        if isinstance(layer, nn.Linear)
    ]
    assert [text.split("\n")[0] for text in printed] == ["linear1", "linear2", "linear3", "linear4"]
    for text, layer in zip(printed, model.graphs[::2], strict=True):
        last = float(text.replace("[", " ").strip("]").split()[-1])
        assert last == pytest.approx(layer.bias.data[0, -1], rel=1e-4, abs=1e-7)


def oracle(model, data, momentum, learning_rate, weight_decay):
    """Losses of the textbook's formulas, from the model's present parameters, in double."""
    p = [value.astype(np.float64) for value in values(model)]
    v = [np.zeros_like(value) for value in p]
    losses = []
    for x, y in data:
        inputs = [x]
        for i in range(0, len(p), 2):
            z = matrix_product(inputs[-1], p[i]) + p[i + 1]
            inputs.append(np.maximum(z, 0) if i + 2 < len(p) else z)
        losses.append(np.mean(0.5 * (inputs[-1] - y) ** 2))
        dy, g = (inputs[-1] - y) / y.size, [None] * len(p)
        for i in range(len(p) - 2, -1, -2):
            g[i], g[i + 1] = matrix_product(inputs[i // 2].T, dy), dy.sum(axis=0, keepdims=True)
            dy = matrix_product(dy, p[i].T) * (inputs[i // 2] > 0)
        for i in range(len(p)):
            v[i] = momentum * v[i] + g[i] + weight_decay * p[i]
            p[i] = p[i] - learning_rate * v[i]
    return losses, p


@pytest.mark.parametrize("widths", [(1, 16, 1), (3, 17, 5, 2), (7, 1, 9)])
def test_training_in_double_follows_the_textbook(widths):
    model = build(*widths, dtype=np.float64)
    data = batches(widths[0], widths[-1], count=30)
    expected_losses, expected = oracle(model, data, 0.9, 0.02, 0.01)
    losses = train(model, sgd(model, learning_rate=0.02, weight_decay=0.01), data)
    np.testing.assert_allclose(losses, expected_losses, rtol=1e-9)
    for got, want in zip(values(model), expected, strict=True):
        assert got.dtype == np.float64
        np.testing.assert_allclose(got, want, rtol=1e-9, atol=1e-11)


def test_training_in_single_stays_near_the_textbook():
    model, data = build(3, 17, 5, 2), batches(3, 2, count=20)
    expected_losses, _ = oracle(model, data, 0.9, 0.02, 0.0)
    np.testing.assert_allclose(train(model, sgd(model, learning_rate=0.02), data), expected_losses, rtol=1e-4)
