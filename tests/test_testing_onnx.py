"""Hand-built graphs written as ONNX files."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from initcheck import Builder, Op, UsageError
from initcheck.testing import through_onnx, write_onnx

if TYPE_CHECKING:
    from pathlib import Path

    from initcheck import Graph


def everything() -> Graph:
    """All that the writer knows, in one graph."""
    b = Builder((4, 3, 8, 8))
    x = b.activation(b.normalize(b.conv(b.x, 8, groups=1, stride=2), "batch"), "leaky_relu", alpha=0.2)
    x = b.add(x, b.activation(b.conv(x, 8, groups=8, bias=None, init="xavier_uniform"), "gelu"))
    x = b.concatenate([b.pool(x), b.flatten(x)])
    x = b.normalize(b.linear(x, 32, np.full((32, 136), 0.1)), "layer")
    ids = b.input("ids", (4, 6), "int64")
    tokens = b.linear(b.embedding(ids, 50, 32, path="table"), 32, path="project")
    tokens = b.node(Op.REDUCE, (tokens,), (4, 32), {"function": "mean", "axes": (1,), "keepdims": False}, path="mean")
    return b.graph(b.linear(b.combine(Op.MUL, x, b.scale(tokens, 0.5)), 10))


def test_a_graph_comes_back_from_its_file_as_it_was(tmp_path: Path) -> None:
    graph = everything()
    write_onnx(graph, tmp_path / "everything.onnx")
    write_onnx(graph, tmp_path / "again.onnx")
    assert (tmp_path / "everything.onnx").read_bytes() == (tmp_path / "again.onnx").read_bytes()
    back = through_onnx(graph)
    weighted = [node for node in graph.nodes if node.op in {Op.LINEAR, Op.CONV, Op.EMBEDDING}]
    read = [node for node in back.nodes if node.op in {Op.LINEAR, Op.CONV, Op.EMBEDDING}]
    assert [(node.op, node.attributes.get("fan_in", 1)) for node in read] == [
        (node.op, node.attributes["fan_in"]) for node in weighted
    ]
    assert [node.attributes["function"] for node in back.nodes if node.op is Op.ELEMENTWISE] == ["leaky_relu", "gelu"]
    assert [node.attributes["kind"] for node in back.nodes if node.op is Op.NORMALIZE] == ["batch", "layer"]
    assert back.parameter_count >= sum(graph.weight(node).size for node in weighted)  # type: ignore[union-attr]


def test_what_cannot_be_written_is_said(tmp_path: Path) -> None:
    b = Builder()
    with pytest.raises(UsageError, match=r"nothing draws the orthogonal law of 0\.weight"):
        write_onnx(b.graph(b.linear(b.x, 64, "orthogonal")), tmp_path / "m.onnx")
    b = Builder()
    with pytest.raises(UsageError, match=r"written for rms, of norm"):
        write_onnx(b.graph(b.normalize(b.x, "rms", path="norm")), tmp_path / "m.onnx")
