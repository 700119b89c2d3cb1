"""What axes run over: told for inputs by what is contracted, followed through reshapes."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from initcheck.builder import Builder
from initcheck.graph import Axis, Graph, Op
from initcheck.signal.axes import factor_groups, input_axes, reshape_axes, token_axes
from initcheck.structure import find_structure

B, P, F = Axis.BATCH, Axis.POSITION, Axis.FEATURE


def axes_of(b: Builder, graph: Graph) -> tuple[Axis, ...]:
    return input_axes(graph, b.x, find_structure(graph).consumers)


def test_vectors() -> None:
    b = Builder((8, 16))
    assert axes_of(b, b.graph(b.linear(b.x, 4))) == (B, F)


def test_tokens() -> None:
    b = Builder((8, 5, 16))
    assert axes_of(b, b.graph(b.linear(b.normalize(b.x), 4))) == (B, P, F)


def test_images() -> None:
    b = Builder((8, 3, 9, 9))
    assert axes_of(b, b.graph(b.conv(b.activation(b.x), 4))) == (B, F, P, P)


def test_flattened_images() -> None:
    b = Builder((8, 3, 9, 9))
    assert axes_of(b, b.graph(b.linear(b.flatten(b.x), 4))) == (B, F, F, F)


def test_channels_last() -> None:
    b = Builder((8, 9, 9, 3))
    turned = b.node(Op.TRANSPOSE, (b.x,), (8, 3, 9, 9), {"permutation": (0, 3, 1, 2)})
    assert axes_of(b, b.graph(b.conv(turned, 4))) == (B, P, P, F)


def test_token_mixing() -> None:
    b = Builder((8, 5, 16))
    turned = b.node(Op.TRANSPOSE, (b.x,), (8, 16, 5), {"permutation": (0, 2, 1)})
    assert axes_of(b, b.graph(b.linear(turned, 4))) == (B, F, P)


def test_the_first_contraction_of_several_paths_counts() -> None:
    b = Builder((8, 5, 16))
    mask = b.combine(Op.MUL, b.x, b.x)
    y = b.linear(b.add(b.x, mask), 16)
    assert axes_of(b, b.graph(y)) == (B, P, F)


@pytest.mark.parametrize(
    ("shape", "axes"), [((8,), (F,)), ((8, 4), (B, F)), ((8, 5, 4), (B, P, F)), ((8, 3, 5, 4), (B, F, P, P))]
)
def test_rank_decides_without_a_contraction(shape: tuple[int, ...], axes: tuple[Axis, ...]) -> None:
    b = Builder(shape)
    assert axes_of(b, b.graph(b.activation(b.x))) == axes


@pytest.mark.parametrize(
    ("before", "axes", "after", "expected"),
    [
        ((8, 5, 12), (B, P, F), (8, 5, 3, 4), (B, P, F, F)),
        ((8, 5, 3, 4), (B, P, F, F), (8, 5, 12), (B, P, F)),
        ((8, 12, 5, 5), (B, F, P, P), (8, 12, 25), (B, F, P)),
        ((8, 12, 5, 5), (B, F, P, P), (8, 300), (B, F)),
        ((8, 5, 12), (B, P, F), (40, 12), (P, F)),
        ((8, 12, 1, 1), (B, F, P, P), (8, 12), (B, F)),
        ((8, 12), (B, F), (8, 1, 12), (B, F, F)),
        ((8, 4, 5, 3), (B, F, P, F), (8, 4, 5, 3), (B, F, P, F)),
    ],
)
def test_reshape(
    before: tuple[int, ...], axes: tuple[Axis, ...], after: tuple[int, ...], expected: tuple[Axis, ...]
) -> None:
    found = reshape_axes(before, axes, after)
    # Axes of size one run over nothing.
    assert [a for a, n in zip(found, after, strict=True) if n > 1] == [
        a for a, n in zip(expected, after, strict=True) if n > 1
    ]


@st.composite
def reshapes(draw: st.DrawFn) -> tuple[list[int], list[int]]:
    """Two shapes of one size: factors cut into axes in two ways."""
    factors = draw(st.lists(st.integers(1, 5), min_size=1, max_size=6))

    def cut() -> list[int]:
        sizes, rest = [], list(factors)
        while rest:
            take = draw(st.integers(1, len(rest)))
            sizes.append(math.prod(rest[:take]))
            rest = rest[take:]
        return sizes

    return cut(), cut()


@given(reshapes())
def test_groups_hold_equal_products(shapes: tuple[list[int], list[int]]) -> None:
    before, after = shapes
    groups = factor_groups(before, after)
    assert [i for left, _ in groups for i in left] == list(range(len(before)))
    assert [j for _, right in groups for j in right] == list(range(len(after)))
    for left, right in groups:
        assert math.prod(before[i] for i in left) == math.prod(after[j] for j in right)


@given(reshapes())
def test_reshaping_one_kind_keeps_it(shapes: tuple[list[int], list[int]]) -> None:
    before, after = shapes
    found = reshape_axes(before, (F,) * len(before), after)
    assert len(found) == len(after)
    assert all(axis is F for axis, n in zip(found, after, strict=True) if n > 1)


def test_token_axes() -> None:
    assert token_axes(1) == (F,)
    assert token_axes(4) == (B, P, P, F)
