"""What a model is: its layers in words, and its parameters under the names that PyTorch gives them."""

import inspect
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

from ..arrays import FLOATS
from ..checks import check_flag, check_integer, check_name, shown
from ..errors import BadFileError
from ..kernels.table import COUNT_BASE
from ..layers.activations import Sigmoid, Softmax, Softplus, Tanh
from ..layers.dropout import Dropout
from ..layers.gates import GELU, SiLU
from ..layers.layer import Layer
from ..layers.linear import Linear
from ..layers.normalization import LayerNorm
from ..layers.rectifiers import ELU, LeakyReLU, ReLU
from ..layers.sequential import Sequential
from ..overrides import count_change
from ..tensor import Tensor
from .container import Container

SETTINGS: dict[type[Layer], tuple[str, ...]] = {  # of each layer, by the names of its arguments, and what it has drawn
    Linear: ("in_features", "out_features", "dtype"),
    LayerNorm: ("features", "epsilon", "dtype"),
    Dropout: ("p", "seed", "count"),
    LeakyReLU: ("negative_slope",),
    ELU: ("alpha",),
    GELU: ("approximate",),
    **dict.fromkeys((ReLU, Sigmoid, SiLU, Softmax, Softplus, Tanh), ()),
}
CLASSES: dict[str, type[Layer]] = {cls.__name__: cls for cls in SETTINGS}
NAMES = {cls: str(inspect.signature(cls).parameters["name"].default) for cls in SETTINGS} | {Sequential: "sequential"}
FIXED = "in_features", "out_features", "features", "dtype"  # which a layer has for life
OF_ALL = {"layer", "name", "training", "decays", "layers"}
MOST = COUNT_BASE**2  # so often a layer may draw


class Parameter(NamedTuple):
    """A tensor of a model, by the name that it has in a file, and whether it lies there transposed."""

    name: str
    tensor: Tensor
    is_matrix: bool

    def as_in_file(self) -> np.ndarray:
        """Its numbers, (out, in) or (features,)."""
        data = self.tensor.data
        return data.T if self.is_matrix else data[0]


def parameters_of(model: Layer, at: str = "") -> Iterator[Parameter]:
    """The parameters of a model that `described` takes, in their order."""
    if isinstance(model, Sequential):
        for i, layer in enumerate(model.graphs):
            yield from parameters_of(layer, f"{at}{i}.")
    elif isinstance(model, (Linear, LayerNorm)):
        yield Parameter(f"{at}weight", model.weights, isinstance(model, Linear))
        yield Parameter(f"{at}bias", model.bias, False)


# --- saving ---


def described(model: Any, at: str = "") -> dict[str, Any]:
    """A model in words. Raises TypeError for a layer that a file cannot hold, and says where it stands."""
    cls, where = type(model), f"the layer at {at.rstrip('.')}" if at else "the model"
    if not isinstance(model, Layer):
        raise TypeError(f"save: {where} must be a Layer, such as a Sequential, or an estimator, got {shown(model)}")
    if cls is not Sequential and cls not in SETTINGS:
        raise TypeError(
            f"save: {where} is of a class of yours, {cls.__name__}; a file holds fastnp's own layers only, for "
            "there is no code in it"
        )
    if model._replaced:
        (name, *_) = sorted(model._replaced)
        raise TypeError(f"save: {where}, {shown(model)}, has a {name!r} of yours, and there is no code in a file")
    notes: dict[str, Any] = {"layer": cls.__name__, **_settings(model)}
    if model.name != NAMES[cls]:
        notes["name"] = model.name
    if not model.training:
        notes["training"] = False
    if isinstance(model, Sequential):
        notes["layers"] = [described(layer, f"{at}{i}.") for i, layer in enumerate(model.graphs)]
    decays = [parameter.tensor.decays for parameter in _own(model)]
    if decays and decays != [isinstance(model, Linear), False]:
        notes["decays"] = decays
    return notes


def _own(layer: Layer) -> list[Parameter]:
    return [] if isinstance(layer, Sequential) else list(parameters_of(layer))


def _settings(layer: Layer) -> dict[str, Any]:
    if isinstance(layer, (Linear, LayerNorm)):
        layer._check_dtypes()
        n_in, n_out = layer._widths() or (0, 0)
        known = {"in_features": n_in, "out_features": n_out, "features": n_in, "dtype": str(layer.weights.dtype)}
    elif isinstance(layer, Dropout):
        noise = layer._drawing()
        known = {"p": noise.share, "seed": noise.seed, "count": noise.count}
    else:
        known = {}
    return {name: known[name] if name in known else getattr(layer, name) for name in SETTINGS.get(type(layer), ())}


# --- loading ---


def built(container: Container, notes: Any, at: str = "") -> Layer:
    """The model that a file describes, with its parameters. Raises BadFileError for one that is not known."""
    where = f"the layer at {at.rstrip('.')}" if at else "the model"
    name = notes.get("layer") if isinstance(notes, dict) else None
    cls = Sequential if name == "Sequential" else CLASSES.get(name) if isinstance(name, str) else None
    if cls is None:
        raise container.fault(f"{where} is {shown(name)}, a layer that this version of fastnp does not know")
    odd = notes.keys() - OF_ALL - set(SETTINGS.get(cls, ()))
    if odd:
        raise container.fault(f"{where}, {name}, has the setting {shown(min(odd))}, which fastnp does not know")
    try:
        layer = _sequential(container, notes, at) if cls is Sequential else _built(container, cls, notes, at)
        layer.name = check_name(str(name), "name", notes.get("name", NAMES[cls]))
        layer.training = check_flag(str(name), "training", notes.get("training", True))
    except BadFileError:
        raise
    except KeyError as error:
        raise container.fault(f"{where}, {name}, lacks the setting {error}") from None
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise container.fault(f"{where}: {error}") from error
    return layer


def _sequential(container: Container, notes: Mapping[str, Any], at: str) -> Sequential:
    layers = notes["layers"]
    if not isinstance(layers, list):
        raise TypeError(f"layers must be a list, got {shown(layers)}")
    return Sequential(*[built(container, layer, f"{at}{i}.") for i, layer in enumerate(layers)])


def _built(container: Container, cls: Any, notes: Mapping[str, Any], at: str) -> Layer:
    given = {name: notes[name] for name in SETTINGS[cls]}
    if cls is Dropout:
        return _dropout(given)
    if "dtype" not in given:
        layer: Layer = cls(**given)
        return layer
    dtype = next((dtype for dtype in FLOATS if str(dtype) == given["dtype"]), None)
    if dtype is None:
        raise TypeError(f"dtype must be 'float32' or 'float64', got {shown(given['dtype'])}")
    widths = [check_integer(cls.__name__, name, given[name], 1) for name in given if name.endswith("features")]
    # Before memory is taken for them.
    container.check(f"{at}weight", tuple(reversed(widths)), dtype)
    container.check(f"{at}bias", (widths[-1],), dtype)
    weights, bias = container.read(f"{at}weight"), container.read(f"{at}bias")
    made: Linear | LayerNorm
    if cls is Linear:
        n_in, n_out = widths
        made = Linear(
            n_in, n_out, weight_attr=lambda _: weights.T, bias_attr=lambda _: bias[np.newaxis], dtype=dtype
        )  # fmt: skip
    else:
        made = LayerNorm(widths[0], epsilon=given["epsilon"], dtype=dtype)
        made.weights._begin(weights[np.newaxis])
        made.bias._begin(bias[np.newaxis])
    _decay(made, notes.get("decays"))
    return made


def _decay(layer: Any, decays: Any) -> None:
    if decays is not None:
        if not isinstance(decays, list) or len(decays) != 2:
            raise TypeError(f"decays must be two flags, got {shown(decays)}")
        layer.weights.decays, layer.bias.decays = decays


def _dropout(given: Mapping[str, Any]) -> Dropout:
    layer = Dropout(given["p"], np.random.Generator(np.random.PCG64(0)))
    noise = layer._drawing()
    for name, most in ("seed", 2**63), ("count", MOST):
        number = check_integer("Dropout", name, given[name], 0)
        if number >= most:
            raise ValueError(f"{name} must be below {most}, got {number}")
        setattr(noise, name, number)
    return layer


# --- filling ---


def check_alike(container: Container, model: Any, new: Layer, at: str = "") -> None:
    """Raise BadFileError where a model is not built as the one that was read."""
    where = f"the layer at {at.rstrip('.')}" if at else "the model"
    mine, theirs = (
        {name: _settings(layer)[name] for name in FIXED if name in _settings(layer)} for layer in (model, new)
    )
    if type(model) is not type(new) or mine != theirs:
        raise container.fault(f"{where} is {new!r}, where the model to fill has {model!r}")
    if isinstance(model, Sequential) and isinstance(new, Sequential):
        if len(model.graphs) != len(new.graphs):
            raise container.fault(f"{where} has {len(new.graphs)} layers, that to fill {len(model.graphs)}")
        for i, (inner, new_inner) in enumerate(zip(model.graphs, new.graphs, strict=True)):
            check_alike(container, inner, new_inner, f"{at}{i}.")


def fill(model: Any, new: Any) -> None:
    """Give a model the settings and parameters of another that is alike."""
    for name in ("name", "training", *(name for name in SETTINGS.get(type(model), ()) if hasattr(type(model), name))):
        setattr(model, name, getattr(new, name))
    if isinstance(model, Dropout):
        noise, drawn = model._drawing(), new._drawing()
        noise.seed, noise.count = drawn.seed, drawn.count
        count_change()
    if isinstance(model, Sequential):
        for pair in zip(model.graphs, new.graphs, strict=True):
            fill(*pair)
    for mine, theirs in zip(_own(model), _own(new), strict=True):
        mine.tensor.data = theirs.tensor.data
        if mine.tensor.decays != theirs.tensor.decays:
            mine.tensor.decays = theirs.tensor.decays
