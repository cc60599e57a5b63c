"""The plain NumPy implementation that speed-ups are measured against, as a textbook writes it.

The same classes and the same loop as fastnp's, in straightforward NumPy: separate `np.dot`s, collation
by `np.stack`, one update for each parameter, double precision as NumPy draws it. The arithmetic is
fastnp's: a velocity that is kept, and the gradient of the mean.
"""

import numpy as np


class Tensor:
    def __init__(self, shape):
        self.data = np.zeros(shape)
        self.grad = np.zeros(shape)

    def clear_grad(self):
        self.grad = np.zeros_like(self.grad)


class Linear:
    def __init__(self, in_features, out_features):
        self.weights = Tensor((in_features, out_features))
        self.bias = Tensor((1, out_features))
        self.weights.data = np.random.normal(0.0, 0.01, size=self.weights.data.shape)

    def forward(self, x):
        self.input = x
        return np.dot(x, self.weights.data) + self.bias.data

    def backward(self, gradient):
        self.weights.grad += np.dot(self.input.T, gradient)
        self.bias.grad += np.sum(gradient, axis=0, keepdims=True)
        return np.dot(gradient, self.weights.data.T)

    def parameters(self):
        return [self.weights, self.bias]


class ReLU:
    def forward(self, x):
        self.activated = np.maximum(x, 0)
        return self.activated

    def backward(self, gradient):
        return gradient * (self.activated > 0)

    def parameters(self):
        return []


class Tanh:
    def forward(self, x):
        self.activated = np.tanh(x)
        return self.activated

    def backward(self, gradient):
        return gradient * (1 - self.activated**2)

    def parameters(self):
        return []


class Sequential:
    def __init__(self, *layers):
        self.graphs = list(layers)

    def __call__(self, x):
        for layer in self.graphs:
            x = layer.forward(x)
        return x

    def backward(self, gradient):
        for layer in reversed(self.graphs):
            gradient = layer.backward(gradient)
        return gradient

    def parameters(self):
        return [tensor for layer in self.graphs for tensor in layer.parameters()]


class Optimizer:
    def __init__(self, parameters, learning_rate):
        self.parameters = parameters
        self.learning_rate = learning_rate

    def clear_grad(self):
        for p in self.parameters:
            p.clear_grad()


class SGD(Optimizer):
    def __init__(self, parameters, learning_rate, momentum=0.9):
        super().__init__(parameters, learning_rate)
        self.momentum = momentum
        self.velocity = [np.zeros_like(p.data) for p in parameters]

    def step(self):
        for i, p in enumerate(self.parameters):
            self.velocity[i] = self.momentum * self.velocity[i] + p.grad
            p.data = p.data - self.learning_rate * self.velocity[i]


class Adam(Optimizer):
    def __init__(self, parameters, learning_rate, beta1=0.9, beta2=0.999, epsilon=1e-8):
        super().__init__(parameters, learning_rate)
        self.beta1, self.beta2, self.epsilon = beta1, beta2, epsilon
        self.updates = 0
        self.first_moment = [np.zeros_like(p.data) for p in parameters]
        self.second_moment = [np.zeros_like(p.data) for p in parameters]

    def step(self):
        self.updates += 1
        for i, p in enumerate(self.parameters):
            self.first_moment[i] = self.beta1 * self.first_moment[i] + (1 - self.beta1) * p.grad
            self.second_moment[i] = self.beta2 * self.second_moment[i] + (1 - self.beta2) * p.grad**2
            first = self.first_moment[i] / (1 - self.beta1**self.updates)
            second = self.second_moment[i] / (1 - self.beta2**self.updates)
            p.data = p.data - self.learning_rate * first / (np.sqrt(second) + self.epsilon)


class MSE:
    def __call__(self, pred, target):
        self.pred, self.target = pred, target
        return np.mean(0.5 * (pred - target) ** 2)

    def backward(self):
        return (self.pred - self.target) / self.pred.size


class CrossEntropy:
    """Of logits and labels."""

    def __call__(self, pred, target):
        exponentials = np.exp(pred - np.max(pred, axis=1, keepdims=True))
        self.softmax = exponentials / np.sum(exponentials, axis=1, keepdims=True)
        self.one_hot = np.eye(pred.shape[1])[target]
        return -np.mean(np.log(np.sum(self.softmax * self.one_hot, axis=1)))

    def backward(self):
        return (self.softmax - self.one_hot) / len(self.one_hot)


class DataLoader:
    """In the order of the data; full batches only."""

    def __init__(self, dataset, batch_size):
        self.dataset = dataset
        self.batch_size = batch_size

    def __len__(self):
        return len(self.dataset) // self.batch_size

    def __iter__(self):
        for batch in range(len(self)):
            data, labels = [], []
            for i in range(batch * self.batch_size, (batch + 1) * self.batch_size):
                x, y = self.dataset[i]
                data.append(x)
                labels.append(y)
            yield np.stack(data, axis=0), np.stack(labels, axis=0)
