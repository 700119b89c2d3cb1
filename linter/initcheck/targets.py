"""What kind of thing a TARGET word names, and which models it stands for."""

from __future__ import annotations

import glob
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from initcheck.report import TargetError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

__all__ = ["Target", "find_targets"]

_TORCH_ONLY = "this version reads .onnx files; export the model with torch.onnx.export and name the file"
_UNREADABLE = {
    ".pt2": "a torch.export archive",
    ".safetensors": "a weight file without a graph",
    ".index.json": "a weight index without a graph",
    ".pt": "a PyTorch checkpoint",
    ".pth": "a PyTorch checkpoint",
    ".py": "Python source",
}
_DRIVE = re.compile(r"[A-Za-z]:[\\/]")
_WILDCARD = re.compile(r"[*?\[]")


@dataclass(frozen=True, slots=True)
class Target:
    """One model to check.

    Attributes:
        name: As the user named it, or the path found below what the user named, with forward slashes.
        path: The file.
    """

    name: str
    path: Path


def find_targets(words: Iterable[str]) -> tuple[Target | TargetError, ...]:
    """Expand the words of a command line, in their order; a file named twice is one target.

    A word that names no readable model becomes a ``TargetError``, so that the other words still get their verdict.
    """
    found: list[Target | TargetError] = []
    seen: set[object] = set()
    for word in words:
        for item in _expand(word):
            key = item.path.resolve() if isinstance(item, Target) else item
            if key not in seen:
                seen.add(key)
                found.append(item)
    return tuple(found)


def _expand(word: str) -> Iterator[Target | TargetError]:
    path = Path(word)
    if not word or "\0" in word:
        yield TargetError(repr(word), "missing", "not a file name", "name a .onnx file or a directory")
    elif path.is_dir():
        yield from _below(word, path)
    elif path.exists() or path.is_symlink():
        yield _file(word, path)
    elif _WILDCARD.search(word):
        yield from _matching(word)
    elif ":" in word and not _DRIVE.match(word):
        yield TargetError(word, "unsupported", "import strings are not supported in this version", _TORCH_ONLY)
    else:
        yield TargetError(word, "missing", "no such file or directory", "check the path")


def _file(word: str, path: Path) -> Target | TargetError:
    for suffix, what in _UNREADABLE.items():
        if path.name.lower().endswith(suffix):
            return TargetError(word, "unsupported", f"{what} is not supported in this version", _TORCH_ONLY)
    return Target(path.as_posix(), path)


def _below(word: str, directory: Path) -> Iterator[Target | TargetError]:
    files = _models_below(directory)
    if not files:
        yield TargetError(
            word, "nothing-matched", "no .onnx file in this directory", "name a directory that holds models"
        )
    for path in files:
        yield Target(path.as_posix(), path)


def _matching(pattern: str) -> Iterator[Target | TargetError]:
    matches = [Path(match) for match in sorted(glob.glob(pattern, recursive=True))]  # noqa: PTH207 - takes absolute patterns
    models = [path for match in matches for path in _models_below(match) or [match] if _is_model(path)]
    if not models:
        yield TargetError(pattern, "nothing-matched", "no .onnx file matches this pattern", "check the pattern")
    for path in models:
        yield Target(path.as_posix(), path)


def _models_below(directory: Path) -> list[Path]:
    """Every .onnx file below a directory; what lies in hidden directories belongs to tools (.git, .venv)."""
    found = (path for path in directory.rglob("*") if _is_model(path))
    return sorted(
        path for path in found if not any(part.startswith(".") for part in path.relative_to(directory).parts[:-1])
    )


def _is_model(path: Path) -> bool:
    return path.suffix.lower() == ".onnx" and not path.is_dir()
