"""Hand-built graphs as ONNX files; ``onnx`` itself is imported by the first call."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from initcheck.graph import Graph

__all__ = ["through_onnx", "write_onnx"]


def write_onnx(graph: Graph, path: str | Path) -> None:
    """Save a graph as an ONNX file, its weights drawn from the laws of its parameters with a fixed seed.

    Args:
        graph: Made of what ``initcheck.Builder`` builds.
        path: Where to.

    Raises:
        UsageError: If no ONNX operator is written for an operation, or nothing draws a law.
    """
    from initcheck.sources.onnx.write import write

    write(graph, Path(path))


def through_onnx(graph: Graph) -> Graph:
    """The graph as it is read back from an ONNX file: the weights are values, whose laws are estimates.

    Raises:
        UsageError: As ``write_onnx``.
    """
    from initcheck.sources.onnx import load

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "example.onnx")
        write_onnx(graph, path)
        return load(path)
