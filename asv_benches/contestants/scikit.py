"""scikit-learn, which draws parameters of its own; the loss of its regressor is that of a row, summed over outputs."""

import warnings

from ..jobs import BETAS, EPSILON, LEARNING_RATE, MOMENTUM

SETTINGS = {
    "SGD": {"solver": "sgd", "momentum": MOMENTUM, "nesterovs_momentum": False},
    "Adam": {"solver": "adam", "beta_1": BETAS[0], "beta_2": BETAS[1], "epsilon": EPSILON},
}


def scikit_learn(job, batches):
    from sklearn.neural_network import MLPClassifier, MLPRegressor

    estimator = {"MSE": MLPRegressor, "CrossEntropy": MLPClassifier}[job.loss]
    x, y = job.data(batches)
    if job.network.widths[-1] == 1:
        y = y[:, 0]

    def train(epochs):
        model = estimator(
            hidden_layer_sizes=job.network.widths[1:-1],
            activation=job.activation.lower(),
            alpha=0.0,
            batch_size=job.network.batch,
            learning_rate_init=LEARNING_RATE,
            shuffle=False,
            max_iter=epochs,
            tol=0.0,
            n_iter_no_change=epochs + 1,
            **SETTINGS[job.optimizer],
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it warns that it has not converged
            model.fit(x, y)

    return train, lambda: None
