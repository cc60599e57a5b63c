"""What fastnp gives to users."""

import inspect

import fastnp as nn
from fastnp.layers.activation import Activation


def public_classes():
    public = [getattr(nn, name) for name in nn.__all__]
    return [value for value in public if inspect.isclass(value) and not issubclass(value, Exception)]


def activations():
    """The classes of the library's activations."""
    return [cls for cls in public_classes() if issubclass(cls, Activation)]


def losses():
    """The classes of the library's losses."""
    return [cls for cls in public_classes() if issubclass(cls, nn.Loss) and cls is not nn.Loss]


def optimizers():
    """The classes of the library's optimizers."""
    return [cls for cls in public_classes() if issubclass(cls, nn.Optimizer) and cls is not nn.Optimizer]
