"""What fastnp gives to users."""

import inspect

import fastnp as nn


def public_classes():
    public = [getattr(nn, name) for name in nn.__all__]
    return [value for value in public if inspect.isclass(value) and not issubclass(value, Exception)]
