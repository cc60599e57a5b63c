"""Training of an estimator epoch by epoch, until it gets no better: scikit-learn's rule."""

import contextlib
from typing import Any, NamedTuple

import numpy as np
from sklearn.exceptions import ConvergenceWarning

from ..optimizers.adam import Adam
from ..optimizers.arenas import ArenaOptimizer
from ..optimizers.sgd import SGD
from ..training.interrupts import held_back
from ..warned import warn
from .callbacks import Task
from .epochs import Epochs
from .judge import Judge
from .network import Network
from .objective import Objective
from .progress import Progress
from .rows import Rows

SMALLEST_RATE = 1e-6  # below which 'adaptive' makes a learning rate no smaller


class Job(NamedTuple):
    """What is trained, on what, and how many rows are in a batch."""

    network: Network
    objective: Objective
    rows: Rows
    batch_size: int
    judge: Judge | None


class Pace(NamedTuple):
    """How the learning rate changes; as the optimizer, it stays from one `partial_fit` to the next."""

    kind: str
    start: float
    power: float

    @staticmethod
    def of(estimator: Any) -> "Pace":
        """That which an estimator's parameters describe."""
        kind = estimator.learning_rate if estimator.solver == "sgd" else "constant"
        return Pace(kind, float(estimator.learning_rate_init), estimator.power_t)


def optimizer_of(estimator: Any, network: Network) -> ArenaOptimizer:
    """The optimizer that an estimator's parameters describe."""
    parameters, rate = network.model.parameters(), float(estimator.learning_rate_init)
    if estimator.solver == "adam":
        return Adam(
            parameters, rate, beta1=estimator.beta_1, beta2=estimator.beta_2, epsilon=estimator.epsilon,
            decay_bias=False, epsilon_hat=True,
        )  # fmt: skip
    nesterov = estimator.nesterovs_momentum
    return SGD(estimator.momentum, parameters, rate, nesterov=nesterov, decay_bias=False, rate_in_velocity=True)


class Training:
    """Trains the network of an estimator, whose attributes say how, and how far it is."""

    def __init__(self, estimator: Any, job: Job, incremental: bool, task: Task):
        self._of, self._job, self._once, self._task = estimator, job, incremental, task
        self._watches, self._epochs_at_most, self._shuffles = (  # whatever a callback sets meanwhile
            estimator.early_stopping, estimator.max_iter, estimator.shuffle
        )  # fmt: skip
        self._rows = job.rows.X.shape[0]
        self._progress = Progress(estimator.verbose, estimator.max_iter)

    def run(self) -> None:
        """Train until the end, or Ctrl-C, of which a warning tells."""
        of = self._of
        with self._progress:
            try:
                of.n_iter_ = 0
                self._epochs()
            except KeyboardInterrupt:
                warn("Training interrupted by user.", through=("sklearn",))
        if self._watches and of._best is not None:
            self._job.network.restore(of._best)

    def _epochs(self) -> None:
        of, (network, objective, rows, batch_size, _) = self._of, self._job
        order = np.arange(self._rows)
        with held_back() as held:
            epochs = Epochs(network, objective, of._optimizer, rows, batch_size, held)
            while of.n_iter_ < self._epochs_at_most:
                self._task.epoch_begins()
                orders = []
                for _ in range(self._at_once(epochs.at_once)):
                    order = self._shuffled(order) if self._shuffles else order
                    orders.append(order)
                with held if len(orders) > 1 else contextlib.nullcontext():  # so that all that is done is taken up
                    losses = [np.nan] * len(orders) if self._has_diverged() else epochs.train(orders)
                    if any(map(self._ends, losses)):
                        return
        self._warn()

    def _at_once(self, most: int) -> int:
        """For how many epochs nobody looks at what is trained, and none but the last can be the end."""
        of = self._of
        looks = self._once or self._job.judge is not None or self._task.is_followed
        if looks or of._pace.kind == "invscaling":
            return 1
        to_the_end = of.n_iter_no_change + 1 - of._no_improvement_count  # none, where a warm start follows an end
        return int(max(1, min(most, self._epochs_at_most - of.n_iter_, to_the_end)))

    def _shuffled(self, order: np.ndarray) -> np.ndarray:
        """As `sklearn.utils.shuffle` does it, by the same numbers."""
        indices = np.arange(len(order))
        self._of._random_state.shuffle(indices)
        return order[indices]

    def _has_diverged(self) -> bool:
        """Whether all that can come is NaN."""
        return bool(self._of.n_iter_) and bool(np.isnan(self._of.loss_))

    def _ends(self, loss: float) -> bool:
        """Take up an epoch; whether it is the last."""
        of = self._of
        if np.isnan(loss) and not self._has_diverged():
            self._job.network.fill(np.nan)
        of.n_iter_ += 1
        of.loss_ = loss = np.float64(loss)
        of.t_ += self._rows
        of.loss_curve_.append(loss)
        self._progress.tell_loss(of.n_iter_, loss)
        self._judge()
        if of._pace.kind == "invscaling":
            of._optimizer.learning_rate = of._pace.start / (of.t_ + 1) ** of._pace.power
        stops = self._task.epoch_ends()
        if of._no_improvement_count > of.n_iter_no_change:
            if self._no_longer_improves():
                return True
            of._no_improvement_count = 0
        return self._once or stops

    def _judge(self) -> None:
        """Count the epochs that are no better, by the validation score or by the loss, and remember the best."""
        of, judge = self._of, self._job.judge
        score = np.nan
        if judge is not None:
            score, validation_loss = judge.look()
            of.validation_loss_curve_.append(validation_loss)
        if not self._watches:
            of._no_improvement_count = of._no_improvement_count + 1 if of.loss_ > of.best_loss_ - of.tol else 0
            of.best_loss_ = min(of.best_loss_, of.loss_) if of.loss_ == of.loss_ else of.best_loss_
            return
        of.validation_scores_.append(score)
        self._progress.tell_score(score)
        of._no_improvement_count = of._no_improvement_count + 1 if score < of.best_validation_score_ + of.tol else 0
        if score > of.best_validation_score_:
            of.best_validation_score_ = score
            of._best = self._job.network.copies()

    def _no_longer_improves(self) -> bool:
        """Whether this is the end, or a smaller learning rate may help."""
        of = self._of
        what = "Validation score" if self._watches else "Training loss"
        words = f"{what} did not improve more than tol={of.tol:f} for {of.n_iter_no_change} consecutive epochs."
        if of._pace.kind != "adaptive":
            self._progress.tell(f"{words} Stopping.")
            return True
        rate = of._optimizer.learning_rate
        if rate <= SMALLEST_RATE:
            self._progress.tell(f"{words} Learning rate too small. Stopping.")
            return True
        of._optimizer.learning_rate = rate / 5
        self._progress.tell(f"{words} Setting learning rate to {rate / 5:f}")
        return False

    def _warn(self) -> None:
        warn(
            f"Stochastic Optimizer: Maximum iterations ({self._epochs_at_most}) reached and the optimization hasn't "
            "converged yet.",
            ConvergenceWarning,
            through=("sklearn",),
        )
