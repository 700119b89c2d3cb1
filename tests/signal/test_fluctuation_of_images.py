"""Var[ln M] where a layer has many positions: between 5/C and 5/(C T) per layer, as their correlation says."""

from __future__ import annotations

import math

import numpy as np
import pytest
from sampling import fold, known, sample

from initcheck.builder import Builder
from initcheck.graph import Graph, Op


def check(graph: Graph, value: str, repeats: int, tolerance: float) -> float:
    """Hold Var[ln M] of a value against networks; the prediction."""
    signal = known(fold(graph, typical=True), value)
    predicted = signal.log_length_variance()
    variance, error = sample(graph, {value: signal.axes}, repeats, fixed_input=True)[value].log_length_variance()
    assert predicted == pytest.approx(variance, abs=4.0 * error + tolerance * variance)
    return predicted


def stack(channels: int, size: int, depth: int, *, groups: int = 1, kernel: int = 3) -> tuple[Graph, str]:
    b = Builder((2, channels, size, size))
    x = b.x
    for _ in range(depth):
        x = b.activation(b.conv(x, channels, kernel=kernel, groups=groups, bias=None))
    return b.graph(b.linear(b.flatten(x), 10)), x


def test_positions_count_while_they_are_uncorrelated() -> None:
    """A bias-dominated token is the same everywhere, an independent one averages: n_eff between C and C T."""
    variances = []
    for bias in (None, "normal(0, 3)"):
        b = Builder((4, 16, 64))
        x = b.activation(b.linear(b.x, 64, bias=bias))
        y = b.activation(b.linear(x, 64, bias=None))
        graph = b.graph(b.linear(y, 10))
        variances.append(check(graph, y, 300, 0.1))
    assert variances[0] < 0.6 * variances[1]


@pytest.mark.parametrize(("channels", "size", "depth"), [(16, 1, 8), (8, 4, 8), (8, 8, 6)])
def test_effective_width_of_convolutions(channels: int, size: int, depth: int) -> None:
    predicted = check(*stack(channels, size, depth), 150, 0.15)
    exact = 6.71 / 16 if channels == 16 else 9.98 / 8
    if size == 1:
        assert predicted == pytest.approx(depth * exact, rel=0.01)
    else:
        assert 5.0 * depth / (channels * size**2) < predicted < depth * exact


def test_a_constant_image_is_one_position() -> None:
    variances = []
    for size in (1, 6):
        b = Builder((2, 16, 1, 1))
        x = b.node(Op.EXPAND, (b.x,), (2, 16, size, size)) if size > 1 else b.x
        for _ in range(8):
            x = b.activation(b.conv(x, 16, kernel=1, bias=None))
        graph = b.graph(b.linear(b.flatten(x), 10))
        variances.append(known(fold(graph), x).log_length_variance())
    assert variances[1] == pytest.approx(variances[0], rel=1e-3)


def test_correlations_that_vary_from_pair_to_pair() -> None:
    """Without taps that average, C channels leave the cosine of two independent positions a variance of 1/C."""
    b = Builder((2, 24, 16))
    x = b.x
    for _ in range(5):
        x = b.linear(x, 16, "lecun_normal", bias=None)
    graph = b.graph(b.linear(x, 10))
    predicted = check(graph, x, 400, 0.15)
    # Were all correlations zero, as they are on average, only 24 positions would count.
    assert predicted > 2.0 * 5 * 2.0 / (16 * 24)


@pytest.mark.parametrize("groups", [1, 4, 8])
def test_groups_multiply_lengths_of_their_own(groups: int) -> None:
    predicted = check(*stack(8, 6, 8, groups=groups), 150, 0.2)
    whole = known(fold(stack(8, 6, 8)[0]), stack(8, 6, 8)[1]).log_length_variance()
    assert predicted >= (1.0 if groups == 1 else 1.3) * 0.9 * whole


@pytest.mark.slow
@pytest.mark.parametrize(("groups", "measured"), [(1, 2.27), (4, 3.9), (16, 5.6)])
def test_sixteen_channels_sixteen_layers(groups: int, measured: float) -> None:
    predicted = check(*stack(16, 8, 16, groups=groups), 150, 0.2)
    # As measured with circular padding, which no border narrows.
    assert predicted == pytest.approx(measured, rel=0.3)


def test_a_depthwise_convolution_between_full_ones() -> None:
    b = Builder((2, 8, 6, 6))
    x = b.x
    for _ in range(3):
        x = b.activation(b.conv(x, 8, groups=8, bias=None))
        x = b.activation(b.conv(x, 8, kernel=1, bias=None))
    check(b.graph(b.linear(b.flatten(x), 10)), x, 200, 0.2)


@pytest.mark.parametrize("kind", ["average", "max", "mean"])
def test_pooling(kind: str) -> None:
    """An average follows M and the cosine between positions; it neither adds nor forgets the width of its layer."""
    b = Builder((2, 4, 8, 8))
    x = b.x
    for _ in range(3):
        x = b.activation(b.conv(x, 12, bias=None))
    if kind == "mean":
        y = b.pool(x)
    else:
        op = Op.POOL_MAX if kind == "max" else Op.POOL_AVERAGE
        window = {"kernel": (2, 2), "strides": (2, 2), "dilations": (1, 1), "padding": ((0, 0), (0, 0))}
        y = b.node(op, (x,), (2, 12, 4, 4), window)
    graph = b.graph(b.linear(y if kind == "mean" else b.flatten(y), 10))
    before = known(fold(graph, typical=True), x).log_length_variance()
    predicted = check(graph, y, 300, 0.15)
    if kind == "mean":
        assert predicted > 1.2 * before


def test_the_ledger_of_a_convolutional_chain_sums_to_its_variance() -> None:
    graph, value = stack(12, 6, 5)
    forward = fold(graph)
    entries = [entry for entry in forward.ledger if entry.quantity == "fluctuation"]
    assert len({entry.path for entry in entries}) == 5
    total = math.fsum(entry.amount for entry in entries)
    assert total == pytest.approx(known(forward, value).log_length_variance(), rel=1e-6)
    assert np.all(np.array([entry.amount for entry in entries]) > 0.0)


def test_a_residual_network_without_norms() -> None:
    b = Builder((2, 4, 6, 6))
    x = b.activation(b.conv(b.x, 8, bias=None))
    for _ in range(4):
        branch = b.conv(b.activation(b.conv(x, 8, bias=None)), 8, bias=None)
        x = b.activation(b.add(x, branch))
    y = b.pool(x)
    check(b.graph(b.linear(y, 10)), y, 200, 0.2)


@pytest.mark.parametrize("kernel", [1, 3])
def test_the_mean_of_positions_that_share_nothing(kernel: int) -> None:
    """It is one more vector that every layer's width makes fluctuate by 2/C; taps disagree on it."""
    b = Builder((2, 3, 6, 6))
    x = b.x
    for _ in range(4):
        x = b.conv(x, 16, "lecun_normal", kernel=kernel, bias=None)
    y = b.pool(x)
    predicted = check(b.graph(b.linear(y, 10)), y, 250, 0.2)
    if kernel == 1:
        assert predicted == pytest.approx(4 * 2.0 / 16, rel=0.05)
    else:
        assert 2.0 / 16 < predicted < 4 * 2.0 / 16
