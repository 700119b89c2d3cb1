"""Lines of the user's source, from the stack traces that torch's exporter leaves."""

from __future__ import annotations

import re
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from initcheck.graph import Location

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["locate"]

_FRAME = re.compile(r'File "([^"]+)", line (\d+)')


def locate(metadata: Mapping[str, str]) -> Location | None:
    """The innermost frame in a file below the current directory; None when the file was exported elsewhere."""
    trace = metadata.get("pkg.torch.onnx.stack_trace")
    return _innermost(trace, Path.cwd()) if trace else None


@lru_cache(maxsize=4096)
def _innermost(trace: str, root: Path) -> Location | None:
    for file, line in reversed(_FRAME.findall(trace)):
        shown = _below(file, root)
        if shown:
            return Location(shown, int(line))
    return None


@lru_cache(maxsize=1024)
def _below(file: str, root: Path) -> str:
    path = Path(file)
    if not path.is_relative_to(root) or not path.is_file():
        return ""
    relative = path.relative_to(root)
    return "" if "site-packages" in relative.parts else relative.as_posix()
