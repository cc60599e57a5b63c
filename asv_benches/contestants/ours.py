"""fastnp: `fit`, and the loop that a user writes; over its `ArrayDataset`, and over a data set of the user's own."""

import itertools

from ..jobs import BETAS, EPSILON, LEARNING_RATE, MOMENTUM


def of_fastnp(name):
    """A class of fastnp, or another public name; NotImplementedError, which asv skips, on a commit without it."""
    import fastnp

    if not hasattr(fastnp, name):
        raise NotImplementedError(f"{name} is not in this commit")
    return getattr(fastnp, name)


def relu(n):
    return [of_fastnp("ReLU")()]


def sgd(parameters):
    return of_fastnp("SGD")(momentum=MOMENTUM, parameters=parameters, learning_rate=LEARNING_RATE)


def adam(parameters):
    beta1, beta2 = BETAS
    return of_fastnp("Adam")(parameters, LEARNING_RATE, beta1=beta1, beta2=beta2, epsilon=EPSILON)


OPTIMIZERS = {"SGD": sgd, "Adam": adam}


def fastnp_model(widths, dtype="float32", between=relu):
    """Linear layers; `between` makes a list of layers, given the width of those that they stand between."""
    import fastnp

    model = fastnp.Sequential()
    for n_in, n_out in itertools.pairwise(widths):
        for layer in between(n_in) if model.graphs else ():
            model.add(layer)
        model.add(fastnp.Linear(n_in, n_out, weight_attr=fastnp.HeNormal(), dtype=dtype))
    return model


def arrays(x, y):
    return of_fastnp("ArrayDataset")(x, y)


def own_data(x, y):
    from .own_data import Written

    return Written(x, y)


def fastnp_parts(widths, batch_size, x, y, dtype="float32", between=relu, optimizer=sgd, dataset=arrays):
    """A model, its loss, optimizer and loader.

    `optimizer` makes one, given the parameters, and `dataset`, given x and y.
    """
    import fastnp

    model = fastnp_model(widths, dtype, between)
    loader = fastnp.DataLoader(dataset(x, y), batch_size=batch_size, drop_last=True)
    return model, fastnp.MSE(), optimizer(model.parameters()), loader


def job_parts(job, batches, dataset=arrays):
    """The same of a job, at its start."""
    activation, loss = of_fastnp(job.activation), of_fastnp(job.loss)
    model, _, optimizer, loader = fastnp_parts(
        *job.network,
        *job.data(batches),
        between=lambda n: [activation()],
        optimizer=OPTIMIZERS[job.optimizer],
        dataset=dataset,
    )
    for tensor, start in zip(model.parameters(), job.start(), strict=True):
        tensor.data[...] = start
    return model, loss(), optimizer, loader


def fitted(model, loss_fn, optimizer, loader, **options):
    """All epochs in one call of `fit`."""
    import fastnp

    return lambda epochs: fastnp.fit(model, loss_fn, optimizer, loader, epochs, progress=False, **options)


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


def trained(way, model, *others):
    """What a contestant returns, of a model by fastnp or by the baseline."""
    return way(model, *others), lambda: [tensor.data.copy() for tensor in model.parameters()]


def fit(job, batches):
    return trained(fitted, *job_parts(job, batches))


def fit_own_data(job, batches):
    return trained(fitted, *job_parts(job, batches, own_data))


def loop(job, batches):
    return trained(written_out, *job_parts(job, batches))


def loop_own_data(job, batches):
    return trained(written_out, *job_parts(job, batches, own_data))
