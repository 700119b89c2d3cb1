"""Layer -> line of the user's source that creates it."""

from __future__ import annotations

import ast
import inspect
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from initcheck.graph import Location

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from torch import nn

    from initcheck.sources.torch.calls import Call

__all__ = ["Locator", "shown_path"]


@dataclass(frozen=True, slots=True)
class ClassSource:
    """A class in the user's code.

    Attributes:
        file: As reports show it.
        line: Where it begins.
        children: Attribute of ``self`` -> line of the first statement that assigns it.
    """

    file: str
    line: int
    children: Mapping[str, int]


class Locator:
    """Finds lines for the layers of one module, each once.

    Args:
        module: The model.
        root: Folder of the user's project; code elsewhere is not the user's.
        factory: Line of the factory, the last resort.
    """

    def __init__(self, module: nn.Module, root: Path, factory: Location | None = None) -> None:
        self._modules = dict(module.named_modules(remove_duplicate=False))
        self._root = root.resolve()
        self._factory = factory
        self._found: dict[str, Location | None] = {}
        self._classes: dict[type, ClassSource | None] = {}

    def locate(self, call: Call, path: str) -> Location | None:
        """Line of a call: that of the forward pass where the user's own code computes, else that which makes the layer.

        Args:
            call: The call.
            path: Path of the layer that it belongs to.
        """
        own = self._modules.get(path)
        if path == call.path and not call.module_type.startswith("torch.nn."):
            for file, line in reversed(call.stack):
                shown = shown_path(file, self._root)
                if shown:
                    return Location(shown, line, "exact")
        return self.layer(path if own is not None else call.path)

    def layer(self, path: str) -> Location | None:
        """Line that makes the layer at a path: the assignment in its parent's class, else that class, else the factory.

        A layer inside a library's module, or inside an anonymous container, has the line of the nearest module around
        it that the user's code makes.
        """
        if path not in self._found:
            self._found[path] = self._search(path)
        return self._found[path]

    def _search(self, path: str) -> Location | None:
        fallback: Location | None = None
        parts = path.split(".") if path else []
        while parts:
            name = parts.pop()
            parent = self._modules.get(".".join(parts))
            if parent is None:
                continue
            source = self._source(type(parent))
            if source is None:
                continue
            exact = self._assignment(type(parent), name)
            if exact is not None:
                return exact
            fallback = fallback or Location(source.file, source.line, "class")
        if fallback is None:
            own = self._modules.get(path)
            source = self._source(type(own)) if own is not None else None
            fallback = Location(source.file, source.line, "class") if source is not None else None
        return fallback or self._factory

    def _assignment(self, kind: type, name: str) -> Location | None:
        """Statement that gives a class's instances a child, base classes included."""
        sources = (source for base in kind.__mro__ if (source := self._source(base)) is not None)
        found = ((source.file, source.children[name]) for source in sources if name in source.children)
        return next((Location(file, line, "exact") for file, line in found), None)

    def _source(self, kind: type) -> ClassSource | None:
        if kind not in self._classes:
            self._classes[kind] = class_source(kind, self._root)
        return self._classes[kind]


def shown_path(file: str, root: Path) -> str:
    """A file as reports show it, empty for one that is not the user's."""
    path = Path(file)
    if not path.is_absolute() or not path.is_relative_to(root) or not path.is_file():
        return ""
    relative = path.relative_to(root)
    return "" if "site-packages" in relative.parts else relative.as_posix()


def class_source(kind: type, root: Path) -> ClassSource | None:
    """Where a class of the user's stands and where it makes its children, None for one of a library."""
    try:
        file = inspect.getsourcefile(kind)
    except TypeError:
        return None
    shown = shown_path(file, root) if file else ""
    node = _class_node(file, kind.__qualname__) if shown and file else None
    if node is None:
        return None
    children: dict[str, int] = {}
    for child, line in _assigned(node):
        children.setdefault(child, line)
    return ClassSource(shown, node.lineno, children)


@lru_cache(maxsize=256)
def _tree(file: str) -> ast.Module | None:
    try:
        return ast.parse(Path(file).read_bytes())
    except (OSError, SyntaxError, ValueError):
        return None


def _class_node(file: str, qualname: str) -> ast.ClassDef | None:
    tree = _tree(file)
    body: list[ast.stmt] = tree.body if tree is not None else []
    found: ast.ClassDef | None = None
    for part in qualname.split("."):
        if part == "<locals>":
            continue
        found = None
        node = next(
            (
                node
                for statement in body
                for node in ast.walk(statement)
                if isinstance(node, (ast.ClassDef, ast.FunctionDef)) and node.name == part
            ),
            None,
        )
        if node is None:
            return None
        body = node.body
        found = node if isinstance(node, ast.ClassDef) else None
    return found


def _assigned(node: ast.ClassDef) -> Iterator[tuple[str, int]]:
    """(child, line) of every statement that makes one: ``self.a = ...``, ``self.add_module("a", ...)``, ``setattr``."""
    for method in node.body:
        if not isinstance(method, ast.FunctionDef):
            continue
        for statement in ast.walk(method):
            if isinstance(statement, (ast.Assign, ast.AnnAssign)):
                targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
                yield from ((name, statement.lineno) for target in targets for name in _attributes(target))
            elif isinstance(statement, ast.Call):
                child = _named_child(statement)
                if child:
                    yield child, statement.lineno


def _attributes(target: ast.expr) -> Iterator[str]:
    if isinstance(target, (ast.Tuple, ast.List)):
        for element in target.elts:
            yield from _attributes(element)
    elif isinstance(target, ast.Attribute) and isinstance(target.value, ast.Name) and target.value.id == "self":
        yield target.attr


def _named_child(call: ast.Call) -> str:
    """Child that ``self.add_module("name", ...)`` or ``setattr(self, "name", ...)`` makes."""
    function = call.func
    if isinstance(function, ast.Attribute) and function.attr in {"add_module", "register_module"} and call.args:
        named = call.args[0]
    elif isinstance(function, ast.Name) and function.id == "setattr" and len(call.args) == 3:
        named = call.args[1]
    else:
        return ""
    return named.value if isinstance(named, ast.Constant) and isinstance(named.value, str) else ""
