"""Convolutions of every geometry against sampled networks."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sampling import assert_agreement

from initcheck.builder import Builder
from initcheck.graph import Op


def convolution(
    b: Builder,
    x: str,
    channels: int,
    kernel: tuple[int, ...],
    *,
    stride: int = 1,
    dilation: int = 1,
    padding: tuple[int, int] = (0, 0),
    groups: int = 1,
    bias: str | None = None,
    init: str = "",
    transposed: bool = False,
) -> str:
    """A convolution of any rank, with weights that keep the mean square where no border cuts them."""
    batch, width, *spatial = b.shape(x)
    taps = math.prod(kernel)
    fan_in = width // groups * taps
    shape = (width, channels // groups, *kernel) if transposed else (channels, width // groups, *kernel)
    weight = b.parameter(f"weight{len(b.nodes)}", shape, init or f"normal(0, {math.sqrt(2.0 / fan_in)!r})")
    inputs = [x, weight]
    if bias:
        inputs.append(b.parameter(f"bias{len(b.nodes)}", (channels,), bias))
    extents = [(k - 1) * dilation + 1 for k in kernel]
    sizes = [
        (n - 1) * stride + e - sum(padding) if transposed else (n + sum(padding) - e) // stride + 1
        for n, e in zip(spatial, extents, strict=True)
    ]
    attributes = {
        "kernel": kernel,
        "strides": (stride,) * len(kernel),
        "dilations": (dilation,) * len(kernel),
        "padding": (padding,) * len(kernel),
        "groups": groups,
        "fan_in": fan_in,
        "fan_out": channels // groups * taps,
        "out_axis": 1 if transposed else 0,
    }
    return b.node(Op.CONV_TRANSPOSE if transposed else Op.CONV, inputs, (batch, channels, *sizes), attributes)


@settings(max_examples=25, deadline=None)
@given(
    rank=st.integers(1, 2),
    size=st.integers(5, 8),
    kernel=st.integers(1, 3),
    stride=st.integers(1, 2),
    dilation=st.integers(1, 2),
    before=st.integers(0, 2),
    after=st.integers(0, 2),
    groups=st.sampled_from([1, 2, 4]),
    bias=st.sampled_from([None, "normal(0.2, 0.5)"]),
)
def test_any_geometry(
    rank: int,
    size: int,
    kernel: int,
    stride: int,
    dilation: int,
    before: int,
    after: int,
    groups: int,
    bias: str | None,
) -> None:
    b = Builder((8, 16, *(size,) * rank))
    padding = (min(before, kernel - 1), min(after, kernel - 1))
    x = convolution(b, b.x, 32, (kernel,) * rank, padding=(kernel // 2, kernel // 2), bias=bias)
    x = b.activation(x)
    y = convolution(
        b, x, 32, (kernel,) * rank, stride=stride, dilation=dilation, padding=padding, groups=groups, bias=bias
    )
    assert_agreement(b.graph(y), x, y, repeats=48, decades=0.04, correlation=0.06, errors=5.0)


def test_three_dimensions() -> None:
    b = Builder((4, 8, 5, 5, 5))
    x = b.activation(convolution(b, b.x, 24, (3, 3, 3), padding=(1, 1)))
    y = convolution(b, x, 24, (3, 3, 3), stride=2, padding=(1, 1))
    assert_agreement(b.graph(y), x, y, repeats=32, decades=0.04)


def test_kernel_with_unequal_sides() -> None:
    b = Builder((8, 8, 9, 6))
    y = b.activation(convolution(b, b.x, 32, (1, 5), padding=(0, 2)))
    y = convolution(b, y, 32, (5, 1), bias="normal(0, 1)")
    assert_agreement(b.graph(y))


def test_borders_add_up_over_depth() -> None:
    """Every layer's zero padding thins the border further; the shares of valid taps do not simply multiply."""
    b = Builder((4, 8, 6, 6))
    x = b.x
    for _ in range(6):
        x = b.activation(b.conv(x, 64))
    assert_agreement(b.graph(x), repeats=64, decades=0.06, correlation=0.1)


@pytest.mark.parametrize("width", [24, 48])
def test_depthwise_between_pointwise(width: int) -> None:
    b = Builder((8, width, 7, 7))
    x = convolution(b, b.x, width, (1, 1))
    x = b.activation(convolution(b, x, width, (3, 3), padding=(1, 1), groups=width))
    y = convolution(b, x, width, (1, 1))
    assert_agreement(b.graph(y), x, y, repeats=64, decades=0.04)


@pytest.mark.parametrize("kernel", [3, 1])
def test_dirac_hands_through(kernel: int) -> None:
    b = Builder((8, 16, 6, 6))
    x = b.activation(b.conv(b.x, 32))
    y = b.activation(b.conv(x, 32, "dirac", kernel=kernel))
    assert_agreement(b.graph(y), x, y)


def test_orthogonal_pointwise() -> None:
    b = Builder((8, 32, 5, 5))
    x = b.activation(convolution(b, b.x, 32, (1, 1), init="orthogonal"))
    y = convolution(b, x, 32, (1, 1), init="orthogonal")
    assert_agreement(b.graph(y), x, y)


@settings(max_examples=20, deadline=None)
@given(
    rank=st.integers(1, 2),
    size=st.integers(4, 6),
    kernel=st.integers(1, 4),
    stride=st.integers(1, 3),
    cut=st.integers(0, 1),
    groups=st.sampled_from([1, 2]),
    bias=st.sampled_from([None, "normal(0.2, 0.5)"]),
)
def test_transposed(rank: int, size: int, kernel: int, stride: int, cut: int, groups: int, bias: str | None) -> None:
    b = Builder((8, 16, *(size,) * rank))
    x = b.activation(convolution(b, b.x, 32, (1,) * rank))
    padding = (min(cut, kernel - 1),) * 2
    y = convolution(
        b, x, 32, (kernel,) * rank, stride=stride, padding=padding, groups=groups, bias=bias, transposed=True
    )
    z = convolution(b, b.activation(y), 32, (3,) * rank, padding=(1, 1))
    assert_agreement(b.graph(z), y, z, repeats=40, decades=0.05, correlation=0.08, errors=5.0)
