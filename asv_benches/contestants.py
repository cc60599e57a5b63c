"""The same training job in different libraries: stochastic gradient descent with momentum on half the mean
squared error, float32, one thread, batches in a fixed order.

Each function sets up a job for `widths`, `batch_size` and arrays (x, y), and returns a function of a number
of epochs that trains for so long. A library that is not installed raises ImportError.
"""

import itertools

import numpy as np

LEARNING_RATE = 1e-3
MOMENTUM = 0.9


def relu(n):
    import fastnp

    return [fastnp.ReLU()]


def fastnp_model(widths, dtype="float32", between=relu):
    """Linear layers; `between` makes a list of layers, given the width of those that they stand between."""
    import fastnp

    model = fastnp.Sequential()
    for n_in, n_out in itertools.pairwise(widths):
        for layer in between(n_in) if model.graphs else ():
            model.add(layer)
        model.add(fastnp.Linear(n_in, n_out, weight_attr=fastnp.HeNormal(), dtype=dtype))
    return model


def fastnp_parts(widths, batch_size, x, y, dtype="float32", between=relu):
    import fastnp

    model = fastnp_model(widths, dtype, between)
    optimizer = fastnp.SGD(momentum=MOMENTUM, parameters=model.parameters(), learning_rate=LEARNING_RATE)
    loader = fastnp.DataLoader(fastnp.ArrayDataset(x, y), batch_size=batch_size, drop_last=True)
    return model, fastnp.MSE(), optimizer, loader


def fitted(model, loss_fn, optimizer, loader, **options):
    """All epochs in one call of `fit`."""
    import fastnp

    return lambda epochs: fastnp.fit(model, loss_fn, optimizer, loader, epochs, progress=False, **options)


def fit(widths, batch_size, x, y):
    return fitted(*fastnp_parts(widths, batch_size, x, y))


def written_out(model, loss_fn, optimizer, loader):
    """The loop that a user writes."""

    def train(epochs):
        for _ in range(epochs):
            for data, target in loader:
                loss_fn(model(data), target)
                model.backward(loss_fn.backward())
                optimizer.step()
                optimizer.clear_grad()

    return train


def loop(widths, batch_size, x, y):
    return written_out(*fastnp_parts(widths, batch_size, x, y))


def numpy_baseline(widths, batch_size, x, y):
    from . import baseline

    layers = []
    for n_in, n_out in itertools.pairwise(widths):
        layers += [baseline.Linear(n_in, n_out), baseline.ReLU()]
    model = baseline.Sequential(*layers[:-1])
    optimizer = baseline.SGD(model.parameters(), LEARNING_RATE, MOMENTUM)
    loader = baseline.DataLoader(list(zip(x, y, strict=True)), batch_size)
    return written_out(model, baseline.MSE(), optimizer, loader)


def torch_eager(widths, batch_size, x, y):
    """PyTorch without a DataLoader: slices of tensors."""
    import torch

    torch.set_num_threads(1)
    layers = []
    for n_in, n_out in itertools.pairwise(widths):
        layers += [torch.nn.Linear(n_in, n_out), torch.nn.ReLU()]
    model = torch.nn.Sequential(*layers[:-1])
    optimizer = torch.optim.SGD(model.parameters(), lr=LEARNING_RATE, momentum=MOMENTUM)
    data, target = torch.from_numpy(x), torch.from_numpy(y)

    def train(epochs):
        for _ in range(epochs):
            for start in range(0, len(x), batch_size):
                loss = 0.5 * torch.mean(
                    (model(data[start : start + batch_size]) - target[start : start + batch_size]) ** 2
                )
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()

    return train


def jax_scan(widths, batch_size, x, y):
    """JAX with all epochs in one compiled scan."""
    import jax
    import jax.numpy as jnp

    rng = np.random.default_rng(0)
    weights = [
        (rng.normal(size=shape).astype(np.float32) / np.sqrt(shape[0]), np.zeros(shape[1], np.float32))
        for shape in itertools.pairwise(widths)
    ]
    batches = jnp.asarray(x).reshape(-1, batch_size, widths[0]), jnp.asarray(y).reshape(-1, batch_size, widths[-1])

    def loss(parameters, data, target):
        for w, b in parameters[:-1]:
            data = jnp.maximum(data @ w + b, 0)
        w, b = parameters[-1]
        return 0.5 * jnp.mean((data @ w + b - target) ** 2)

    def step(state, batch):
        parameters, velocity = state
        value, gradient = jax.value_and_grad(loss)(parameters, *batch)
        velocity = jax.tree.map(lambda v, g: MOMENTUM * v + g, velocity, gradient)
        parameters = jax.tree.map(lambda p, v: p - LEARNING_RATE * v, parameters, velocity)
        return (parameters, velocity), value

    def epochs_of(count):
        return jax.jit(
            lambda state: jax.lax.scan(lambda s, _: jax.lax.scan(step, s, batches), state, None, length=count)
        )

    start = weights, jax.tree.map(jnp.zeros_like, weights)
    compiled = {}

    def train(epochs):
        if epochs not in compiled:
            compiled[epochs] = epochs_of(epochs)
        jax.block_until_ready(compiled[epochs](start))

    return train


def scikit_learn(widths, batch_size, x, y):
    import warnings

    from sklearn.neural_network import MLPRegressor

    def train(epochs):
        model = MLPRegressor(
            hidden_layer_sizes=widths[1:-1],
            solver="sgd",
            alpha=0.0,
            batch_size=batch_size,
            learning_rate_init=LEARNING_RATE,
            momentum=MOMENTUM,
            nesterovs_momentum=False,
            shuffle=False,
            max_iter=epochs,
            tol=0.0,
            n_iter_no_change=epochs + 1,
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it warns that it has not converged
            model.fit(x, y if y.shape[1] > 1 else y[:, 0])

    return train


CONTESTANTS = {
    "fit": fit,
    "loop": loop,
    "NumPy": numpy_baseline,
    "PyTorch": torch_eager,
    "JAX scan": jax_scan,
    "sklearn": scikit_learn,
}
