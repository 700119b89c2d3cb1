"""Whose line raised: the innermost frame of the user's own code."""

from __future__ import annotations

import sysconfig
import traceback
from pathlib import Path
from typing import TYPE_CHECKING

from initcheck.sources.torch.locate import shown_path

if TYPE_CHECKING:
    from types import FrameType

__all__ = ["frame_line", "one_sentence", "place_of", "project_root"]

_OWN = Path(__file__).resolve().parents[2]
_STANDARD = tuple(Path(sysconfig.get_path(name)).resolve() for name in ("stdlib", "platstdlib"))
_MARKS = (".git", "pyproject.toml", "setup.py")


def project_root(file: Path | None, app_dir: Path) -> Path:
    """Folder below which code is the user's own.

    The folder of the run where the model's file lies below it, so that lines are shown as the user would type them;
    else the project that the file belongs to.
    """
    if file is None or file.is_relative_to(app_dir) or "site-packages" in file.parts:
        return app_dir
    marked = (folder for folder in file.parents if any((folder / mark).exists() for mark in _MARKS))
    return next(marked, file.parent)


def one_sentence(error: BaseException, root: Path) -> str:
    """Exception and place in one line: ``ValueError: depth must be positive (models.py:12)``."""
    kind = type(error).__name__
    text = str(error.msg) if isinstance(error, SyntaxError) else " ".join(str(error).split())
    place = place_of(error, root)
    return f"{kind}{f': {text}' if text else ''}{f' ({place})' if place else ''}"


def frame_line(frame: FrameType | None, root: Path) -> str:
    """``file:line`` of the innermost frame that is the user's, empty if none is."""
    return _innermost(traceback.StackSummary.extract(traceback.walk_stack(frame), lookup_lines=False)[::-1], root)


def place_of(error: BaseException, root: Path) -> str:
    """``file:line`` of the user's innermost frame in a traceback, or in that of what caused it; empty if none is."""
    if isinstance(error, SyntaxError) and error.filename and error.lineno:
        shown = _shown(error.filename, root)
        if shown:
            return f"{shown}:{error.lineno}"
    found = ""
    seen: set[int] = set()
    current: BaseException | None = error
    while current is not None and not found and id(current) not in seen:
        seen.add(id(current))
        found = _innermost(
            traceback.StackSummary.extract(traceback.walk_tb(current.__traceback__), lookup_lines=False), root
        )
        current = current.__cause__ or current.__context__
    return found


def _innermost(frames: list[traceback.FrameSummary], root: Path) -> str:
    for frame in reversed(frames):
        shown = _shown(frame.filename, root)
        if shown:
            return f"{shown}:{frame.lineno}"
    return ""


def _shown(filename: str, root: Path) -> str:
    path = Path(filename)
    if path.is_relative_to(_OWN) or any(path.is_relative_to(folder) for folder in _STANDARD):
        return ""
    return shown_path(filename, root)
