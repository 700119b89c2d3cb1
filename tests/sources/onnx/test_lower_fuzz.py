"""Models that are valid protobuf but make no sense: a graph with opaque nodes, or one clear error."""

from __future__ import annotations

import contextlib
import random
from pathlib import Path
from typing import TYPE_CHECKING

import onnx
import pytest
from onnx import AttributeProto, ModelProto, NodeProto

from initcheck.errors import InitcheckError
from initcheck.graph import Graph
from initcheck.sources.onnx import load

ROOT = Path(onnx.__file__).parent / "backend" / "test" / "data"
OPERATORS = sorted({schema.name for schema in onnx.defs.get_all_schemas() if not schema.domain})
INTEGERS = (-7, -1, 0, 1, 2, 1000, 2**40)


def _drop_input(node: NodeProto, _: ModelProto, rng: random.Random) -> None:
    if node.input:
        del node.input[rng.randrange(len(node.input))]


def _repeat_input(node: NodeProto, _: ModelProto, rng: random.Random) -> None:
    if node.input:
        node.input.append(rng.choice(list(node.input)))


def _read_a_weight(node: NodeProto, model: ModelProto, rng: random.Random) -> None:
    if node.input and model.graph.initializer:
        node.input[rng.randrange(len(node.input))] = rng.choice(model.graph.initializer).name


def _drop_attribute(node: NodeProto, _: ModelProto, rng: random.Random) -> None:
    if node.attribute:
        del node.attribute[rng.randrange(len(node.attribute))]


def _change_attribute(node: NodeProto, _: ModelProto, rng: random.Random) -> None:
    for attribute in node.attribute:
        if attribute.type == AttributeProto.INT:
            attribute.i = rng.choice(INTEGERS)
        elif attribute.type == AttributeProto.INTS:
            attribute.ints[:] = [rng.choice(INTEGERS) for _ in range(rng.randrange(1, 6))]
        elif attribute.type == AttributeProto.FLOAT:
            attribute.f = rng.choice((0.0, float("nan"), float("inf")))
        elif attribute.type == AttributeProto.STRING:
            attribute.s = rng.choice((b"", b"SAME_UPPER", b"\xff"))


def _change_operator(node: NodeProto, _: ModelProto, rng: random.Random) -> None:
    node.op_type = rng.choice(OPERATORS)


def _change_input(_: NodeProto, model: ModelProto, rng: random.Random) -> None:
    if model.graph.input:
        tensor = rng.choice(model.graph.input).type.tensor_type
        if tensor.shape.dim and rng.random() < 0.7:
            rng.choice(tensor.shape.dim).dim_value = rng.choice((-1, 0, 1, 3))
        else:
            tensor.ClearField("shape")


def _change_opset(_: NodeProto, model: ModelProto, rng: random.Random) -> None:
    model.opset_import[0].version = rng.choice((1, 6, 9, 11, 13, 17, 24, 99))


if TYPE_CHECKING:
    from collections.abc import Callable

CHANGES: tuple[Callable[[NodeProto, ModelProto, random.Random], None], ...] = (
    _drop_input,
    _repeat_input,
    _read_a_weight,
    _drop_attribute,
    _change_attribute,
    _change_operator,
    _change_input,
    _change_opset,
)


@pytest.mark.parametrize("count", [200, pytest.param(4000, marks=pytest.mark.slow)])
def test_nonsense_raises_nothing_but_our_errors(tmp_path: Path, count: int) -> None:
    files = [path for path in sorted(ROOT.rglob("*.onnx")) if path.stat().st_size < 30_000]
    rng = random.Random(count)
    path = tmp_path / "model.onnx"
    lowered = 0
    for _ in range(count):
        model = onnx.load(rng.choice(files))
        for _ in range(rng.randint(1, 4)):
            rng.choice(CHANGES)(rng.choice(model.graph.node), model, rng)
        path.write_bytes(model.SerializeToString())
        with contextlib.suppress(InitcheckError):
            lowered += isinstance(load(path), Graph)
    assert lowered > count / 2
