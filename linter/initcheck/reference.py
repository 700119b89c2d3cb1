"""Import strings: ``pkg.models:build``, ``path/models.py:Net``, ``models.py:build(depth=50, act="gelu")``."""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from initcheck.errors import ModelLoadError

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["DRIVE", "Reference", "parse_reference"]

DRIVE = re.compile(r"[A-Za-z]:[\\/]")
"""Beginning of a Windows path, whose colon separates nothing."""

_DOTTED = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*")
_EXAMPLE = 'for example models.py:build(depth=50, act="gelu")'


@dataclass(frozen=True, slots=True)
class Reference:
    """A Python object that makes a model, not yet imported.

    Attributes:
        file: Source file as written, empty when a module is named.
        module: Dotted name of a module, empty when a file is named.
        attributes: Names to follow from the module, one or more.
        args: Positional arguments to call it with.
        kwargs: Keyword arguments to call it with.
        called: Whether arguments were written, be it ``()``.
    """

    file: str
    module: str
    attributes: tuple[str, ...]
    args: tuple[Any, ...] = ()
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    called: bool = False

    @property
    def home(self) -> str:
        """The file or module, as written."""
        return self.file or self.module

    @property
    def name(self) -> str:
        """The attributes, dotted."""
        return ".".join(self.attributes)


def parse_reference(word: str) -> Reference | None:
    """Read an import string; None for a word that is none.

    Raises:
        ModelLoadError: If what follows the colon is neither a name nor a call of one with literal arguments.
    """
    drive = DRIVE.match(word)
    start = drive.end() if drive else 0
    colon = word.find(":", start)
    if colon < 0:
        return None
    home, expression = word[:colon], word[colon + 1 :]
    is_file = home.endswith(".py") or "/" in home or "\\" in home
    if not is_file and not _DOTTED.fullmatch(home):
        raise _malformed(
            f"{home!r} before the colon is neither a module nor a .py file", "for example pkg.models:build"
        )
    attributes, args, kwargs, called = _parse_expression(expression)
    return Reference(home if is_file else "", "" if is_file else home, attributes, args, kwargs, called)


def _parse_expression(text: str) -> tuple[tuple[str, ...], tuple[Any, ...], dict[str, Any], bool]:
    try:
        body = ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError, MemoryError, RecursionError):
        raise _malformed(f"{text!r} after the colon is not a name or a call", _EXAMPLE) from None
    call = body if isinstance(body, ast.Call) else None
    names = _names(call.func if call else body)
    if not names:
        raise _malformed(f"{text!r} after the colon is not a name or a call of one", _EXAMPLE)
    if call is None:
        return names, (), {}, False
    args = tuple(_literal(argument) for argument in call.args)
    kwargs: dict[str, Any] = {}
    for keyword in call.keywords:
        if keyword.arg is None:
            raise _malformed("** is not supported in arguments", _EXAMPLE)
        kwargs[keyword.arg] = _literal(keyword.value)
    return names, args, kwargs, True


def _names(node: ast.expr) -> tuple[str, ...]:
    names: list[str] = []
    while isinstance(node, ast.Attribute):
        names.append(node.attr)
        node = node.value
    return (node.id, *reversed(names)) if isinstance(node, ast.Name) else ()


def _literal(node: ast.expr) -> Any:
    try:
        return ast.literal_eval(node)
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        raise _malformed(f"argument {ast.unparse(node)} is not a literal", _EXAMPLE) from None


def _malformed(message: str, hint: str) -> ModelLoadError:
    return ModelLoadError(message, hint, kind="target")
