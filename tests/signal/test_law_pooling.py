"""Pooling, reductions, padding and resizing against sampled networks."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sampling import QUANTITIES, assert_agreement

from initcheck.builder import Builder
from initcheck.graph import Op

SHAPES = ["linear", "relu", "deep"]


def image(b: Builder, kind: str, *, bias: str = "zeros") -> str:
    """A convolution, with what may follow it."""
    x = b.conv(b.x, 48, bias=bias)
    if kind == "deep":
        x = b.conv(b.activation(x), 48, bias=bias)
    return b.activation(x) if kind != "linear" else x


def pool(b: Builder, x: str, op: Op, kernel: int, stride: int, padding: int, *, counted: bool = True) -> str:
    attributes = {
        "kernel": (kernel, kernel),
        "strides": (stride, stride),
        "dilations": (1, 1),
        "padding": ((padding, padding),) * 2,
        "count_include_pad": counted,
    }
    batch, channels, *spatial = b.shape(x)
    sizes = [(n + 2 * padding - kernel) // stride + 1 for n in spatial]
    return b.node(op, (x,), (batch, channels, *sizes), attributes)


@pytest.mark.parametrize("op", [Op.POOL_AVERAGE, Op.POOL_MAX])
@pytest.mark.parametrize("kind", SHAPES)
@pytest.mark.parametrize(("kernel", "stride"), [(2, 2), (3, 2), (3, 1), (4, 4)])
def test_window(op: Op, kind: str, kernel: int, stride: int) -> None:
    b = Builder((8, 16, 8, 8))
    y = pool(b, image(b, kind), op, kernel, stride, 0)
    z = b.conv(y, 48, kernel=1)
    # Windows that overlap share elements with their neighbours, which is little among all pairs of a large image only.
    quantities = [q for q in QUANTITIES if q != "pair_position" or stride >= kernel]
    assert_agreement(b.graph(z), y, z, decades=0.06, correlation=0.08, quantities=quantities)


@pytest.mark.parametrize("op", [Op.POOL_AVERAGE, Op.POOL_MAX])
@pytest.mark.parametrize("counted", [True, False])
def test_padded_window(op: Op, counted: bool) -> None:
    b = Builder((8, 16, 10, 10))
    y = pool(b, image(b, "relu"), op, 3, 3, 1, counted=counted)
    assert_agreement(b.graph(y), decades=0.06, correlation=0.08)


@pytest.mark.parametrize("kind", SHAPES)
@pytest.mark.parametrize("bias", ["zeros", "normal(0.5, 0.5)"])
@pytest.mark.parametrize("function", ["mean", "sum", "max"])
def test_over_all_positions(kind: str, bias: str, function: str) -> None:
    keepdims = bias == "zeros"
    b = Builder((8, 16, 7, 7))
    x = image(b, kind, bias=bias)
    shape = (8, 48, 1, 1) if keepdims else (8, 48)
    y = b.node(Op.REDUCE, (x,), shape, {"function": function, "axes": (2, 3), "keepdims": keepdims})
    z = b.activation(b.conv(y, 48, kernel=1) if keepdims else b.linear(y, 48))
    assert_agreement(b.graph(z), y, z, decades=0.08, correlation=0.08)


@pytest.mark.parametrize("function", ["max", "min"])
@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_extreme_of_a_value_that_rises_or_falls(function: str, sign: float) -> None:
    b = Builder((8, 16, 7, 7))
    x = b.activation(b.scale(b.conv(b.x, 64), sign), "softplus")
    x = b.activation(x, "neg") if sign < 0.0 else x
    y = b.node(Op.REDUCE, (x,), (8, 64), {"function": function, "axes": (2, 3), "keepdims": False})
    assert_agreement(b.graph(y), decades=0.08, correlation=0.08, quantities=("mean_square", "mean"))


@pytest.mark.parametrize("function", ["mean", "max"])
def test_over_tokens(function: str) -> None:
    b = Builder((16, 9, 64))
    x = b.activation(b.linear(b.x, 96, bias="normal(0, 0.5)"))
    y = b.node(Op.REDUCE, (x,), (16, 96), {"function": function, "axes": (1,), "keepdims": False})
    z = b.linear(y, 48)
    assert_agreement(b.graph(z), y, z, decades=0.05)


def test_mean_over_features_is_their_coherent_mean() -> None:
    b = Builder((16, 512))
    x = b.activation(b.linear(b.x, 512))
    y = b.node(Op.REDUCE, (x,), (16, 1), {"function": "mean", "axes": (-1,), "keepdims": True})
    assert_agreement(b.graph(y), quantities=("mean_square", "mean", "log_length"))


@settings(max_examples=15, deadline=None)
@given(
    before=st.integers(0, 2),
    after=st.integers(0, 2),
    value=st.sampled_from([0.0, None]),
    kind=st.sampled_from(["linear", "relu"]),
)
def test_padding(before: int, after: int, value: float | None, kind: str) -> None:
    b = Builder((8, 16, 6, 6))
    # Without a convolution's border, which repeating it would repeat.
    x = b.conv(b.x, 64, kernel=1)
    x = b.activation(x) if kind == "relu" else x
    padding = ((0, 0), (0, 0), (before, after), (before, after))
    size = 6 + before + after
    x = b.node(Op.PAD, (x,), (8, 64, size, size), {"padding": padding, "value": value})
    y = b.conv(x, 48, kernel=1)
    assert_agreement(b.graph(y), x, y, decades=0.05, correlation=0.08, errors=5.0)


@pytest.mark.parametrize("mode", ["nearest", "linear"])
@pytest.mark.parametrize("factor", [2, 3])
@pytest.mark.parametrize("kind", ["linear", "relu"])
def test_enlarging(mode: str, factor: int, kind: str) -> None:
    b = Builder((8, 16, 8, 8))
    x = image(b, kind)
    y = b.node(Op.RESIZE, (x,), (8, 48, 8 * factor, 8 * factor), {"mode": mode})
    z = b.conv(y, 48, kernel=1)
    assert_agreement(b.graph(z), y, z, repeats=24, decades=0.06, correlation=0.08)


@pytest.mark.parametrize("shared", [False, True])
def test_difference_from_the_local_average(shared: bool) -> None:
    """A window's average is a projection: what it shares with its centre cancels."""
    b = Builder((8, 4, 8, 8))
    x = b.conv(b.x, 64, "kaiming_normal", kernel=1, bias="normal(0, 1)" if shared else None)
    attributes = {"kernel": (3, 3), "strides": (1, 1), "dilations": (1, 1), "padding": ((1, 1), (1, 1))}
    average = b.node(Op.POOL_AVERAGE, (x,), b.shape(x), attributes)
    y = b.combine(Op.SUB, average, x)
    assert_agreement(b.graph(y), y, decades=0.03, correlation=0.05)


@pytest.mark.parametrize("function", ["identity", "relu"])
def test_difference_from_the_mean_over_positions(function: str) -> None:
    b = Builder((8, 6, 32))
    x = b.linear(b.x, 64, "kaiming_normal", bias="normal(0, 1)")
    x = x if function == "identity" else b.activation(x)
    mean = b.node(Op.REDUCE, (x,), (8, 1, 64), {"function": "mean", "axes": (1,), "keepdims": True})
    y = b.combine(Op.SUB, x, mean)
    assert_agreement(b.graph(y), y, decades=0.03, correlation=0.05)


@pytest.mark.parametrize("function", ["mean", "sum"])
def test_one_of_several_axes_of_features(function: str) -> None:
    """Experts side by side, added up: units of different experts are independent but for their mean."""
    b = Builder((8, 32))
    x = b.activation(b.linear(b.x, 6 * 40))
    experts = b.node(Op.RESHAPE, (x,), (8, 6, 40))
    attributes = {"function": function, "axes": (1,), "keepdims": False}
    y = b.node(Op.REDUCE, (experts,), (8, 40), attributes)
    assert_agreement(b.graph(y), repeats=80, decades=0.04)


@pytest.mark.parametrize("reduced", [True, False])
@pytest.mark.parametrize("function", ["max", "mean"])
def test_two_samples_that_have_no_more_in_common_than_two_positions(reduced: bool, function: str) -> None:
    b = Builder((8, 16, 8, 8))
    x = image(b, "deep", bias="normal(0, 0.5)")
    x = b.conv(x, 48, kernel=1, bias="normal(0, 0.5)")
    if reduced:
        y = b.node(Op.REDUCE, (x,), (8, 48), {"function": function, "axes": (2, 3), "keepdims": False})
    else:
        y = pool(b, x, Op.POOL_MAX if function == "max" else Op.POOL_AVERAGE, 2, 2, 0)
    assert_agreement(b.graph(y), repeats=80, decades=0.06, correlation=0.03, quantities=["pair_sample"])


@pytest.mark.parametrize("width", [8, 160])
def test_reciprocal_of_a_sum_of_squares(width: int) -> None:
    """A normal law for the sum would have values at zero, whose reciprocals have no mean."""
    b = Builder((8, 32))
    x = b.node(Op.RESHAPE, (b.linear(b.x, 12 * width),), (8, 12, width))
    total = b.node(
        Op.REDUCE,
        (b.activation(x, "power", exponent=2.0),),
        (8, 12, 1),
        {"function": "sum", "axes": (2,), "keepdims": True},
    )
    y = b.combine(Op.DIV, b.node(Op.RESHAPE, (b.linear(b.x, 12 * width),), (8, 12, width)), total)
    assert_agreement(b.graph(y), repeats=120, decades=0.12, quantities=["mean_square"])


@pytest.mark.parametrize("function", ["mean", "sum"])
def test_inner_product_over_all_features(function: str) -> None:
    """Values of mean zero: what chance leaves of their sum is all there is."""
    b = Builder((16, 32))
    product = b.combine(Op.MUL, b.linear(b.x, 48, bias="normal(0, 0.5)"), b.linear(b.x, 48, bias="normal(0, 0.5)"))
    attributes = {"function": function, "axes": (-1,), "keepdims": True}
    y = b.node(Op.REDUCE, (product,), (16, 1), attributes)
    assert_agreement(b.graph(y), repeats=200, decades=0.06, quantities=("mean_square", "gain"))


def test_difference_from_the_mean_over_features() -> None:
    b = Builder((16, 32))
    x = b.linear(b.x, 64, "kaiming_normal", bias="normal(0, 1)")
    mean = b.node(Op.REDUCE, (x,), (16, 1), {"function": "mean", "axes": (-1,), "keepdims": True})
    y = b.activation(b.combine(Op.SUB, x, mean))
    assert_agreement(b.graph(y), y, decades=0.04, correlation=0.05)


def test_length_of_few_units() -> None:
    """x / |x| over one of several axes of features: a normal law of |x|² would divide by zero."""
    b = Builder((16, 32))
    x = b.node(Op.RESHAPE, (b.linear(b.x, 8 * 24),), (16, 24, 8))
    square = b.combine(Op.MUL, x, x)
    total = b.node(Op.REDUCE, (square,), (16, 24, 1), {"function": "sum", "axes": (-1,), "keepdims": True})
    y = b.activation(total, "power", exponent=-0.5)
    assert_agreement(b.graph(y), y, decades=0.04, quantities=("mean_square", "mean"))


def test_largest_of_few_units() -> None:
    """Maxout: two samples part faster than the variance of the largest says, as its slope is one everywhere."""
    b = Builder((16, 64))
    x = b.x
    for _ in range(3):
        y = b.node(Op.RESHAPE, (b.linear(x, 4 * 128, "normal(0, 0.08)"),), (16, 128, 4))
        x = b.node(Op.REDUCE, (y,), (16, 128), {"function": "max", "axes": (2,), "keepdims": False})
    assert_agreement(b.graph(x), repeats=60, decades=0.06, correlation=0.03)
