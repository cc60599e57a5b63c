"""What an estimator tells while it trains."""

from typing import Any

from ..training.progress import progress_bar


class Progress:
    """Lines on stdout, as scikit-learn prints them, or a bar on stderr, or nothing, as `verbose` says."""

    def __init__(self, verbose: Any, epochs: int):
        self._has_bar = isinstance(verbose, str)
        self._prints = bool(verbose) and not self._has_bar
        self._bar = progress_bar(epochs, self._has_bar)

    def __enter__(self) -> None:
        self._bar.__enter__()

    def __exit__(self, *exception: Any) -> None:
        self._bar.__exit__(*exception)

    def tell_loss(self, epoch: int, loss: float) -> None:
        """Of an epoch that is done, counted from 1."""
        self.tell(f"Iteration {epoch}, loss = {loss:.8f}")
        if self._has_bar:
            self._bar.set_postfix_str(f"loss {loss:.4g}", refresh=False)
            self._bar.update(1)

    def tell_score(self, score: float) -> None:
        """Of the validation."""
        self.tell(f"Validation score: {score:f}")

    def tell(self, line: str) -> None:
        """A line, where lines are wanted."""
        if self._prints:
            print(line)
