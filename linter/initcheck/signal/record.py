"""Immutable records that are copied often: a fast ``replace``, and properties that are worked out once.

A fold copies the twenty fields of a signal several times per node to change one of them. ``dataclasses.replace`` passes
all of them through ``__init__``; here the instance's dictionary is copied instead, and with it every derived property
whose causes did not change.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import fields
from functools import cache
from typing import TYPE_CHECKING, Any, Generic, Self, TypeVar, overload

if TYPE_CHECKING:
    from collections.abc import Callable
    from dataclasses import replace

__all__ = ["Derived", "derived", "replace"]

T = TypeVar("T")

_DERIVED: defaultdict[type, defaultdict[frozenset[str], list[str]]] = defaultdict(lambda: defaultdict(list))
"""Class -> causes -> properties that follow from them."""


class Derived(Generic[T]):
    """A property that is worked out when first asked for, and kept by copies that leave its causes as they are.

    Args:
        function: Works it out.
        causes: All fields that it depends on.
    """

    def __init__(self, function: Callable[[Any], T], causes: frozenset[str]) -> None:
        self.function = function
        self.causes = causes
        self.__doc__ = function.__doc__

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name
        _DERIVED[owner][self.causes].append(name)

    @overload
    def __get__(self, instance: None, owner: type) -> Self: ...

    @overload
    def __get__(self, instance: object, owner: type) -> T: ...

    def __get__(self, instance: object | None, owner: type) -> Self | T:
        if instance is None:
            return self
        # The instance's dictionary goes before a descriptor without ``__set__``: the next look-up ends there.
        value = instance.__dict__[self.name] = self.function(instance)
        return value


def derived(*causes: str) -> Callable[[Callable[[Any], T]], Derived[T]]:
    """Marks a method without arguments as a derived property.

    Args:
        causes: Names of all fields that it depends on.
    """
    return lambda function: Derived(function, frozenset(causes))


if not TYPE_CHECKING:
    # Type checkers know the original, which takes the same arguments, and check their names and types.
    def replace(record: T, /, **changes: Any) -> T:
        """A copy with other values of some fields.

        Args:
            record: A dataclass without slots and without ``__post_init__``.
            changes: Fields by name.

        Raises:
            TypeError: There is no such field.
        """
        kind = type(record)
        copy = object.__new__(kind)
        state = copy.__dict__
        state.update(record.__dict__)
        for name in _outdated(kind, *changes):
            state.pop(name, None)
        state.update(changes)
        return copy


@cache
def _outdated(kind: type, *changed: str) -> tuple[str, ...]:
    """Derived properties of a class that do not survive a change of some fields."""
    known = {field.name for field in fields(kind)}
    unknown = [name for name in changed if name not in known]
    if unknown:
        raise TypeError(f"{kind.__name__} has no field {', '.join(unknown)}")
    return tuple(name for causes, names in _DERIVED[kind].items() if not causes.isdisjoint(changed) for name in names)
