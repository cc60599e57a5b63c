"""The parameters of an estimator: what each may be."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from numbers import Integral, Real
from typing import Any, NamedTuple

import numpy as np

from ..checks import shown

ACTIVATIONS = (
    "identity", "logistic", "tanh", "relu", "leaky_relu", "elu", "silu", "gelu", "gelu_tanh", "softplus",
)  # fmt: skip


class InvalidParameterError(ValueError, TypeError):
    """A parameter of an estimator is of a wrong type, or has a wrong value."""


class Rule(NamedTuple):
    """What a parameter may be, by a function and in words."""

    allows: Callable[[Any], bool]
    words: str


def _integer(least: int) -> Rule:
    return Rule(lambda value: _is(value, Integral) and value >= least, f"an int in the range [{least}, inf)")


def real(low: float, high: float, closed: str) -> Rule:
    """From low to high, each of which is allowed where a bracket of `closed` is square."""
    above = (lambda value: value >= low) if closed[0] == "[" else (lambda value: value > low)
    below = (lambda value: value <= high) if closed[1] == "]" else (lambda value: value < high)
    words = f"a float in the range {closed[0]}{low}, {high}{closed[1]}"
    return Rule(lambda value: _is(value, Real) and above(value) and below(value), words)


def one_of(*names: str) -> Rule:
    """One of these strings."""
    return Rule(
        lambda value: isinstance(value, str) and value in names, f"a str among {{{', '.join(map(repr, names))}}}"
    )


def either(*rules: Rule) -> Rule:
    """What one of these rules allows."""
    return Rule(lambda value: any(rule.allows(value) for rule in rules), " or ".join(rule.words for rule in rules))


def _is(value: Any, kind: Any) -> bool:
    return isinstance(value, kind) and not isinstance(value, (bool, np.bool_))


FLAG = Rule(lambda value: isinstance(value, (bool, np.bool_)), "an instance of 'bool' or an instance of 'numpy.bool_'")
NONE = Rule(lambda value: value is None, "None")
_CALLABLE = Rule(callable, "a callable")
_ACTIVATION = one_of(*ACTIVATIONS)
_ACTIVATIONS = Rule(
    lambda value: isinstance(value, (tuple, list)) and all(map(_ACTIVATION.allows, value)),
    "a tuple of such, one for each hidden layer",
)
_RANDOM_STATE = Rule(
    lambda value: (
        value is None or isinstance(value, np.random.RandomState) or (_is(value, Integral) and 0 <= value < 2**32)
    ),
    "an int in the range [0, 4294967295], an instance of 'numpy.random.mtrand.RandomState' or None",
)
_SIZES = Rule(
    lambda value: (
        _is(value, Integral) or (isinstance(value, Iterable) and not isinstance(value, (str, bytes, Mapping)))
    ),
    "an array-like or an int in the range [1, inf)",
)
_BELOW_ONE = real(0.0, 1.0, "[)")

RULES = {
    "hidden_layer_sizes": _SIZES,
    "activation": either(_ACTIVATION, _ACTIVATIONS),
    "solver": one_of("lbfgs", "sgd", "adam"),
    "alpha": real(0.0, math.inf, "[)"),
    "batch_size": either(one_of("auto"), _integer(1)),
    "learning_rate": one_of("constant", "invscaling", "adaptive"),
    "learning_rate_init": real(0.0, math.inf, "()"),
    "power_t": real(0.0, math.inf, "[)"),
    "max_iter": _integer(1),
    "shuffle": FLAG,
    "random_state": _RANDOM_STATE,
    "tol": real(0.0, math.inf, "[)"),
    "verbose": either(FLAG, _integer(0), one_of("bar")),
    "warm_start": FLAG,
    "momentum": real(0.0, 1.0, "[]"),
    "nesterovs_momentum": FLAG,
    "early_stopping": FLAG,
    "validation_fraction": _BELOW_ONE,
    "beta_1": _BELOW_ONE,
    "beta_2": _BELOW_ONE,
    "epsilon": real(0.0, math.inf, "()"),
    "n_iter_no_change": either(_integer(1), Rule(lambda value: _is(value, Real) and value == math.inf, "inf")),
    "max_fun": _integer(1),
    "dropout": _BELOW_ONE,
    "scoring": either(NONE, Rule(lambda value: isinstance(value, str), "'loss', the name of a scorer"), _CALLABLE),
    "dtype": Rule(
        lambda value: value is None or (not isinstance(value, bool) and _dtype_name(value) in ("float32", "float64")),
        "None, 'float32' or 'float64'",
    ),
}


def _dtype_name(value: Any) -> str:
    try:
        return str(np.dtype(value))
    except TypeError:
        return ""


def check(owner: str, values: Mapping[str, Any], rules: Mapping[str, Rule]) -> None:
    """Raise InvalidParameterError that names the first parameter which its rule does not allow."""
    for name, rule in rules.items():
        if not rule.allows(values[name]):
            raise InvalidParameterError(
                f"The {name!r} parameter of {owner} must be {rule.words}. Got {shown(values[name])} instead."
            )


def hidden_sizes(owner: str, value: Any) -> list[int]:
    """`hidden_layer_sizes` as a list. Raises InvalidParameterError for other sizes."""
    sizes = [value] if isinstance(value, Integral) else list(value)
    if not all(_is(size, Integral) for size in sizes):
        raise InvalidParameterError(
            f"The 'hidden_layer_sizes' parameter of {owner} must be {_SIZES.words}. Got {shown(value)} instead."
        )
    if any(size <= 0 for size in sizes):
        raise InvalidParameterError(f"hidden_layer_sizes must be > 0, got {sizes}.")
    return [int(size) for size in sizes]


def activations(owner: str, value: str | Sequence[str], layers: int) -> tuple[str, ...]:
    """`activation`, one for each of so many hidden layers. Raises ValueError where they are not as many."""
    if isinstance(value, str):
        return (value,) * layers
    if len(value) != layers:
        raise InvalidParameterError(
            f"The 'activation' parameter of {owner} has {len(value)} activations, but there are {layers} hidden layers "
            "(hidden_layer_sizes); give one for each, or one str for all."
        )
    return tuple(value)
