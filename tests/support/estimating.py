"""Data for estimators, and a network in plain NumPy, float64, by the textbook: what they must compute from coefs_."""

import math

import numpy as np

RNG = np.random.default_rng(0)
X = RNG.standard_normal((60, 4))
Y = np.einsum("ij,j->i", X, [1.0, -2.0, 0.5, 0.0]) + np.sin(2 * X[:, 1]) + 0.1 * RNG.standard_normal(60)
Y2 = np.stack([Y, X[:, 0] * X[:, 2] - 3], axis=1)
COUNTS = np.random.default_rng(1).poisson(np.exp(0.5 * X[:, 0]))
LABELS = np.array(["a", "b", "c"])[np.digitize(Y, [-1.0, 0.5])]
BINARY = (Y > 0.3).astype(int)
MANY = np.stack([X[:, 0] > 0, X[:, 1] > 0.5, X[:, 2] + X[:, 3] > 0], axis=1).astype(int)
WEIGHTS = np.random.default_rng(2).uniform(0.2, 3, 60)
X_VAL = np.random.default_rng(3).standard_normal((25, 4))
WEIGHTS_VAL = np.random.default_rng(4).uniform(0.2, 3, 25)


def like(target):
    """Validation targets of the same kind as a target of `X`: those of rows chosen at random."""
    return target[np.random.default_rng(5).integers(0, len(target), len(X_VAL))]


def logistic(z):
    return 0.5 * (1 + np.tanh(z / 2))


def softmax(z):
    e = np.exp(z - z.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


def normal(z):
    """The normal distribution's function and density."""
    return 0.5 * (1 + np.vectorize(math.erf)(z / math.sqrt(2))), np.exp(-(z**2) / 2) / math.sqrt(2 * math.pi)


def gelu_tanh(z):
    c = math.sqrt(2 / math.pi)
    t = np.tanh(c * (z + 0.044715 * z**3))
    return 0.5 * z * (1 + t), 0.5 * (1 + t) + 0.5 * z * (1 - t**2) * c * (1 + 3 * 0.044715 * z**2)


ACTIVATIONS = {  # value and slope at z
    "identity": lambda z: (z, np.ones_like(z)),
    "logistic": lambda z: (logistic(z), logistic(z) * logistic(-z)),
    "tanh": lambda z: (np.tanh(z), 1 - np.tanh(z) ** 2),
    "relu": lambda z: (np.maximum(z, 0), (z > 0).astype(float)),
    "leaky_relu": lambda z: (np.where(z > 0, z, 0.01 * z), np.where(z > 0, 1, 0.01)),
    "elu": lambda z: (np.where(z > 0, z, np.expm1(np.minimum(z, 0))), np.exp(np.minimum(z, 0))),
    "silu": lambda z: (z * logistic(z), logistic(z) * (1 + z * logistic(-z))),
    "gelu": lambda z: (z * normal(z)[0], normal(z)[0] + z * normal(z)[1]),
    "gelu_tanh": gelu_tanh,
    "softplus": lambda z: (np.logaddexp(z, 0), logistic(z)),
}
OUTPUTS = {"identity": lambda z: z, "logistic": logistic, "softmax": softmax, "exp": np.exp}


def y_log_y(y):
    return y * np.log(np.where(y > 0, y, 1))


LOSSES = {  # of a number, and its slope at what goes into the output's activation
    "squared_error": lambda p, y: ((p - y) ** 2 / 2, p - y),
    "absolute_error": lambda p, y: (abs(p - y), np.sign(p - y)),
    "huber": lambda p, y, delta: (
        np.where(abs(p - y) <= delta, (p - y) ** 2 / 2, delta * (abs(p - y) - delta / 2)),
        np.clip(p - y, -delta, delta),
    ),
    "quantile": lambda p, y, q: (np.maximum(q * (y - p), (q - 1) * (y - p)), np.where(p > y, 1 - q, -q)),
    "poisson": lambda p, y: (y_log_y(y) - y * np.log(p) - y + p, p - y),
    "log_loss": lambda p, y: (-y * np.log(p), p - y),
    "binary_log_loss": lambda p, y: (-y * np.log(p) - (1 - y) * np.log(1 - p), p - y),
}
SUMMED = {"poisson", "log_loss", "binary_log_loss"}  # over the outputs, of which others take the mean


class Network:
    """A copy of a fitted estimator's numbers, that goes its way by itself."""

    def __init__(self, estimator, loss=None, *settings):
        self.coefs = [np.array(w, dtype=np.float64) for w in estimator.coefs_]
        self.intercepts = [np.array(b, dtype=np.float64) for b in estimator.intercepts_]
        names, hidden = estimator.activation, len(self.coefs) - 1
        self.hidden = [ACTIVATIONS[name] for name in ([names] * hidden if isinstance(names, str) else names)]
        self.out = OUTPUTS[estimator.out_activation_]
        self.loss, self.settings = loss, settings

    def layers(self, x):
        """What goes into each linear layer, the slopes of the hidden activations, and the output."""
        inputs, slopes = [np.asarray(x, dtype=np.float64)], []
        for w, b, activation in zip(self.coefs, self.intercepts, self.hidden, strict=False):
            value, slope = activation(np.einsum("ij,jk->ik", inputs[-1], w) + b)
            inputs.append(value)
            slopes.append(slope)
        return inputs, slopes, self.out(np.einsum("ij,jk->ik", inputs[-1], self.coefs[-1]) + self.intercepts[-1])

    def __call__(self, x):
        return self.layers(x)[2]

    def data_loss(self, x, y, weight=None):
        """The mean over rows, without the penalty."""
        prediction = self(x)
        terms, _ = LOSSES[self.loss](prediction, y.reshape(prediction.shape), *self.settings)
        rows = terms.sum(axis=1) if self.loss in SUMMED else terms.mean(axis=1)
        return np.average(rows, weights=weight)

    def step(self, x, y, weight=None, alpha=0.0, rate=0.1):
        """Gradient descent by one step over all rows; the loss before it, with the penalty."""
        weight = np.ones(len(x)) if weight is None else weight
        total = weight.sum()
        inputs, slopes, output = self.layers(x)
        squares = sum((w**2).sum() for w in self.coefs)
        loss = self.data_loss(x, y, weight) + alpha * squares / (2 * total)
        d = LOSSES[self.loss](output, y.reshape(output.shape), *self.settings)[1] * weight[:, np.newaxis]
        for i in reversed(range(len(self.coefs))):
            dw = (np.einsum("ni,nj->ij", inputs[i], d) + alpha * self.coefs[i]) / total
            db = d.sum(axis=0) / total
            if i:
                d = np.einsum("nj,ij->ni", d, self.coefs[i]) * slopes[i - 1]
            self.coefs[i] = self.coefs[i] - rate * dw
            self.intercepts[i] = self.intercepts[i] - rate * db
        return loss

    def assert_equals(self, estimator, rtol=1e-10):
        for ours, theirs in zip(
            [*estimator.coefs_, *estimator.intercepts_], [*self.coefs, *self.intercepts], strict=True
        ):
            np.testing.assert_allclose(ours, theirs, rtol=rtol, atol=rtol)


def parameters(estimator):
    """All numbers of a fitted estimator in one array, a copy."""
    return np.concatenate([np.ravel(array) for array in [*estimator.coefs_, *estimator.intercepts_]])


def slopes(function, x, eps=1e-6):
    """d function(x) / dx by central differences, with the features on the last axis."""
    columns = []
    for j in range(x.shape[1]):
        shift = np.zeros(x.shape[1])
        shift[j] = eps
        columns.append((function(x + shift) - function(x - shift)) / (2 * eps))
    return np.stack(columns, axis=-1)
