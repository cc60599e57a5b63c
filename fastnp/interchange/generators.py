"""What is drawn from: the states of random generators."""

from collections.abc import Callable
from typing import Any

import numpy as np

from ..checks import shown
from .container import Container
from .plain import Tensors, noted, read

KINDS = "PCG64", "PCG64DXSM", "MT19937", "Philox", "SFC64"
SHAPES = {
    "key": {"MT19937": 624, "Philox": 2},
    "counter": {"Philox": 4},
    "buffer": {"Philox": 4},
    "state": {"SFC64": 4},
}
ARRAYS = {"MT19937": np.uint32, "Philox": np.uint64, "SFC64": np.uint64}
MOST = {"pos": 624, "buffer_pos": 4, "has_uint32": 1, "uinteger": 2**32 - 1, "has_gauss": 1}


def noted_generator(rng: np.random.Generator, tensors: Tensors, name: str) -> Any:
    """The state of a generator. Raises TypeError for a kind that is not NumPy's own."""
    state = rng.bit_generator.state
    if state.get("bit_generator") not in KINDS:
        raise TypeError(f"save: {name} draws from {shown(rng.bit_generator)}; a file holds {', '.join(KINDS)}")
    return noted(state, tensors, name)


def noted_global(tensors: Tensors) -> Any:
    """The state of NumPy's global generator."""
    return noted(np.random.get_state(legacy=False), tensors, "numpy")


def into_generator(container: Container, note: Any, rng: np.random.Generator) -> Callable[[], None]:
    """What brings a generator to a state that was read. Raises BadFileError for none, or one of another kind."""
    state, bits = read(container, note), rng.bit_generator
    kind = bits.state.get("bit_generator")
    _check(container, state)
    if state["bit_generator"] != kind:
        raise container.fault(f"the loader drew from {state['bit_generator']}, that to fill draws from {kind}")

    def fill() -> None:
        bits.state = state

    return fill


def into_global(container: Container, note: Any) -> Callable[[], None]:
    """The same for NumPy's global generator."""
    state = read(container, note)
    _check(container, state)
    kind = np.random.get_state(legacy=False)["bit_generator"]
    if state["bit_generator"] != kind:
        raise container.fault(f"NumPy's global generator was {state['bit_generator']}, here it is {kind}")
    try:
        np.random.RandomState(getattr(np.random, kind)(0)).set_state(state)
    except (TypeError, ValueError, KeyError, OverflowError) as error:
        raise container.fault(f"the state of NumPy's global generator cannot be read: {error}") from error
    return lambda: np.random.set_state(state)


def _check(container: Container, state: Any) -> None:
    """What NumPy would take for granted, and read beyond its memory by."""
    kind = state.get("bit_generator") if isinstance(state, dict) else None
    try:
        if kind not in KINDS:
            raise TypeError(f"a generator of the kind {shown(kind)}")
        for name, value in _inside(state):
            if isinstance(value, np.ndarray):
                if value.shape != (SHAPES[name][kind],) or value.dtype != ARRAYS[kind]:
                    raise TypeError(f"{name} is {value.dtype} {value.shape}")
            elif name in MOST and (type(value) is not int or not 0 <= value <= MOST[name]):
                raise ValueError(f"{name} is {shown(value)}")
        probe = getattr(np.random, kind)(0)
        probe.state = state
    except (TypeError, ValueError, KeyError, OverflowError, AttributeError) as error:
        raise container.fault(f"the state of a random generator cannot be read: {error}") from error


def _inside(state: dict[Any, Any]) -> list[tuple[Any, Any]]:
    inside: list[tuple[Any, Any]] = []
    for name, value in state.items():
        inside += value.items() if isinstance(value, dict) else [(name, value)]
    return inside
