"""Is a method still the library's own? What a fast path asks before it stands in for slower methods.

A fast path does in one call what several public methods do one by one. It holds only where those methods
are the library's: a subclass may redefine them, and so may an object, by assignment. Classes are looked at
when a path is decided upon. Objects tell: replacing a method on one raises `changes`, as do changes of a `TrackedList`,
and what was decided before is looked at anew. Special methods count on classes alone, as everywhere in Python.
"""

import functools
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, TypeGuard, TypeVar

from .listeners import tell

changes = 0  # so far: methods replaced on objects, layers and parameters listed or unlisted, tensors that moved

T = TypeVar("T")
Checks = Mapping[str, Callable[[str, str, Any], Any]]

METHOD = object()  # the rule for names that are methods

# What a subclass may define without changing what its methods compute.
_HARMLESS = {
    "__annotations__", "__annotate__", "__annotate_func__", "__annotations_cache__", "__conditional_annotations__",
    "__dataclass_fields__", "__dataclass_params__", "__dict__", "__doc__", "__eq__", "__firstlineno__", "__hash__",
    "__init__", "__match_args__", "__module__", "__orig_bases__", "__parameters__", "__qualname__", "__repr__",
    "__slots__", "__static_attributes__", "__str__", "__weakref__", "_rules", "_assign",
}  # fmt: skip


class Watched:
    """An object whose attributes are checked when they are assigned, and whose methods may be replaced.

    A class states in `_checks` what it checks: for the name of an attribute, a function called with (class
    name, attribute name, value), which returns the value to keep or raises TypeError or ValueError. A
    subclass that defines such a name itself, as a property say, is not checked there.
    """

    _checks: ClassVar[Checks] = {}
    _counted: ClassVar[frozenset[str]] = frozenset()  # those whose assignment is a change that others follow
    _rules: ClassVar[dict[str, Any]] = {"__class__": METHOD}
    _replaced: frozenset[str] = frozenset()  # the methods that were replaced on this object
    _assign: Any = object.__setattr__

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        rules: dict[str, Any] = {}
        for ancestor in reversed(cls.__mro__):
            for name, value in vars(ancestor).items():
                rules.pop(name, None)
                if callable(value) and (not name.startswith("_") or name == "__getitems__"):
                    rules[name] = METHOD
            rules |= vars(ancestor).get("_checks", {})
        cls._rules = rules | {"__class__": METHOD}
        # What super().__setattr__ would find, for a third of its time.
        behind = cls.__mro__[cls.__mro__.index(Watched) + 1 :]
        cls._assign = next(vars(ancestor)["__setattr__"] for ancestor in behind if "__setattr__" in vars(ancestor))

    def __setattr__(self, name: str, value: Any) -> None:
        rule = self._rules.get(name)
        if rule is None:
            self._assign(name, value)
        elif rule is METHOD:
            self._replace(name, value)
        else:
            checked = rule(type(self).__name__, name, value)
            if type(checked) is TrackedList:
                self._assign_list(name, checked)
            elif name in self._counted:
                count_change()
                self._assign(name, checked)
                count_change()
            else:
                self._assign(name, checked)

    def _replace(self, name: str, method: Any) -> None:
        if name == "__class__":  # which is looked at whenever changes are followed
            count_change()
            self._assign(name, method)
            count_change()
            return
        own = getattr(type(self), name, None)
        if getattr(method, "__self__", None) is self and getattr(method, "__func__", None) is own:
            if name in self._replaced:  # its own method is put back
                delattr(self, name)
            return
        put(self, _replaced=self._replaced | {name})
        count_change()
        self._assign(name, method)
        count_change()

    def _assign_list(self, name: str, listed: "TrackedList") -> None:
        listed.followed = getattr(getattr(self, name, None), "followed", False)
        if listed.followed:
            count_change()
        self._assign(name, listed)
        if listed.followed:
            count_change()
        self._list_assigned()

    def _list_assigned(self) -> None:
        """What else there is to do when a `TrackedList` has been assigned."""

    def __delattr__(self, name: str) -> None:
        followed = name in self._replaced or name in self._counted
        if followed:
            count_change()
        super().__delattr__(name)
        if followed:
            put(self, _replaced=self._replaced - {name})
            count_change()


_set = object.__setattr__


def put(watched: Any, /, **attributes: Any) -> None:
    """Set attributes past all rules.

    Where attributes are read often, nothing may ask for `__dict__` or vars(): Python 3.11 then gives the object
    a dictionary, and each access takes five times as long.
    """
    for name in attributes:
        _set(watched, name, attributes[name])


def count_change() -> None:
    """Let everything that was decided so far be decided anew."""
    global changes
    changes += 1
    tell()


def _counted(method: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(method)
    def counted(*arguments: Any, **options: Any) -> Any:
        # Before, for Ctrl-C may come right after; and after, for another thread may have looked meanwhile.
        if arguments[0].followed:
            count_change()
        try:
            return method(*arguments, **options)
        finally:
            if arguments[0].followed:
                count_change()

    return counted


class TrackedList(list[Any]):
    """A list whose changes are counted once it is `followed`: who decided on what is in it asks for the count."""

    followed = False


for _name in (
    "append", "clear", "extend", "insert", "pop", "remove", "reverse", "sort",
    "__delitem__", "__iadd__", "__imul__", "__setitem__",
):  # fmt: skip
    setattr(TrackedList, _name, _counted(getattr(list, _name)))


def seen(listed: Any, as_of: int) -> int:
    """What to compare `changes` with, having looked at a list; never equal where nobody counts the list's changes."""
    if not isinstance(listed, TrackedList):
        return -1
    listed.followed = True
    return as_of


def is_own(value: Watched, base: type, *methods: str) -> bool:
    """Whether these methods of an object are those of `base`."""
    return all(getattr(type(value), name) is getattr(base, name) and name not in value._replaced for name in methods)


def is_plain(value: Any, base: type[T]) -> TypeGuard[T]:
    """Whether an object does all that it does as an object of `base` would.

    A subclass that only adds names, or has an `__init__` of its own, is plain.
    """
    cls = type(value)
    if cls is not base and not (isinstance(value, base) and _only_adds(cls, base)):
        return False
    replaced = getattr(value, "_replaced", ())
    if not replaced:
        return True
    rules: dict[str, Any] = getattr(base, "_rules", {})
    return not any(rules.get(name) is METHOD for name in replaced)


def _only_adds(cls: type, base: type) -> bool:
    """Whether the classes that `cls` has besides those of `base` redefine nothing of it."""
    names = (set(dir(base)) | getattr(base, "_rules", {}).keys()) - _HARMLESS
    return not any(names & vars(ancestor).keys() for ancestor in cls.__mro__ if ancestor not in base.__mro__)


def stands_apart(value: Any, base: type, method: str, *others: str) -> bool:
    """Whether what a method of `base` stands for is redefined, for an object, by somebody who left the method alone.

    A class that defines both means them to agree.
    """
    cls = type(value)
    if not value._replaced and all(getattr(cls, name) is getattr(base, name) for name in others):
        return False
    mine = definer(cls, method)
    for name in others:
        if definer(cls, name) not in (definer(base, name), mine):
            return True
    return method not in value._replaced and any(name in value._replaced for name in others)


def definer(cls: type, name: str) -> type | None:
    """The class that defines what `cls` has under a name."""
    return next((ancestor for ancestor in cls.__mro__ if name in vars(ancestor)), None)


def is_newer(cls: type, name: str, than: str) -> bool:
    """Whether `cls` defines a name in a class more derived than the one that defines another."""
    mine, other = definer(cls, name), definer(cls, than)
    return mine is not None and other is not None and cls.__mro__.index(mine) < cls.__mro__.index(other)
