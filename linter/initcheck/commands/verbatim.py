"""Commands that take the words of the command line as they are."""

from __future__ import annotations

from typing import Any

from typer.core import TyperCommand, TyperGroup

__all__ = ["VerbatimCommand", "VerbatimGroup"]


class _Verbatim:
    """Stands in for Typer's conversion of one parameter.

    Typer converts by pydantic, whose import costs as much time as all of ``--help``, and 14 MB. Every parameter here
    is a string, a list of strings or a flag, and none of them needs it.
    """

    def coerce(self, value: Any, **_: object) -> Any:
        return value


def _take_verbatim(parameters: list[Any]) -> list[Any]:
    for parameter in parameters:
        parameter.get_runtime_param = _Verbatim
    return parameters


class VerbatimCommand(TyperCommand):
    """A command whose parameters keep what was parsed."""

    def get_params(self, ctx: Any) -> list[Any]:
        """All parameters, ``--help`` included."""
        return _take_verbatim(super().get_params(ctx))


class VerbatimGroup(TyperGroup):
    """A group whose parameters keep what was parsed."""

    def get_params(self, ctx: Any) -> list[Any]:
        """All parameters, ``--help`` included."""
        return _take_verbatim(super().get_params(ctx))
