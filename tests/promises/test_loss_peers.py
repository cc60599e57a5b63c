"""Each loss beside PyTorch: 100 steps of training in float64, with weights of rows, classes and positives."""

import itertools

import numpy as np
import pytest

import fastnp as nn

STEPS, ROWS, WIDTHS = 100, 16, (5, 24, 17, 4)
# Both compute in float64 and start from the same parameters; what a step is off by, some 1e-15 of the largest number,
# is handed on by 100 steps. Seen: at most 5e-15 of the loss, or of the largest number of a parameter.
TOLERANCE = 1e-12
Q, POS_WEIGHT, CLASS_WEIGHT = [0.1, 0.3, 0.5, 0.9], [0.5, 1.0, 2.0, 3.0], [0.2, 1.0, 2.0, 0.7]

CASES = {
    "mse": nn.MSE(),
    "mae": nn.MAE(),
    "huber": nn.Huber(0.7),
    "quantile": nn.Quantile(0.8),
    "quantiles": nn.Quantile(Q),
    "poisson_nll": nn.PoissonNLL(),
    "bce": nn.BCEWithLogits(),
    "bce-pos_weight": nn.BCEWithLogits(POS_WEIGHT),
    "labels": nn.CrossEntropy(),
    "labels-smoothed": nn.CrossEntropy(0.1),
    "labels-class_weight": nn.CrossEntropy(class_weight=CLASS_WEIGHT),
    "labels-both": nn.CrossEntropy(0.1, CLASS_WEIGHT),
    "probabilities": nn.CrossEntropy(),
    "probabilities-smoothed": nn.CrossEntropy(0.2),
}


def data(name):
    """Batches (x, y, weight), in turns."""
    rng = np.random.default_rng(0)
    for _ in range(STEPS):
        x, weight = rng.normal(size=(ROWS, WIDTHS[0])), rng.uniform(0, 2, ROWS)
        weight[3] = 0
        kind = name.split("-")[0]
        y = {
            "poisson_nll": lambda: rng.poisson(2.0, (ROWS, 4)).astype(float),
            "bce": lambda: rng.choice([0, 1, 0.3], (ROWS, 4)),
            "labels": lambda: rng.integers(0, 4, ROWS),
            "probabilities": lambda: rng.dirichlet(np.ones(4), ROWS),
        }.get(kind, lambda: rng.normal(size=(ROWS, 4)))()
        yield x, y, weight


def torch_loss(torch, name, reduction):
    """The loss of (pred, target) in PyTorch, reduced as PyTorch does."""
    F = torch.nn.functional

    def tensor(numbers):
        return torch.tensor(numbers, dtype=torch.float64)

    def quantile(q):
        def loss(pred, target, reduction):
            difference = target - pred
            each = torch.maximum(q * difference, (q - 1) * difference)
            return each.mean() if reduction == "mean" else each

        return loss

    entropy, bce = F.cross_entropy, F.binary_cross_entropy_with_logits
    of = {
        "mse": lambda p, t, reduction: F.mse_loss(p, t, reduction=reduction) / 2,
        "mae": F.l1_loss,
        "huber": lambda p, t, reduction: F.huber_loss(p, t, reduction=reduction, delta=0.7),
        "quantile": quantile(0.8),
        "quantiles": quantile(tensor(Q)),
        "poisson_nll": F.poisson_nll_loss,
        "bce": bce,
        "bce-pos_weight": lambda p, t, reduction: bce(p, t, pos_weight=tensor(POS_WEIGHT), reduction=reduction),
        "labels": entropy,
        "labels-smoothed": lambda p, t, reduction: entropy(p, t, label_smoothing=0.1, reduction=reduction),
        "labels-class_weight": lambda p, t, reduction: entropy(p, t, tensor(CLASS_WEIGHT), reduction=reduction),
        "labels-both": lambda p, t, reduction: entropy(
            p, t, tensor(CLASS_WEIGHT), label_smoothing=0.1, reduction=reduction
        ),
        "probabilities": entropy,
        "probabilities-smoothed": lambda p, t, reduction: entropy(p, t, label_smoothing=0.2, reduction=reduction),
    }[name]
    return lambda pred, target: of(pred, target, reduction=reduction)


def weighted_mean(torch, name, terms, target, weight):
    """Of the losses of numbers or rows: what PyTorch has no argument for."""
    counts = weight
    if name in ("labels-class_weight", "labels-both"):
        counts = weight * torch.tensor(CLASS_WEIGHT, dtype=torch.float64)[target]
    if terms.ndim == 1:
        return (weight * terms).sum() / counts.sum()
    return (weight[:, None] * terms).sum() / (counts.sum() * terms.shape[1])


def network():
    rng = np.random.default_rng(1)
    layers = []
    for n_in, n_out in itertools.pairwise(WIDTHS):
        layers += [nn.Linear(n_in, n_out, weight_attr=nn.HeNormal(rng=rng), dtype=np.float64), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def torch_network(torch, model):
    layers = []
    for layer in model.graphs:
        if isinstance(layer, nn.ReLU):
            layers.append(torch.nn.ReLU())
            continue
        linear = torch.nn.Linear(*layer.weights.shape, dtype=torch.float64)
        with torch.no_grad():
            linear.weight.copy_(torch.from_numpy(layer.weights.data.T.copy()))
            linear.bias.copy_(torch.from_numpy(layer.bias.data[0].copy()))
        layers.append(linear)
    return torch.nn.Sequential(*layers)


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("weighted", [False, True], ids=["", "weighted"])
def test_a_training_is_pytorchs(name, weighted, backend):
    torch = pytest.importorskip("torch")
    model, loss_fn = network(), CASES[name]
    net = torch_network(torch, model)
    optimizer = nn.SGD(0.9, parameters=model.parameters(), learning_rate=0.02)
    torch_optimizer = torch.optim.SGD(net.parameters(), lr=0.02, momentum=0.9)
    theirs = torch_loss(torch, name, "none" if weighted else "mean")
    worst, losses = 0.0, []
    for x, y, weight in data(name):
        loss = loss_fn(model(x), y, *([weight] if weighted else []))
        model.backward(loss_fn.backward())
        optimizer.step()
        optimizer.clear_grad()
        target = torch.from_numpy(y)
        expected = theirs(net(torch.from_numpy(x)), target)
        if weighted:
            expected = weighted_mean(torch, name, expected, target, torch.from_numpy(weight))
        torch_optimizer.zero_grad()
        expected.backward()
        torch_optimizer.step()
        losses.append(expected.item())
        worst = max(worst, abs(loss / expected.item() - 1))
        for tensor, p in zip(model.parameters(), net.parameters(), strict=True):
            p = p.detach().numpy().T.reshape(tensor.shape)
            worst = max(worst, np.abs(tensor.data - p).max() / np.abs(p).max())
    print(f"{name}: worst relative difference {worst:.1e}, loss {losses[0]:.3f} … {losses[-1]:.3f}")
    assert worst <= TOLERANCE
