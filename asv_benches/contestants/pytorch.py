"""PyTorch without a DataLoader: slices of tensors. Its Adam is the fused one."""

import itertools

from ..jobs import BETAS, EPSILON, LEARNING_RATE, MOMENTUM


def torch_eager(job, batches):
    import torch

    activation = {"ReLU": torch.nn.ReLU, "Tanh": torch.nn.Tanh}[job.activation]
    loss_fn = {
        "MSE": lambda pred, target: 0.5 * torch.mean((pred - target) ** 2),
        "CrossEntropy": torch.nn.CrossEntropyLoss(),
    }[job.loss]
    layers = []
    for n_in, n_out in itertools.pairwise(job.network.widths):
        layers += [torch.nn.Linear(n_in, n_out), activation()]
    model = torch.nn.Sequential(*layers[:-1])
    with torch.no_grad():
        for parameter, start in zip(model.parameters(), job.start(), strict=True):
            parameter.copy_(torch.from_numpy(start.T))
    optimizer = {
        "SGD": lambda: torch.optim.SGD(model.parameters(), lr=LEARNING_RATE, momentum=MOMENTUM),
        "Adam": lambda: torch.optim.Adam(model.parameters(), lr=LEARNING_RATE, betas=BETAS, eps=EPSILON, fused=True),
    }[job.optimizer]()
    data, target = map(torch.from_numpy, job.data(batches))
    batch = job.network.batch

    def train(epochs):
        for _ in range(epochs):
            for start in range(0, len(data), batch):
                loss = loss_fn(model(data[start : start + batch]), target[start : start + batch])
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()

    return train, lambda: [parameter.detach().numpy().T.copy() for parameter in model.parameters()]
