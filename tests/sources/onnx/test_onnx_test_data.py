"""Every model that the onnx package ships: a graph, or one clear error."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest

from initcheck.errors import InitcheckError
from initcheck.graph import Graph, Op
from initcheck.sources.onnx import load

ROOT = Path(onnx.__file__).parent / "backend" / "test" / "data"
MODELS = sorted(ROOT.rglob("*.onnx"))


@pytest.fixture(scope="module")
def graphs() -> dict[Path, Graph]:
    found = {}
    for path in MODELS:
        try:
            found[path] = load(path)
        except InitcheckError as error:
            assert error.message  # noqa: PT017 - any other exception fails the fixture
    return found


def test_most_are_lowered(graphs):
    assert MODELS
    assert len(graphs) >= 0.95 * len(MODELS)


def test_every_name_that_a_node_reads_is_defined(graphs):
    for path, graph in graphs.items():
        defined = {*graph.inputs, *graph.parameters, *graph.constants}
        for node in graph.nodes:
            missing = [name for name in node.inputs if name and name not in defined]
            assert not missing, (path, node)
            assert all(name in graph.values for name in node.outputs), (path, node)
            defined.update(node.outputs)
        assert set(graph.outputs) <= set(graph.values), path


def test_node_names_are_unique(graphs):
    for path, graph in graphs.items():
        names = [node.name for node in graph.nodes]
        assert len(set(names)) == len(names), path


def test_little_is_opaque(graphs):
    nodes = [node for graph in graphs.values() for node in graph.nodes]
    opaque = [node for node in nodes if node.op is Op.OPAQUE]
    assert len(opaque) < 0.05 * len(nodes), {node.attributes["type"] for node in opaque}
