"""What the public classes declare to the kernels: their activations and losses, by the names of parts."""

import inspect
from functools import partial

import fastnp
from fastnp.layers.activation import Activation
from fastnp.losses.built_in import BuiltInLoss


def classes(attribute, base=object):
    """The public classes that declare an attribute of their own, such as their kind."""
    public = (getattr(fastnp, name) for name in fastnp.__all__)
    return [cls for cls in public if inspect.isclass(cls) and issubclass(cls, base) and attribute in vars(cls)]


VARIANTS = {"gelu_tanh": {"approximate": True}}  # by which settings a class stands for them
ACTIVATIONS = {
    name.split(".")[1]: partial(cls, **VARIANTS[name.split(".")[1]]) if name != cls._kernel_kind.name else cls
    for cls in classes("_kernel_kind", Activation)
    for name in (cls._kernel_kind.name, *cls._kernel_kind.variants)
}
LOSSES = {  # the class and the part of each, and of each variant of it, for other targets
    part.removeprefix("losses.").replace(".", "_"): (cls, part)
    for cls in classes("_kernel_kind", BuiltInLoss)
    for part in (cls._kernel_kind.name, *cls._kernel_kind.variants)
}


def activation(name, setting):
    """The layer of an activation, with that setting where it has one."""
    layer = ACTIVATIONS[name]()
    for attribute in layer._kernel_settings():
        setattr(layer, attribute, setting)
    return layer
