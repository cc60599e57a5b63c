"""What is in a file, in lines to be read."""

import math
from pathlib import Path
from typing import Any

from ..layers.layer import Layer
from ..layers.sequential import Sequential
from .architecture import built, parameters_of
from .container import Container, opened
from .plain import read
from .records import into_history

WIDTH = 20  # of the names at the left


def summary(path: Any) -> list[str]:
    """What `fastnp info` prints of a file. Raises as `load` does, but needs no scikit-learn for an estimator."""
    with opened(path) as container:
        notes = container.notes
        estimator = notes.get("estimator")
        model = built(container, (estimator if isinstance(estimator, dict) else notes).get("model"))
        lines = [_line("file", f"{path}, {_size(Path(path).stat().st_size)}, written by fastnp {notes.get('version')}")]
        if isinstance(estimator, dict):
            lines.append(_line("estimator", f"{estimator.get('class')}"))
        return [*lines, *_of_model(model), *_of_training(container)]


def _line(name: str, text: str) -> str:
    return f"{name:{WIDTH}}{text}"


def _size(number: int) -> str:
    for unit in "B", "kB", "MB":
        if number < 1000:
            return f"{number:.3g} {unit}"
        number /= 1000  # type: ignore[assignment]
    return f"{number:.3g} GB"


def _of_model(model: Layer) -> list[str]:
    tensors = [parameter.tensor for parameter in parameters_of(model)]
    count = sum(math.prod(tensor.shape) for tensor in tensors)
    dtypes = ", ".join(sorted({str(tensor.dtype) for tensor in tensors}))
    parts = [type(model).__name__, f"{count:,} parameters", f"in {len(tensors)} tensors", dtypes]
    return [_line("model", ", ".join(filter(None, parts)).replace(", in", " in")), *_layers(model)]


def _layers(model: Layer, at: str = "") -> list[str]:
    """A line for each layer, with the name that its parameters begin with, and how many these are."""
    if not isinstance(model, Sequential):
        count = sum(math.prod(parameter.tensor.shape) for parameter in parameters_of(model))
        return [_line(f"  {at.rstrip('.')}", f"{model!r:44}{f'{count:,}' if count else ''}".rstrip())]
    return [line for i, layer in enumerate(model.graphs) for line in _layers(layer, f"{at}{i}.")]


def _of_training(container: Container) -> list[str]:
    """How the model was trained, as far as the file says so."""
    notes, lines = container.notes, []
    optimizer = notes.get("optimizer")
    if isinstance(optimizer, dict):
        lines.append(_line("optimizer", _optimizer(container, optimizer)))
    if "loss_fn" in notes:
        lines.append(_line("loss function", f"{notes['loss_fn']}"))
    if "history" in notes:
        lines += _of_history(into_history(container, notes["history"], None))
    run = notes.get("run")
    if isinstance(run, dict) and isinstance(run.get("done"), int):
        lines.append(_line("checkpoint", f"a run of fit, {run['done']} epochs on"))
    return lines


def _optimizer(container: Container, notes: dict[str, Any]) -> str:
    rate, settings = notes.get("schedule"), notes.get("settings")
    if isinstance(rate, dict):
        values = rate.get("settings")
        inside = ", ".join(f"{name}={value}" for name, value in values.items()) if isinstance(values, dict) else ""
        shown = f"{rate['class']}({inside})" if rate.get("class") else "a function"
    else:
        shown = f"{read(container, notes.get('learning_rate'))}"
    values = settings if isinstance(settings, dict) else {}
    numbers = [f"{name}={value}" for name, value in values.items() if type(value) in (int, float) and value]
    state = notes.get("state")
    updates = state.get("updates") if isinstance(state, dict) else None
    made = "" if updates is None else f", {updates} updates"
    return f"{notes.get('class')}({', '.join([f'learning_rate={shown}', *numbers])}){made}"


def _of_history(numbers: dict[str, Any]) -> list[str]:
    count = len(numbers["loss"])
    best = numbers["best_epoch"]
    lines = [_line("epochs", f"{count}" if best is None else f"{count}, the best of them {best + 1}")]
    for name in "loss", "validation_loss":
        losses = numbers[name]
        if losses:
            at_best = f", {losses[best]:.6g} in the best epoch" if best is not None and best < len(losses) else ""
            lines.append(_line(name.replace("_", " "), f"{losses[-1]:.6g} at the end{at_best}"))
    return lines
