"""Who wrote a tensor, and from which line of the user's code."""

from __future__ import annotations

import math
import sys
import sysconfig
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from initcheck.graph import Location, Write

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import FrameType

__all__ = ["Entry", "Writer", "spell"]


@dataclass(frozen=True, slots=True)
class Entry:
    """One write.

    Attributes:
        write: What wrote and where.
        default: Whether a layer of ``torch.nn`` asked for it in its own constructor, or it came with the allocation.
    """

    write: Write
    default: bool = False


class Writer:
    """Finds the user's line behind a write.

    Args:
        root: Folder of the user's project; installed packages below it are not the user's.
    """

    def __init__(self, root: Path) -> None:
        self._root = root.resolve()
        self._shown: dict[str, str] = {}

    def entry(self, initializer: str, *, allocation: bool = False) -> Entry:
        """Entry for a write that is happening now."""
        frame: FrameType | None = sys._getframe(1)  # noqa: SLF001 - the documented way to the calling frame
        default = allocation
        while frame is not None:
            file = frame.f_code.co_filename
            shown = self._shown.get(file)
            if shown is None:
                shown = self._shown[file] = self._show(file)
            if shown:
                return Entry(Write(initializer, Location(shown, frame.f_lineno, "exact")), default)
            if frame.f_code.co_name == "__init__" and file.startswith(_LAYERS):
                default = True
            frame = frame.f_back
        return Entry(Write(initializer), default)

    def _show(self, file: str) -> str:
        """Path to show for a file of the user's, empty for any other."""
        if file.startswith("<"):
            return ""
        path = Path(file).resolve()
        foreign = {"site-packages", "dist-packages"} & set(path.parts) or path.is_relative_to(_OWN)
        if foreign or path.is_relative_to(_STANDARD) or not path.is_relative_to(self._root):
            return ""
        return path.relative_to(self._root).as_posix()


_OWN = Path(__file__).resolve().parents[2]
_STANDARD = Path(sysconfig.get_paths()["stdlib"]).resolve()
_LAYERS = str(Path(torch.nn.__file__).parent / "modules")


def spell(name: str, arguments: Mapping[str, Any], defaults: Mapping[str, Any] | None = None) -> str:
    """A call as people write it: ``kaiming_uniform_(a=√5)``, ``normal_(0, 0.02)``.

    Args:
        name: The function.
        arguments: Its arguments by name, the tensor left out; positional ones that are numbers go without names.
        defaults: Values that need not be told; None to tell all, without names.
    """
    if defaults is None:
        shown = [text for value in arguments.values() if (text := _number(value))]
    else:
        changed = ((key, value) for key, value in arguments.items() if value != defaults.get(key))
        shown = [f"{key}={_number(value) or repr(value)}" for key, value in changed if key != "generator"]
    return f"{name}({', '.join(shown)})" if shown else name


@lru_cache(maxsize=256)
def _root_of(value: float) -> str:
    if not 1.0 < value < 4.0 or float(value).is_integer():
        return ""
    near = round(value * value)
    return f"√{near}" if abs(value * value - near) < 1e-9 else ""


def _number(value: object) -> str:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        return ""
    return _root_of(value) or f"{value:.6g}"
