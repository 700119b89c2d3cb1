"""``.pt2`` archives: a graph that torch.export has traced already, with real weights."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from initcheck.errors import ModelLoadError
from initcheck.sources.torch.build import build
from initcheck.sources.torch.export import read_program
from initcheck.sources.torch.load import graph_of_trace
from initcheck.sources.torch.locate import Locator

if TYPE_CHECKING:
    from pathlib import Path

    from torch.export import ExportedProgram

    from initcheck.graph import Graph

__all__ = ["load_archive"]


def load_archive(path: Path, *, root: Path, max_memory: int) -> Graph:
    """Read an archive; the laws of its weights are estimated from their values.

    Args:
        path: The file.
        root: Folder of the user's project; locations name code below it only.
        max_memory: Bytes that its weights may take.

    Raises:
        ModelLoadError: If it is too large or no archive.
    """
    size = path.stat().st_size
    if size > max_memory:
        message = f"the archive has {size:,} bytes, more than may be loaded"
        raise ModelLoadError(message, "--max-memory allows more", kind="memory")
    program = _read(path)
    module = program.module()
    built = build(lambda: module, max_memory=max_memory, root=root)
    return graph_of_trace(read_program(program), module, built, "those of the archive", Locator(module, root))


def _read(path: Path) -> ExportedProgram:
    try:
        return torch.export.load(path)
    except Exception as error:
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        raise ModelLoadError(
            f"not a torch.export archive: {reason}", "write it with torch.export.save", kind="damaged"
        ) from error
