"""JAX with all epochs in one compiled scan, and optimizers written by hand."""

from ..jobs import BETAS, EPSILON, LEARNING_RATE, MOMENTUM


def sgd(parameters, kept, gradients):
    """One update; `kept` holds the velocity."""
    from jax import tree

    (velocity,) = kept
    velocity = tree.map(lambda v, g: MOMENTUM * v + g, velocity, gradients)
    return tree.map(lambda p, v: p - LEARNING_RATE * v, parameters, velocity), (velocity,)


def adam(parameters, kept, gradients):
    """One update; `kept` holds the moments, and how many updates were made."""
    import jax.numpy as jnp
    from jax import tree

    (first, second, count), (beta1, beta2) = kept, BETAS
    count += 1
    first = tree.map(lambda m, g: beta1 * m + (1 - beta1) * g, first, gradients)
    second = tree.map(lambda v, g: beta2 * v + (1 - beta2) * g * g, second, gradients)
    step, scale = LEARNING_RATE / (1 - beta1**count), 1 / jnp.sqrt(1 - beta2**count)
    parameters = tree.map(lambda p, m, v: p - step * m / (jnp.sqrt(v) * scale + EPSILON), parameters, first, second)
    return parameters, (first, second, count)


def jax_scan(job, batches):
    import jax
    import jax.numpy as jnp

    activation = {"ReLU": lambda z: jnp.maximum(z, 0), "Tanh": jnp.tanh}[job.activation]
    update = {"SGD": sgd, "Adam": adam}[job.optimizer]
    in_batches = [jnp.asarray(array).reshape(-1, job.network.batch, *array.shape[1:]) for array in job.data(batches)]
    parameters = list(map(jnp.asarray, job.start()))
    zeros = list(map(jnp.zeros_like, parameters))
    start = parameters, {"SGD": (zeros,), "Adam": (zeros, zeros, 0.0)}[job.optimizer]

    def loss(parameters, data, target):
        *hidden, last = zip(parameters[::2], parameters[1::2], strict=True)
        for w, b in hidden:
            data = activation(data @ w + b)
        pred = data @ last[0] + last[1]
        if job.loss == "CrossEntropy":
            return -jnp.mean(jnp.take_along_axis(jax.nn.log_softmax(pred), target[:, None], axis=1))
        return 0.5 * jnp.mean((pred - target) ** 2)

    def step(state, batch):
        value, gradients = jax.value_and_grad(loss)(state[0], *batch)
        return update(*state, gradients), value

    def epochs_of(count):
        return jax.jit(
            lambda state: jax.lax.scan(lambda s, _: jax.lax.scan(step, s, in_batches), state, None, length=count)
        )

    compiled, reached = {}, start

    def train(epochs):
        nonlocal reached
        if epochs not in compiled:
            compiled[epochs] = epochs_of(epochs)
        reached, _ = jax.block_until_ready(compiled[epochs](start))

    return train, lambda: list(map(jax.device_get, reached[0]))
