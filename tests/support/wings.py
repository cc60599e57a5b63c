"""The two wings of the kernels, and what tables can name in them."""

import importlib
import pkgutil
from types import FunctionType

from fastnp.kernels.table import Operation

WINGS = ("compiled", "reference")
MACHINERY = {
    "blocks",
    "calling",
    "embedded",
    "given",
    "jitted",
    "link",
    "mathematics",
    "memory",
    "methods",
    "operands",
    "plans",
    "powers",
    "reduction",
    "run",
    "simd",
    "step",
    "together",
    "validation",
    "walk",
}  # what knows no operation, beside private modules


def is_operation_module(name):
    """Whether a module of a wing, by its name there, has operations, losses or rules."""
    return name not in MACHINERY and not name.startswith("_")


def operation_modules(wing):
    """The modules of a wing that have operations, losses or rules, by name."""
    package = importlib.import_module(f"fastnp.kernels.{wing}")
    names = filter(is_operation_module, (module.name for module in pkgutil.iter_modules(package.__path__)))
    return {name: importlib.import_module(f"{package.__name__}.{name}") for name in names}


def named(module):
    """What a table can name in such a module: operations where it has any, else rules, else functions.

    The functions beside operations and rules are what these are made of.
    """
    public = {name: value for name, value in vars(module).items() if not name.startswith("_")}
    own = {name: value for name, value in public.items() if getattr(value, "__module__", "") == module.__name__}
    rules = [cls for name, cls in own.items() if name == "Rule"]
    return (
        {name for name, value in public.items() if isinstance(value, Operation)}
        or {name for name, value in public.items() if isinstance(value, tuple(rules))}
        or {name for name, value in own.items() if isinstance(value, FunctionType)}
    )
