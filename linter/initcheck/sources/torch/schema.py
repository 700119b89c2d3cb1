"""What an operator's schema says; the only place that reads it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Argument
    from torch._ops import OpOverload

__all__ = ["arguments_of", "name_of", "overload_of", "writes"]


def name_of(func: OpOverload) -> str:
    """Name with namespace, without overload (``aten::add_``)."""
    name: str = func._schema.name  # noqa: SLF001 - an operator has no public schema
    return name


def overload_of(func: OpOverload) -> str:
    """Name of the overload (``Tensor``), empty for the default one."""
    name: str = func._schema.overload_name  # noqa: SLF001
    return name


def arguments_of(func: OpOverload) -> list[Argument]:
    """Arguments in order."""
    arguments: list[Argument] = func._schema.arguments  # noqa: SLF001
    return arguments


def writes(argument: Argument) -> bool:
    """Whether the operator writes an argument in place."""
    return argument.alias_info is not None and argument.alias_info.is_write
