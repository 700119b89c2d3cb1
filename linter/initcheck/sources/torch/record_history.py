"""Who wrote a tensor, and from which line of the user's code."""

from __future__ import annotations

import math
import sys
import sysconfig
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from initcheck.construction import CallSite, Effect, Write
from initcheck.graph import Location

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import CodeType, FrameType

    from initcheck.sources.torch.record_regions import Mark

__all__ = ["ROUTINES", "Entry", "Writer", "spell"]


ROUTINES = frozenset(
    {
        *("reset_parameters", "_reset_parameters", "post_init", "init_weights", "_init_weights"),
        *("initialize_weights", "_initialize_weights", "to_empty", "skip_init"),
    }
)
"""Methods by which libraries have a module initialised, or given memory, as a whole."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One write.

    Attributes:
        write: What wrote and where.
        mark: Mark of the whole storage after it.
    """

    write: Write
    mark: Mark = None


class Writer:
    """Finds the user's lines behind a write.

    Args:
        root: Folder of the user's project; installed packages below it are not the user's.
        until: Code whose frame calls the user's; what called it is not looked at.
    """

    def __init__(self, root: Path, until: CodeType) -> None:
        self._root = root.resolve()
        self._until = until
        self._shown = _known_files(self._root)

    def write(self, initializer: str, effect: Effect = Effect.RENEW, *, allocation: bool = False) -> Write:
        """A write that is happening now.

        Args:
            initializer: What writes, as people spell it.
            effect: What it does to what was there.
            allocation: Whether it made the tensor.
        """
        frame: FrameType | None = sys._getframe(1)  # noqa: SLF001 - the documented way to the calling frame
        calls: list[CallSite] = []
        routine, default = "", allocation
        while frame is not None and frame.f_code is not self._until:
            code = frame.f_code
            shown = self._shown.get(code.co_filename)
            if shown is None:
                shown = self._shown[code.co_filename] = _show(code.co_filename, self._root)
            if shown:
                calls.append(CallSite(code.co_name, shown, frame.f_lineno))
            elif not calls:
                default = default or code.co_name == "__init__"
                routine = code.co_name if code.co_name in ROUTINES else routine
            frame = frame.f_back
        location = Location(calls[0].file, calls[0].line, "exact") if calls else None
        return Write(initializer, location, tuple(reversed(calls)), routine, default, effect)


@lru_cache(maxsize=8)
def _known_files(root: Path) -> dict[str, str]:
    """What ``_show`` said of the files met so far, with one root."""
    del root
    return {}


def _show(file: str, root: Path) -> str:
    """Path to show for a file of the user's, empty for any other."""
    if file.startswith("<"):
        return ""
    path = Path(file).resolve()
    foreign = {"site-packages", "dist-packages"} & set(path.parts) or path.is_relative_to(_OWN)
    if foreign or path.is_relative_to(_STANDARD) or not path.is_relative_to(root):
        return ""
    return path.relative_to(root).as_posix()


_OWN = Path(__file__).resolve().parents[2]
_STANDARD = Path(sysconfig.get_paths()["stdlib"]).resolve()


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
