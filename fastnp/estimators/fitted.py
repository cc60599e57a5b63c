"""An estimator with a network: what it shows of that, what it predicts by it, and its pickles."""

import operator
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted, validate_data

from .callbacks import CallbackSupportMixin
from .gradients import of_outputs
from .judge import outputs_of
from .network import Network


class Fitted(CallbackSupportMixin, BaseEstimator):  # type: ignore[misc]
    """Base class. `coefs_` and `intercepts_` are lists of views of a network, into which others may be put."""

    _network: Network

    def _show(self, network: Network) -> None:
        """Let this be the network, and `coefs_` and `intercepts_` views of it: all at once, whoever looks meanwhile."""
        views = {"coefs_": list(network.coefs), "intercepts_": list(network.intercepts)}
        self.__dict__.update({"_network": network, **views})

    def _ready(self) -> Network:
        """The network, with what a user has put into `coefs_` and `intercepts_`."""
        network = self._network
        while not (_are(self.coefs_, network.coefs) and _are(self.intercepts_, network.intercepts)):
            coefs, intercepts = self.coefs_, self.intercepts_
            if self._network is network:  # else another thread fits
                network.adopt(coefs, intercepts)
                self._show(network)
            network = self._network
        return network

    def _check_fitted(self) -> None:
        check_is_fitted(self, "_network")

    def _outputs(self, X: Any, check_input: bool) -> np.ndarray:
        """What the last layer gives for X, before the output activation."""
        if check_input or not hasattr(self, "_network"):
            self._check_fitted()
            X = validate_data(self, X, accept_sparse=["csr", "csc"], reset=False)
        return outputs_of(self._ready(), X)

    def _gradients(self, X: Any) -> tuple[np.ndarray, np.ndarray]:
        """The outputs, and their gradients (rows, outputs, features) with respect to X."""
        self._check_fitted()
        return of_outputs(self._ready(), validate_data(self, X, accept_sparse=["csr", "csc"], reset=False))

    def __getstate__(self) -> dict[str, Any]:
        state = dict(super().__getstate__())
        if "_network" in state:
            self._ready()
            del state["coefs_"], state["intercepts_"]  # they are in the network
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        if hasattr(self, "_network"):
            self._show(self._network)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags


def _are(given: Any, views: tuple[np.ndarray, ...]) -> bool:
    """Whether these are the very views."""
    return isinstance(given, list) and len(given) == len(views) and all(map(operator.is_, given, views))
