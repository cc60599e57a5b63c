"""The progress bar of a training."""

import sys
from typing import Any

from tqdm import tqdm


def progress_bar(epochs: int, wanted: bool, done: int = 0) -> Any:
    """A bar over epochs, some of them done, on stderr or in the notebook that runs this; silent without a terminal."""
    if not wanted or sys.stderr is None:
        return tqdm(total=epochs, disable=True)
    options: dict[str, Any] = {"total": epochs, "unit": " epochs"} | ({"initial": done} if done else {})
    if not _in_notebook():
        return tqdm(disable=None, **options)  # None: silent where there is no terminal
    from tqdm import notebook

    if notebook.IProgress is None:  # without ipywidgets a bar of characters does as well
        return tqdm(**options)
    return notebook.tqdm(**options)


def _in_notebook() -> bool:
    """Whether a Jupyter kernel runs this; its stderr is no terminal, and shows what is written to it."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None and hasattr(ipython, "get_ipython") else None
    return hasattr(shell, "kernel")
