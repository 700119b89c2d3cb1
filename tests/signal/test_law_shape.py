"""Operations that move values about, against sampled networks."""

from __future__ import annotations

import pytest
from sampling import assert_agreement, fold, known

from initcheck.builder import Builder
from initcheck.graph import Axis, Op


def tokens(b: Builder, kind: str = "relu", width: int = 96) -> str:
    x = b.linear(b.x, width, bias="normal(0, 0.5)")
    return x if kind == "linear" else b.activation(x, kind)


@pytest.mark.parametrize("kinds", [("relu", "relu"), ("relu", "linear"), ("linear", "linear"), ("tanh", "relu")])
@pytest.mark.parametrize("axis", [1, 2])
def test_concatenation(kinds: tuple[str, str], axis: int) -> None:
    b = Builder((16, 5, 64))
    parts = [b.scale(tokens(b, kind), size) for kind, size in zip(kinds, (1.0, 0.4), strict=True)]
    y = b.concatenate(parts, axis=axis)
    z = b.activation(b.linear(y, 96))
    w = b.linear(b.activation(y), 96)
    b.add(z, w)
    assert_agreement(b.graph(z), y, z, decades=0.04)
    assert_agreement(b.graph(w), w, decades=0.05)


def test_dense_connections() -> None:
    b = Builder((16, 64))
    x = b.activation(b.linear(b.x, 64))
    for _ in range(4):
        x = b.concatenate([x, b.activation(b.linear(x, 48))])
    y = b.linear(x, 64)
    assert_agreement(b.graph(y), x, y, repeats=100, decades=0.05)


def test_concatenated_with_a_parameter() -> None:
    b = Builder((16, 5, 64))
    x = tokens(b)
    token = b.node(Op.EXPAND, (b.parameter("token", (1, 1, 96), "normal(0, 0.3)"),), (16, 1, 96))
    y = b.concatenate([token, x], axis=1)
    z = b.linear(y, 64)
    assert_agreement(b.graph(z), y, z, repeats=120, decades=0.04, correlation=0.06)


@pytest.mark.parametrize("axis", [1, 2])
def test_parts(axis: int) -> None:
    b = Builder((16, 6, 64))
    x = tokens(b)
    shape = list(b.shape(x))
    shape[axis] //= 2
    y = b.node(Op.SLICE, (x,), shape, {"axes": (axis,), "starts": (shape[axis],), "dropped": ()})
    z = b.linear(b.activation(y), 64)
    assert_agreement(b.graph(z), y, z)


def test_one_position() -> None:
    b = Builder((16, 6, 64))
    x = tokens(b)
    y = b.node(Op.SLICE, (x,), (16, 96), {"axes": (1,), "starts": (0,), "dropped": (1,)})
    z = b.linear(y, 64)
    assert_agreement(b.graph(z), y, z)


def test_gate_of_two_halves() -> None:
    b = Builder((16, 6, 64))
    x = b.linear(b.x, 192)
    halves = ("first", "second")
    for name in halves:
        b.values[name] = type(b.values[x])((16, 6, 96))
    b.nodes.append(type(b.nodes[0])(Op.SPLIT, "split", (x,), halves, {"axis": 2}))
    y = b.combine(Op.MUL, "first", b.activation("second", "sigmoid"))
    z = b.linear(y, 64)
    assert_agreement(b.graph(z), *halves, y, z, decades=0.04)


def test_heads() -> None:
    """(batch, position, width) to (batch, head, position, part) and back."""
    b = Builder((8, 6, 64))
    x = tokens(b, width=96)
    split = b.node(Op.RESHAPE, (x,), (8, 6, 4, 24))
    heads = b.node(Op.TRANSPOSE, (split,), (8, 4, 6, 24), {"permutation": (0, 2, 1, 3)})
    back = b.node(Op.TRANSPOSE, (heads,), (8, 6, 4, 24), {"permutation": (0, 2, 1, 3)})
    y = b.node(Op.RESHAPE, (back,), (8, 6, 96))
    z = b.linear(y, 64)
    graph = b.graph(z)
    assert_agreement(graph, split, heads, back, y, z)
    forward = fold(graph)
    assert known(forward, heads).axes == (Axis.BATCH, Axis.FEATURE, Axis.POSITION, Axis.FEATURE)
    assert known(forward, y).axes == (Axis.BATCH, Axis.POSITION, Axis.FEATURE)


def test_flattened_image() -> None:
    b = Builder((8, 8, 6, 6))
    x = b.activation(b.conv(b.x, 16))
    y = b.flatten(x)
    z = b.activation(b.linear(y, 96))
    assert_agreement(b.graph(z), y, z, decades=0.04)


def test_patches_become_tokens() -> None:
    b = Builder((8, 8, 6, 6))
    x = b.activation(b.conv(b.x, 64, bias="normal(0, 1)"))
    flat = b.node(Op.RESHAPE, (x,), (8, 64, 36))
    y = b.node(Op.TRANSPOSE, (flat,), (8, 36, 64), {"permutation": (0, 2, 1)})
    z = b.linear(y, 48)
    assert_agreement(b.graph(z), flat, y, z, decades=0.04)


@pytest.mark.parametrize("shape", [(16, 5, 96), (16, 1, 96)])
def test_repeated(shape: tuple[int, ...]) -> None:
    b = Builder((16, 1, 64))
    x = tokens(b)
    y = b.node(Op.EXPAND, (x,), shape)
    z = b.linear(y, 64)
    w = b.node(Op.IDENTITY, (z,), b.shape(z))
    assert_agreement(b.graph(w), y, z, w)
