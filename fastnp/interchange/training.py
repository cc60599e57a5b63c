"""What trains a model, in notes: an optimizer with its settings, and how far a run is."""

import weakref
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from .. import schedules
from ..checks import check_rate, shown
from ..optimizers.snapshot import Snapshot, snapshot
from ..overrides import METHOD
from ..schedules.schedule import Schedule
from .container import Container
from .plain import Tensors, is_plain, noted, read
from .snapshots import Named, named_tensors, noted_snapshot, read_snapshot, restored

SCHEDULES: dict[str, Any] = {name: getattr(schedules, name) for name in schedules.__all__ if name != "Schedule"}
NOT_SETTINGS = "parameters", "updates"


def _settings(optimizer: Any) -> list[str]:
    rules = getattr(optimizer, "_rules", {})
    return [name for name, rule in rules.items() if rule is not METHOD and name not in NOT_SETTINGS]


# --- optimizers ---


def noted_optimizer(model: Any, optimizer: Any, tensors: Tensors) -> dict[str, Any]:
    """An optimizer's settings, what it keeps, and which parameters of the model it holds."""
    named = named_tensors(model, optimizer)
    names = {id(tensor): name for name, tensor in named.items()}
    settings = {name: getattr(optimizer, name) for name in _settings(optimizer)}
    of_model = frozenset(name for name in named if not name.startswith("other."))
    state = noted_snapshot(snapshot(model, optimizer, copies=False), optimizer, named, tensors, "optimizer", of_model)
    notes = {
        "class": type(optimizer).__name__,
        "settings": {name: noted(value, tensors, name) for name, value in settings.items() if is_plain(value)},
        "parameters": [names[id(tensor)] for tensor in optimizer.parameters],
        "state": state,
    }
    schedule = getattr(optimizer, "schedule", None)
    if isinstance(schedule, Schedule) and type(schedule) in SCHEDULES.values():
        notes["schedule"] = {"class": type(schedule).__name__, "settings": schedule._settings()}
    elif schedule is not None:
        notes["schedule"] = {"class": None}
    elif is_plain(rate := getattr(optimizer, "learning_rate", None)) and isinstance(rate, (int, float)):
        notes["learning_rate"] = noted(float(rate), tensors, "learning_rate")
    return notes


def into_optimizer(container: Container, notes: Any, model: Any, optimizer: Any) -> Callable[[], None]:
    """What brings an optimizer, of parameters of this model, to where the one that was saved stood."""
    expected = {"class": str, "settings": dict, "parameters": list, "state": dict}
    if not isinstance(notes, dict) or not all(isinstance(notes.get(name), kind) for name, kind in expected.items()):
        raise container.fault(f"its notes on the optimizer cannot be read: {shown(notes)}")
    owner = type(optimizer).__name__
    if notes["class"] != owner:
        raise container.fault(f"the optimizer was {shown(notes['class'])}, that to fill is {owner}")
    named = named_tensors(model, optimizer)
    names = {id(tensor): name for name, tensor in named.items()}
    if notes["parameters"] != [names[id(tensor)] for tensor in optimizer.parameters]:
        raise container.fault("the optimizer held other parameters of the model than that to fill, or in another order")
    state, settings = read_snapshot(container, notes["state"], optimizer, named), {}
    for name, note in notes["settings"].items():
        if name not in _settings(optimizer):
            raise container.fault(f"the optimizer has the setting {shown(name)}, which {owner} has not")
        settings[name] = _checked(container, type(optimizer)._rules[name], owner, name, read(container, note))
    rate = _rate(container, notes, optimizer)

    def fill() -> None:
        restored(state, model, optimizer)
        for name, value in settings.items():
            setattr(optimizer, name, value)
        if rate is not None:
            optimizer.learning_rate = rate

    return fill


def _checked(container: Container, check: Any, owner: str, name: str, value: Any) -> Any:
    try:
        return check(owner, name, value)
    except (TypeError, ValueError) as error:
        raise container.fault(str(error)) from error


def _rate(container: Container, notes: dict[str, Any], optimizer: Any) -> Any:
    """The learning rate to set, a number or a schedule, or None where that of the optimizer stands."""
    owner, schedule = type(optimizer).__name__, notes.get("schedule")
    if schedule is None:
        if "learning_rate" not in notes:
            return None
        return _checked(container, check_rate, owner, "learning_rate", read(container, notes["learning_rate"]))
    name = schedule.get("class") if isinstance(schedule, dict) else shown(schedule)
    if name is None:
        mine = getattr(optimizer, "schedule", None)
        if mine is None or isinstance(mine, Schedule):
            raise container.fault(
                f"its learning rates were those of a function of yours; give the {owner} that function"
            )
        return None
    if name not in SCHEDULES or not isinstance(schedule.get("settings"), dict):
        raise container.fault(f"the learning rate followed {shown(name)}, a schedule that fastnp does not know")
    try:
        return SCHEDULES[name](**schedule["settings"])
    except (TypeError, ValueError) as error:
        raise container.fault(str(error)) from error


# --- runs ---


@dataclass
class Progress:
    """How far a run of `fit` is, and what is remembered of it besides what model, optimizer and loader are.

    `stopped` says whether a callback ended it. `best` is the best value of what is monitored, after which it `waits`
    so many epochs; it was that of epoch `best_epoch` of the run, with the loss `best_loss`, which `left` this.
    """

    done: int = 0
    stopped: bool = False
    monitor: str | None = None
    best: float = float("inf")
    waits: int = 0
    best_epoch: int | None = None
    best_loss: float = float("nan")
    left: Snapshot | None = None
    restored: bool = False  # whether the parameters are those of the best epoch
    history: dict[str, Any] | None = None


running: dict[int, Callable[[], Progress]] = {}  # by the id of the optimizer, for as long as a run lasts
_loaded: dict[int, tuple[Any, Progress]] = {}  # what was loaded for the next run of an optimizer, by its id


def noted_progress(model: Any, optimizer: Any, progress: Progress, tensors: Tensors) -> dict[str, Any]:
    """How far a run is, in notes."""
    notes = {name: noted(getattr(progress, name), tensors, name) for name in _NUMBERS}
    if progress.left is not None:
        named = named_tensors(model, optimizer)
        notes["left"] = noted_snapshot(progress.left, optimizer, named, tensors, "best")
    return notes


def read_progress(container: Container, notes: Any, model: Any, optimizer: Any) -> Progress:
    """How far a run was. Raises BadFileError where the file does not say so."""
    if not isinstance(notes, dict) or notes.keys() - {"left"} != _NUMBERS.keys():
        raise container.fault(f"its notes on the run cannot be read: {shown(notes)}")
    progress = Progress(**{name: read(container, notes[name]) for name in _NUMBERS})
    for name, kinds in _NUMBERS.items():
        value = getattr(progress, name)
        if type(value) not in kinds or (type(value) is int and value < 0):
            raise container.fault(f"its notes on the run cannot be read: {name} is {shown(value)}")
    if "left" in notes:
        named: Named = named_tensors(model, optimizer)
        progress.left = read_snapshot(container, notes["left"], optimizer, named)
    return progress


_NONE = type(None)
_NUMBERS = {
    "done": (int,), "stopped": (bool,), "restored": (bool,), "monitor": (str, _NONE), "best": (float,), "waits": (int,),
    "best_epoch": (int, _NONE), "best_loss": (float,),
}  # fmt: skip


def give(optimizer: Any, progress: Progress | None) -> None:
    """Let the next run of an optimizer go on from there; from nowhere for None."""
    key = id(optimizer)
    _loaded.pop(key, None)
    if progress is not None:
        _loaded[key] = weakref.ref(optimizer, lambda _: _loaded.pop(key, None)), progress


def take(optimizer: Any) -> Progress | None:
    """What was given to an optimizer; its next run but one begins anew."""
    reference, progress = _loaded.pop(id(optimizer), (lambda: None, None))
    return progress if reference() is optimizer else None
