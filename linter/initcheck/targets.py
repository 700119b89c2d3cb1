"""What kind of thing a TARGET word names, and which models it stands for."""

from __future__ import annotations

import glob
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from initcheck.errors import ModelLoadError
from initcheck.reference import DRIVE, Reference, parse_reference
from initcheck.report import TargetError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

__all__ = ["Target", "find_targets"]

MODEL_SUFFIXES = (".onnx", ".pt2")
_READABLE = " or ".join(MODEL_SUFFIXES)
_WEIGHTS_ONLY = "name the factory of the model, pkg.models:build, or export the model"
_UNREADABLE = {
    ".safetensors": ("a weight file without a graph is not supported in this version", _WEIGHTS_ONLY),
    ".index.json": ("a weight index without a graph is not supported in this version", _WEIGHTS_ONLY),
    ".pt": ("a PyTorch checkpoint has no graph", _WEIGHTS_ONLY),
    ".pth": ("a PyTorch checkpoint has no graph", _WEIGHTS_ONLY),
    ".py": ("a Python file may hold many models", "name the factory or class: models.py:build"),
}
_WILDCARD = re.compile(r"[*?\[]")


@dataclass(frozen=True, slots=True)
class Target:
    """One model to check.

    Attributes:
        name: As the user named it, or the path found below what the user named, with forward slashes.
        path: The file; None for an import string.
        reference: The import string; None for a file.
    """

    name: str
    path: Path | None = None
    reference: Reference | None = None

    @property
    def source(self) -> str:
        """``onnx`` or ``torch``."""
        return "onnx" if self.path is not None and self.path.suffix.lower() != ".pt2" else "torch"


def find_targets(words: Iterable[str], app_dir: str = "") -> tuple[Target | TargetError, ...]:
    """Expand the words of a command line, in their order; a file named twice is one target.

    A word that names no readable model becomes a ``TargetError``, so that the other words still get their verdict.

    Args:
        words: Files, directories, patterns or import strings.
        app_dir: Folder that files of import strings are looked for in, empty for the current one.
    """
    found: list[Target | TargetError] = []
    seen: set[object] = set()
    for word in words:
        for item in _expand(word, Path(app_dir)):
            key = _key(item)
            if key not in seen:
                seen.add(key)
                found.append(item)
    return tuple(found)


def _key(item: Target | TargetError) -> object:
    """What makes two targets the same: the file, whatever its name, or the very words of an import string."""
    if isinstance(item, TargetError):
        return item
    return item.path.resolve() if item.path is not None else item.name


def _expand(word: str, app_dir: Path) -> Iterator[Target | TargetError]:
    path = Path(word)
    if not word or "\0" in word:
        yield TargetError(repr(word), "missing", "not a file name", f"name a {_READABLE} file, or pkg.models:build")
    elif path.is_dir():
        yield from _below(word, path)
    elif path.exists() or path.is_symlink():
        yield _file(word, path)
    elif ":" in DRIVE.sub("", word):
        yield _import_string(word, app_dir)
    elif _WILDCARD.search(word):
        yield from _matching(word)
    else:
        hint = f"write {word}:NAME for a factory of that module" if re.fullmatch(r"[\w.]+", word) else "check the path"
        yield TargetError(word, "missing", "no such file or directory", hint)


def _import_string(word: str, app_dir: Path) -> Target | TargetError:
    try:
        reference = parse_reference(word)
    except ModelLoadError as error:
        return TargetError(word, error.kind, error.message, error.hint)
    if reference is None:
        return TargetError(word, "missing", "no such file or directory", "check the path")
    if reference.file and not (app_dir / reference.file).is_file():
        return TargetError(word, "missing", f"no such file: {reference.file}", "check the path before the colon")
    return Target(word, reference=reference)


def _file(word: str, path: Path) -> Target | TargetError:
    for suffix, (what, hint) in _UNREADABLE.items():
        if path.name.lower().endswith(suffix):
            return TargetError(word, "unsupported", what, hint)
    return Target(path.as_posix(), path)


def _below(word: str, directory: Path) -> Iterator[Target | TargetError]:
    files = _models_below(directory)
    if not files:
        message = f"no {_READABLE} file in this directory"
        yield TargetError(word, "nothing-matched", message, "name a directory that holds models")
    for path in files:
        yield Target(path.as_posix(), path)


def _matching(pattern: str) -> Iterator[Target | TargetError]:
    matches = [Path(match) for match in sorted(glob.glob(pattern, recursive=True))]  # noqa: PTH207 - takes absolute patterns
    models = [path for match in matches for path in _models_below(match) or [match] if _is_model(path)]
    if not models:
        message = f"no {_READABLE} file matches this pattern"
        yield TargetError(pattern, "nothing-matched", message, "check the pattern")
    for path in models:
        yield Target(path.as_posix(), path)


def _models_below(directory: Path) -> list[Path]:
    """Every model file below a directory; what lies in hidden directories belongs to tools (.git, .venv)."""
    found = (path for path in directory.rglob("*") if _is_model(path))
    return sorted(
        path for path in found if not any(part.startswith(".") for part in path.relative_to(directory).parts[:-1])
    )


def _is_model(path: Path) -> bool:
    return path.suffix.lower() in MODEL_SUFFIXES and not path.is_dir()
