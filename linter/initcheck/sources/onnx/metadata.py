"""What exporters write into a node's metadata."""

from __future__ import annotations

import ast
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Scope", "rewrites", "scope_of"]

_PREFIX = "pkg.torch.onnx."


@dataclass(frozen=True, slots=True)
class Scope:
    """Where in the module tree torch's exporter found an operation.

    Attributes:
        module: Path of the innermost module, empty for the root.
        classes: Class names from the root to the innermost module.
        target: The operation in torch's words (``aten.linear.default``).
        node: Name of the operation in the traced graph.
    """

    module: str
    classes: tuple[str, ...]
    target: str
    node: str


def scope_of(metadata: Mapping[str, str]) -> Scope | None:
    """The scope of a node exported by torch's dynamo exporter, None for others."""
    names = metadata.get(_PREFIX + "name_scopes")
    if not names:
        return None
    return _scope(names, metadata.get(_PREFIX + "class_hierarchy", "[]"))


def rewrites(metadata: Mapping[str, str]) -> str:
    """Names of the rewrite rules that made this node, empty for none."""
    return metadata.get("pkg.onnxscript.rewriter.rule_name", "")


@lru_cache(maxsize=4096)
def _scope(names: str, classes: str) -> Scope | None:
    scopes, hierarchy = _words(names), _words(classes)
    if not scopes:
        return None
    modules = [name for name in scopes[:-1] if name]
    target = hierarchy[-1] if hierarchy else ""
    return Scope(modules[-1] if modules else "", hierarchy[:-1], target, scopes[-1])


def _words(literal: str) -> tuple[str, ...]:
    try:
        value = ast.literal_eval(literal)
    except (SyntaxError, ValueError):
        return ()
    return tuple(word for word in value if isinstance(word, str)) if isinstance(value, list) else ()
