"""scikit-learn's callbacks, where it has them (from 1.9 on; experimental there)."""

import copy
from typing import Any

try:
    from sklearn.callback import CallbackSupportMixin, with_callbacks

    HAS_CALLBACKS = True
except ImportError:
    HAS_CALLBACKS = False

    class CallbackSupportMixin:  # type: ignore[no-redef]
        """Nothing to support."""

    def with_callbacks(method: Any) -> Any:
        """The method as it is."""
        return method


class Task:
    """A fit as callbacks follow it, with a task below it for each epoch. Where there are none, nothing is done.

    `data` is X, y and metadata, as scikit-learn hands them on.
    """

    def __init__(self, estimator: Any, epochs: int, data: dict[str, Any]):
        self._of, self._data, self._fit, self._epoch = estimator, data, None, None
        if HAS_CALLBACKS and hasattr(estimator, "_skl_callbacks"):
            self._fit = estimator._init_callback_context(max_subtasks=epochs)
            self._begin(self._fit)

    @property
    def is_followed(self) -> bool:
        """Whether there are callbacks."""
        return self._fit is not None

    def epoch_begins(self) -> None:
        """Tell of it."""
        if self._fit is not None:
            self._epoch = self._fit.subcontext(task_name="epoch")
            self._begin(self._epoch)

    def epoch_ends(self) -> bool:
        """Tell of it; whether a callback wants the training to stop."""
        return self._end(self._epoch)

    def ends(self) -> None:
        """Tell that the fit is done."""
        self._end(self._fit)

    def _begin(self, context: Any) -> None:
        context.call_on_fit_task_begin(estimator=self._of, reconstruction_attributes=self._as_it_is, **self._data)

    def _end(self, context: Any) -> bool:
        if context is None:
            return False
        whole = dict(estimator=self._of, reconstruction_attributes=self._as_it_is, **self._data)
        return bool(context.call_on_fit_task_end(**whole))

    def _as_it_is(self) -> dict[str, Any]:
        """Attributes of an estimator that predicts as this one would now."""
        network = copy.deepcopy(self._of._network)
        return {"_network": network, "coefs_": list(network.coefs), "intercepts_": list(network.intercepts)}
