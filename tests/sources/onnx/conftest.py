from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper, parser

from initcheck.graph import Graph, Node
from initcheck.sources.onnx import load

if TYPE_CHECKING:
    from pathlib import Path

Lower = Callable[..., Graph]


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    """Write a model given as text, with sampled weights appended.

    The text cannot spell names with dots: ``fc__weight`` stands for ``fc.weight``.
    """

    def write_model(
        body: str,
        weights: Mapping[str, Any] | None = None,
        *,
        opset: str = '"" : 20',
        producer: str = "",
        change: Callable[[onnx.ModelProto], None] | None = None,
    ) -> Path:
        model = parser.parse_model(f"<ir_version: 9, opset_import: [{opset}]>\n{body}")
        model.producer_name = producer
        for node in model.graph.node:
            node.input[:] = [name.replace("__", ".") for name in node.input]
        for name, value in (weights or {}).items():
            array = np.asarray(value)
            if array.dtype == np.float64:
                array = array.astype(np.float32)
            model.graph.initializer.append(numpy_helper.from_array(array, name))
        if change is not None:
            change(model)
        path = tmp_path / "model.onnx"
        path.write_bytes(model.SerializeToString())
        return path

    return write_model


@pytest.fixture
def lower(write: Callable[..., Path]) -> Lower:
    """Lower a model given as text."""

    def lower_model(
        body: str,
        weights: Mapping[str, Any] | None = None,
        *,
        shapes: Mapping[str, tuple[int, ...]] | None = None,
        dims: Mapping[str, int] | None = None,
        **options: Any,
    ) -> Graph:
        return load(write(body, weights, **options), shapes=shapes or {}, dims=dims or {})

    return lower_model


@pytest.fixture
def only() -> Callable[[Graph], Node]:
    """The node of a graph that has one."""

    def single(graph: Graph) -> Node:
        assert len(graph.nodes) == 1, [node.op for node in graph.nodes]
        return graph.nodes[0]

    return single
