"""Statements of Hanin & Rolnick (arXiv 1803.01719): the engine, their formula, and sampled networks side by side."""

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING

import numpy as np
import pytest
from sampling import assert_agreement, fold, known, sample
from scipy import stats

from initcheck.builder import Builder
from initcheck.testing import run_rules
from initcheck_rules import RULES

if TYPE_CHECKING:
    from initcheck.graph import Graph

TRUNCATED = stats.truncnorm.var(-2.0, 2.0)


def relu_net(
    width: int, depth: int, scheme: str = "kaiming_normal", bias: str | None = None, batch: int = 8
) -> tuple[Graph, list[str]]:
    """A ReLU network with a head, and the values behind its ReLUs."""
    b = Builder((batch, width))
    x, values = b.x, []
    for _ in range(depth):
        x = b.activation(b.linear(x, width, scheme, bias=bias))
        values.append(x)
    return b.graph(b.linear(x, 10, scheme, bias=bias)), values


@pytest.mark.parametrize(
    ("scheme", "gain"),
    [
        ("kaiming_normal(gain=1)", 0.5),
        ("kaiming_normal(truncated, uncorrected)", TRUNCATED),
        ("kaiming_normal", 1.0),
        ("kaiming_uniform", 1.0),
        ("kaiming_normal(gain=2)", 2.0),
    ],
)
def test_mean_length_is_a_power_of_the_gain(scheme: str, gain: float) -> None:
    """E[M_d] = κ^d M_0."""
    graph, values = relu_net(100, 12, scheme)
    forward = fold(graph)
    for depth, value in enumerate(values, start=1):
        # ReLU's moments on the quadrature nodes are exact by symmetry.
        assert known(forward, value).mean_square == pytest.approx(gain**depth, rel=1e-6)
        assert known(forward, value).gain == pytest.approx(gain**depth, rel=1e-6)
    assert_agreement(graph, values[5], values[11], repeats=200, decades=0.01, quantities=("mean_square", "gain"))


@pytest.mark.parametrize("variances", [[0.5] * 6, [1.0, 0.1, 0.0, 2.0, 0.3, 0.0]])
def test_biases_add_half_their_variance(variances: list[float]) -> None:
    """E[M_d] = M_0 + ½ Σ ν_j."""
    b = Builder((8, 100))
    x = b.x
    for variance in variances:
        x = b.activation(b.linear(x, 100, bias=f"normal(0, {math.sqrt(variance)!r})" if variance else "zeros"))
    graph = b.graph(x)
    expected = 1.0 + 0.5 * sum(variances)
    assert known(fold(graph), x).mean_square == pytest.approx(expected, rel=1e-6)
    assert_agreement(graph, repeats=300, decades=0.02, quantities=("mean_square",))


@pytest.mark.parametrize("widths", [[32] * 5, [16, 64, 16, 64], [100, 60, 30, 20]])
def test_second_moment_of_the_length(widths: list[int]) -> None:
    """E[M_d²]/E[M_d]² = Π (1 + 5/n_j), and Var[ln M_d] = Σ 5/n_j to first order."""
    b = Builder((1, 64))
    x = b.x
    for width in widths:
        x = b.activation(b.linear(x, width))
    graph = b.graph(b.linear(x, 10))
    repeats = 2000
    lengths = np.concatenate(sample(graph, {x: known(fold(graph), x).axes}, repeats)[x].lengths)
    ratios = np.array([np.mean(part**2) / np.mean(part) ** 2 for part in np.split(lengths, 20)])
    expected = math.prod(1.0 + 5.0 / width for width in widths)
    # A ratio of means over 100 networks is biased by less than its own spread over the 20 groups.
    assert np.mean(lengths**2) / np.mean(lengths) ** 2 == pytest.approx(
        expected, abs=4.0 * ratios.std() / math.sqrt(20)
    )
    logs = np.log(lengths[lengths > 0.0])
    variance = fold(graph).segments[0].log_length_variance
    first_order = sum(5.0 / width for width in widths)
    assert first_order < variance < 1.35 * first_order
    assert variance == pytest.approx(logs.var(), rel=0.25)


def test_first_order_of_the_fluctuation_in_wide_networks() -> None:
    graph, _ = relu_net(2000, 20)
    assert fold(graph).segments[0].log_length_variance == pytest.approx(20 * 5.0 / 2000, rel=0.01)


def test_typical_length_lies_below_the_mean() -> None:
    """ln M_d ~ N(-V/2, V): the typical network is shorter than the mean one by exp(-5/2 Σ 1/n)."""
    graph, values = relu_net(32, 12)
    typical = known(fold(graph, typical=True), values[-1])
    assert math.log(typical.mean_square) == pytest.approx(-2.5 * 11 / 32, rel=0.1)
    assert_agreement(graph, values[-1], repeats=400, decades=0.05, quantities=("log_length",))


def stream(eta: float, blocks: int, ending: str, width: int = 100) -> tuple[Graph, str]:
    """x + η N(x), whose modules end in a ReLU or in a linear map."""
    b = Builder((8, width))
    x = b.activation(b.linear(b.x, width))
    for _ in range(blocks):
        branch = b.activation(b.linear(x, width))
        if ending == "linear":
            branch = b.linear(branch, width)
        x = b.add(x, b.scale(branch, eta))
    return b.graph(b.linear(x, 10)), x


def growth(eta: float, blocks: int, ending: str) -> float:
    """Ln of the growth of E[M] over the blocks."""
    graph, _ = stream(eta, blocks, ending)
    return fold(graph).segments[0].residual_growth * math.log(10.0)


@pytest.mark.parametrize("total", [1.0, 4.0, 8.0])
def test_branches_that_end_in_relu_grow_with_the_sum_of_their_weights(total: float) -> None:
    """The index is Σ η however many modules share it, at a rate of at most 2/√π a unit."""
    few, many = growth(total / 32, 32, "relu"), growth(total / 128, 128, "relu")
    assert few == pytest.approx(many, rel=0.15)
    # η² adds ln(1 + η²) to the coherent 2 η c/√π, c = mean/rms <= 1.
    assert 0.6 * total < many < 2.0 / math.sqrt(math.pi) * total + total**2 / 128


@pytest.mark.parametrize("eta", [0.25, 1.0])
@pytest.mark.parametrize("blocks", [4, 12])
def test_branches_that_end_in_a_linear_map_grow_with_the_sum_of_squares(eta: float, blocks: int) -> None:
    """E[M_L] = M_0 Π (1 + η² v), with v = 2 for He twice and one ReLU."""
    assert growth(eta, blocks, "linear") == pytest.approx(blocks * math.log(1.0 + 2.0 * eta**2), rel=1e-6)
    graph, value = stream(eta, blocks, "linear")
    assert_agreement(graph, value, repeats=200, decades=0.02, quantities=("mean_square", "gain"))


@pytest.mark.parametrize(("eta", "blocks"), [(1.0, 6), (0.25, 16), (0.0625, 16)])
def test_growth_of_both_endings_against_networks(eta: float, blocks: int) -> None:
    for ending in ("relu", "linear"):
        graph, value = stream(eta, blocks, ending)
        assert_agreement(graph, value, repeats=150, decades=0.05, quantities=("mean_square", "mean", "log_length"))


@pytest.mark.parametrize("width", [1000, 2000])
def test_wide_he_relu_of_depth_200_is_clean(width: int) -> None:
    graph, _ = relu_net(width, 200)
    (segment,) = fold(graph).segments
    assert abs(segment.signal_gain) < 0.5
    assert segment.log_length_variance / 5.0 == pytest.approx(200 / width, rel=0.02)
    assert not run_rules([rule() for rule in RULES], graph)


@pytest.mark.parametrize("depth", [3, 8])
def test_pytorch_default_keeps_the_length_and_loses_the_signal(depth: int) -> None:
    """A layer of variance 1/(3 n) under a ReLU passes a sixth of the signal; its biases hold the length."""
    graph, values = relu_net(60, depth, "pytorch_default", "uniform(±1/√fan_in)")
    forward = fold(graph)
    for before, after in itertools.pairwise(values):
        ratio = known(forward, after).gain / known(forward, before).gain
        # A bias moves the share of active units a little only once the signal is gone.
        assert ratio == pytest.approx(1.0 / 6.0, rel=1e-3)
    last = known(forward, graph.main_output)
    # Var b = 1/(3 n) and a sixth of what came before: M settles at 1/(3 n) (1 + 1/5).
    stalled = 1.2 / 180 * (1.0 - 6.0 ** -(depth + 1)) + 6.0**-depth / 3.0
    assert last.mean_square == pytest.approx(stalled, rel=0.01)
    assert math.log10(known(forward, values[-1]).gain) == pytest.approx(-depth * math.log10(6.0), abs=0.01)
    assert_agreement(graph, values[-1], repeats=150, decades=0.06, correlation=0.1)
