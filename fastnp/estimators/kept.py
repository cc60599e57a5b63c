"""Estimators in files: parameters, and all that predicting takes, as `fastnp.save` writes them."""

import itertools
from typing import Any

import numpy as np
from sklearn.preprocessing import LabelBinarizer

from ..checks import shown
from ..interchange.architecture import built, described, parameters_of
from ..interchange.container import Container
from ..interchange.files import check_tensors
from ..interchange.plain import Tensors, noted, read
from .network import LAYERS, Network, Plan

FITTED = (  # which come back as they are, where an estimator has them
    "classes_", "n_features_in_", "feature_names_in_", "n_outputs_", "out_activation_", "n_layers_", "n_iter_", "t_",
    "loss_", "best_loss_", "loss_curve_", "validation_scores_", "best_validation_score_", "validation_loss_curve_",
    "_scale", "_no_improvement_count",
)  # fmt: skip
BINARIZER = "classes_", "y_type_", "sparse_input_"


def noted_estimator(estimator: Any, tensors: Tensors) -> dict[str, Any]:
    """An estimator in notes. Raises TypeError for parameters that a file cannot hold, by name."""
    if type(estimator).__module__.rpartition(".")[0] != __package__:
        raise TypeError(
            f"save: {type(estimator).__name__} is a class of yours; a file holds fastnp's own estimators only"
        )
    owner, parameters = type(estimator).__name__, estimator.get_params(deep=False)
    if isinstance(parameters["dtype"], (type, np.dtype)):
        parameters["dtype"] = np.dtype(parameters["dtype"]).name
    notes: dict[str, Any] = {"class": owner, "parameters": {}}
    for name, value in parameters.items():
        notes["parameters"][name] = noted(value, tensors, f"{owner}.{name}")
    if not hasattr(estimator, "_network"):
        return notes
    network = estimator._ready()
    widths, activations, dropout, dtype = network.plan
    sizes, kinds = list(map(int, widths)), list(activations)
    notes["plan"] = {"widths": sizes, "activations": kinds, "dropout": float(dropout), "dtype": dtype.name}
    notes["model"] = described(network.model)
    tensors |= {parameter.name: parameter.as_in_file() for parameter in parameters_of(network.model)}
    notes["fitted"] = {
        name: noted(getattr(estimator, name), tensors, name) for name in FITTED if name in vars(estimator)
    }
    binarizer = getattr(estimator, "_label_binarizer", None)
    if binarizer is not None:
        notes["labels"] = {name: noted(getattr(binarizer, name), tensors, f"labels.{name}") for name in BINARIZER}
    return notes


def read_estimator(container: Container, classes: dict[str, Any]) -> Any:
    """The estimator in a file. Raises BadFileError."""
    notes = container.notes["estimator"]
    cls = classes.get(notes["class"]) if isinstance(notes, dict) and isinstance(notes.get("class"), str) else None
    if cls is None:
        raise container.fault(f"is of {shown(notes)}, which this version of fastnp does not know")
    odd = notes.keys() - {"class", "parameters", "plan", "model", "fitted", "labels"}
    if odd:
        raise container.fault(f"its estimator has {shown(min(odd))}, which this version of fastnp does not know")
    estimator = cls()
    parameters = {name: read(container, note) for name, note in notes["parameters"].items()}
    odd = parameters.keys() ^ estimator.get_params(deep=False).keys()
    if odd:
        raise container.fault(f"its estimator has other parameters than {cls.__name__} here: {', '.join(sorted(odd))}")
    estimator.set_params(**parameters)
    if "model" not in notes:
        check_tensors(container, set())
        return estimator
    model = built(container, notes["model"])
    check_tensors(container, {parameter.name for parameter in parameters_of(model)})
    odd = notes["fitted"].keys() - set(FITTED)
    if odd:
        raise container.fault(f"its estimator has {shown(min(odd))}, which this version of fastnp does not know")
    for name, note in notes["fitted"].items():
        setattr(estimator, name, read(container, note))
    if "labels" in notes:
        binarizer = LabelBinarizer()
        for name in BINARIZER:
            setattr(binarizer, name, read(container, notes["labels"][name]))
        estimator._label_binarizer = binarizer
    estimator._best = None
    estimator._show(_network(container, notes["plan"], model))
    _check(container, estimator)
    return estimator


def _network(container: Container, notes: dict[str, Any], model: Any) -> Network:
    """The network of an estimator, whose model is as its plan says."""
    widths, activations = tuple(notes["widths"]), tuple(notes["activations"])
    if any(type(width) is not int for width in widths) or not set(activations) <= LAYERS.keys():
        raise container.fault(f"the plan of its network cannot be read: {shown(notes)}")
    plan = Plan(widths, activations, float(notes["dropout"]), np.dtype(notes["dtype"]))
    network = Network.__new__(Network)
    network.__setstate__({"plan": plan, "model": model})
    shapes = [linear.weights.shape for linear in network.linears]
    kinds = [type(layer).__name__ for layer in model.graphs]
    if (
        shapes != list(itertools.pairwise(widths))
        or kinds != _kinds_of(plan)
        or str(plan.dtype) != str(network.linears[0].weights.dtype)
    ):
        raise container.fault(f"its network is not built as its plan says: {shown(notes)}")
    return network


def _kinds_of(plan: Plan) -> list[str]:
    """The classes of the layers of a network."""
    kinds = []
    for i in range(len(plan.widths) - 1):
        kinds.append("Linear")
        if i < len(plan.activations):
            make = LAYERS[plan.activations[i]]
            kinds += [] if make is None else [type(make()).__name__]
            kinds += ["Dropout"] if plan.dropout else []
    return kinds


def _check(container: Container, estimator: Any) -> None:
    """Predict for one row, which shows whether what was read goes together."""
    features, widths = estimator.n_features_in_, estimator._network.plan.widths
    if features != widths[0] or estimator.n_outputs_ != widths[-1]:
        raise container.fault(f"its estimator has {shown(features)} features and {shown(estimator.n_outputs_)} outputs")
    estimator.predict(np.zeros((1, features)), check_input=False)
