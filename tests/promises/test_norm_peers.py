"""Networks with LayerNorm and Dropout against PyTorch in float64, and against an oracle in plain NumPy: 100 steps."""

import numpy as np
import pytest
from products import matrix_product

import fastnp as nn
from fastnp.backend import BACKENDS
from fastnp.trust.masks import factors

backends = pytest.mark.parametrize("backend", BACKENDS)

STEPS, RATE, MOMENTUM, EPSILON = 100, 0.05, 0.9, 1e-4

# Both sides compute in float64, where a step is off by some 1e-15 of its numbers; seen after 100: 2e-13.
TOLERANCE = 1e-9


def network(dropout=False):
    """Linear–LayerNorm–Tanh, twice, one of them far from mean 0; with dropout behind each where it is asked for."""
    rng = np.random.default_rng(0)

    def linear(n_in, n_out):
        return nn.Linear(n_in, n_out, weight_attr=nn.XavierNormal(rng=rng), dtype=np.float64)

    def behind():
        return [nn.Dropout(0.3, rng)] if dropout else []

    first, second = (nn.LayerNorm(n, EPSILON, dtype=np.float64) for n in (24, 17))
    layers = [linear(7, 24), first, nn.Tanh(), *behind(), linear(24, 17), second, nn.Tanh(), *behind(), linear(17, 3)]
    layers[0].bias.data += 100
    first.weights.data, first.bias.data = rng.normal(1, 0.2, size=(2, 1, 24))
    return nn.Sequential(*layers)


def batches():
    rng = np.random.default_rng(1)
    return [(rng.normal(size=(11, 7)), rng.normal(size=(11, 3))) for _ in range(STEPS)]


def steps(model, data):
    """Losses, and all parameters, of the loop."""
    loss_fn, losses = nn.MSE(), []
    optimizer = nn.SGD(parameters=model.parameters(), learning_rate=RATE, momentum=MOMENTUM)
    for x, y in data:
        losses.append(loss_fn(model(x), y))
        model.backward(loss_fn.backward())
        optimizer.step()
        optimizer.clear_grad()
        yield losses[-1], [tensor.data.copy() for tensor in model.parameters()]


def assert_close(results, others):
    for (loss, parameters), (other, others_parameters) in zip(results, others, strict=True):
        assert abs(loss - other) <= TOLERANCE * (1 + abs(other))
        for p, q in zip(parameters, others_parameters, strict=True):
            assert np.max(abs(p - q)) <= TOLERANCE * (1 + np.max(abs(q)))


@backends
def test_layer_norm_is_pytorchs(backend):
    torch = pytest.importorskip("torch")
    model, twins = network(), []
    for layer in model.graphs:
        if isinstance(layer, nn.Linear):
            twins.append(torch.nn.Linear(*layer.weights.shape, dtype=torch.float64))
        elif isinstance(layer, nn.LayerNorm):
            twins.append(torch.nn.LayerNorm(layer.weights.shape[1], eps=EPSILON, dtype=torch.float64))
        else:
            twins.append(torch.nn.Tanh())
    net = torch.nn.Sequential(*twins)
    with torch.no_grad():
        for p, tensor in zip(net.parameters(), model.parameters(), strict=True):
            p.copy_(torch.from_numpy(tensor.data.copy()).T.reshape(p.shape))
    optimizer = torch.optim.SGD(net.parameters(), lr=RATE, momentum=MOMENTUM)

    def theirs():
        for x, y in batches():
            optimizer.zero_grad()
            loss = 0.5 * torch.nn.functional.mse_loss(net(torch.from_numpy(x)), torch.from_numpy(y))
            loss.backward()
            optimizer.step()
            yield loss.item(), [np.atleast_2d(p.detach().numpy().T) for p in net.parameters()]

    with nn.use_backend(backend):
        assert_close(steps(model, batches()), theirs())


class Oracle:
    """The network in plain NumPy: what passes forward, and the chain rule, written down a second time."""

    def __init__(self, model):
        self.layers = model.graphs
        self.parameters = [tensor.data.astype(np.float64) for tensor in model.parameters()]
        self.velocities = [np.zeros_like(p) for p in self.parameters]
        self.noises = [layer._noise for layer in self.layers if isinstance(layer, nn.Dropout)]

    def step(self, x, y):
        """The loss of a batch; the parameters move. The masks are those of the noises' counts."""
        kept, given, noises = [], iter(self.parameters), iter(self.noises)
        for layer in self.layers:
            if isinstance(layer, nn.Linear):
                kept.append((x, w := next(given)))
                x = matrix_product(x, w) + next(given)
            elif isinstance(layer, nn.LayerNorm):
                centred = x - x.mean(1, keepdims=True)
                scale = 1 / np.sqrt(np.mean(centred**2, axis=1, keepdims=True) + EPSILON)
                kept.append((centred * scale, w := next(given), scale))
                x = centred * scale * w + next(given)
            elif isinstance(layer, nn.Tanh):
                x = np.tanh(x)
                kept.append((x,))
            else:
                kept.append((factors(next(noises), x.shape, np.float64),))
                x = x * kept[-1][0]
        loss, d, gradients = np.mean((x - y) ** 2) / 2, (x - y) / x.size, []
        for layer, numbers in zip(reversed(self.layers), reversed(kept), strict=True):
            if isinstance(layer, nn.Linear):
                a, w = numbers
                gradients[:0] = [matrix_product(a.T, d), d.sum(0, keepdims=True)]
                d = matrix_product(d, w.T)
            elif isinstance(layer, nn.LayerNorm):
                a, w, scale = numbers
                gradients[:0] = [np.sum(d * a, axis=0, keepdims=True), d.sum(0, keepdims=True)]
                g = d * w
                d = scale * (g - g.mean(1, keepdims=True) - a * np.mean(g * a, axis=1, keepdims=True))
            else:
                d = d * (1 - numbers[0] ** 2 if isinstance(layer, nn.Tanh) else numbers[0])
        for p, v, g in zip(self.parameters, self.velocities, gradients, strict=True):
            v[...] = MOMENTUM * v + g
            p -= RATE * v
        return loss


@backends
@pytest.mark.parametrize("dropout", [False, True])
def test_the_chain_rule_written_down_again(dropout, backend):
    model = network(dropout)
    oracle = Oracle(model)

    def theirs():
        for x, y in batches():  # behind the step of the model, whose noises have counted on
            yield oracle.step(x, y), oracle.parameters

    with nn.use_backend(backend):
        assert_close(steps(model, batches()), theirs())


@backends
def test_fit_is_that_loop(backend):
    """So what holds for the loop holds for `fit`."""
    data = batches()
    with nn.use_backend(backend):
        loops = list(steps(looped := network(dropout=True), data))
        x, y = (np.concatenate(arrays) for arrays in zip(*data, strict=True))
        model = network(dropout=True)
        loader = nn.DataLoader(nn.ArrayDataset(x, y), batch_size=11)
        optimizer = nn.SGD(parameters=model.parameters(), learning_rate=RATE, momentum=MOMENTUM)
        nn.fit(model, nn.MSE(), optimizer, loader, 1, progress=False)
    assert len(loops) == STEPS
    for tensor, other in zip(model.parameters(), looped.parameters(), strict=True):
        assert tensor.data.tobytes() == other.data.tobytes()
