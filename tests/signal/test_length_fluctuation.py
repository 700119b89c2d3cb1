"""Var[ln M]: constants per layer, dilution by skips, resets by norms, against formulas and sampled networks."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sampling import fold, known, sample
from scipy import stats

from initcheck.analysis import Analysis
from initcheck.builder import Builder
from initcheck.graph import Graph, Op


def chain(width: int, depth: int, scheme: str, function: str = "", **arguments: float) -> tuple[Graph, str]:
    """Layers of one width, a head, and the last hidden value."""
    b = Builder((4, width))
    x = b.x
    for _ in range(depth):
        x = b.linear(x, width, scheme, bias=None)
        x = b.activation(x, function, **arguments) if function else x
    return b.graph(b.linear(x, 10)), x


def sampled(graph: Graph, value: str, repeats: int) -> tuple[float, float]:
    """Var[ln M] over networks at a fixed input and its standard error."""
    axes = {value: known(fold(graph), value).axes}
    return sample(graph, axes, repeats, fixed_input=True)[value].log_length_variance()


LEAKY = 6.0 * (1.0 + 0.3**4) / (1.0 + 0.3**2) ** 2 - 1.0


@pytest.mark.parametrize(
    ("scheme", "function", "arguments", "constant"),
    [
        ("kaiming_normal", "relu", {}, 5.0),
        ("kaiming_uniform", "relu", {}, 5.0),
        ("kaiming_normal(truncated)", "relu", {}, 5.0),
        ("lecun_normal", "", {}, 2.0),
        ("orthogonal(gain=√2)", "relu", {}, 3.0),
        ("kaiming_normal(a=0.3)", "leaky_relu", {"alpha": 0.3}, LEAKY),
    ],
)
def test_constants_per_layer(scheme: str, function: str, arguments: dict[str, float], constant: float) -> None:
    scheme = scheme.replace("√2", repr(math.sqrt(2.0)))
    graph, value = chain(64, 8, scheme, function, **arguments)
    predicted = fold(graph).segments[0].log_length_variance
    # To first order in 1/n; at 64 units the exact constants are 5.3 and, orthogonal, 3.3.
    assert predicted == pytest.approx(8 * constant / 64, rel=0.1)
    variance, error = sampled(graph, value, 400)
    assert predicted == pytest.approx(variance, abs=4.0 * error + 0.15 * variance)


def test_orthogonal_linear_maps_do_not_fluctuate() -> None:
    graph, value = chain(64, 8, "orthogonal")
    assert fold(graph).segments[0].log_length_variance == pytest.approx(0.0, abs=1e-9)
    variance, _ = sampled(graph, value, 20)
    assert variance == pytest.approx(0.0, abs=1e-9)


@pytest.mark.parametrize("function", ["tanh", "gelu", "selu"])
def test_functions_that_are_not_homogeneous(function: str) -> None:
    graph, value = chain(64, 6, "kaiming_normal", function)
    predicted = fold(graph, typical=True).segments[0].log_length_variance
    variance, error = sampled(graph, value, 300)
    assert predicted == pytest.approx(variance, abs=4.0 * error + 0.1 * variance)


@pytest.mark.parametrize("scheme", ["kaiming_normal", "orthogonal(gain=1.4142135623730951)"])
def test_lengths_that_leave_the_range_of_a_tangent(scheme: str) -> None:
    """GELU amplifies fluctuations where it is neither linear nor ReLU; a tangent at the typical length says 6 to 10."""
    graph, value = chain(32, 10, scheme, "gelu")
    predicted = known(fold(graph, typical=True), value)
    axes = {value: predicted.axes}
    measured = sample(graph, axes, 400, fixed_input=True)[value]
    variance, error = measured.log_length_variance()
    assert predicted.log_length_variance() == pytest.approx(variance, abs=4.0 * error + 0.15 * variance)
    mean, error = measured.average("log_length")
    assert math.log(predicted.mean_square) + predicted.drift() == pytest.approx(mean, abs=4.0 * error + 0.15)


@pytest.mark.parametrize(("width", "constant"), [(4, 11.7), (8, 10.0), (16, 6.7), (32, 5.7)])
def test_narrow_layers(width: int, constant: float) -> None:
    """Below 32 units the variance exceeds 5/n: that of ln of a chi-square mean over a binomial number of units."""
    graph, value = chain(width, 4, "kaiming_normal", "relu")
    predicted = fold(graph).segments[0].log_length_variance
    assert predicted == pytest.approx(4 * constant / width, rel=0.02)
    axes = {value: known(fold(graph), value).axes}
    lengths = sample(graph, axes, 1200, fixed_input=True)[value].lengths
    logs = np.log(np.array([row for row in lengths if np.all(row > 0.0)]))
    assert predicted == pytest.approx(float(logs.var(axis=0).mean()), rel=0.2)


@pytest.mark.parametrize("eta", [1.0, 0.3])
def test_skips_dilute(eta: float) -> None:
    """Per block (7 a² + 4 a (1 - a))/n with a = η²/(1 + η²), for x + η W₂ relu(W₁ x) with a critical branch."""
    width, blocks = 64, 8
    b = Builder((4, width))
    x = b.x
    for _ in range(blocks):
        branch = b.linear(b.activation(b.linear(x, width, bias=None)), width, "lecun_normal", bias=None)
        x = b.add(x, b.scale(branch, eta))
    graph = b.graph(b.linear(x, 10))
    share = eta**2 / (1.0 + eta**2)
    formula = blocks * (7.0 * share**2 + 4.0 * share * (1.0 - share)) / width
    predicted = fold(graph).segments[0].log_length_variance
    assert predicted == pytest.approx(formula, rel=0.1)
    variance, error = sampled(graph, x, 300)
    assert predicted == pytest.approx(variance, abs=4.0 * error + 0.1 * variance)


@pytest.mark.parametrize("kind", ["layer", "rms", "batch"])
def test_norms_reset(kind: str) -> None:
    b = Builder((32, 48))
    x = b.x
    for _ in range(4):
        x = b.normalize(b.activation(b.linear(x, 48, bias=None)), kind)
    y = b.activation(b.linear(x, 48, bias=None))
    graph = b.graph(b.linear(y, 10))
    forward = fold(graph)
    assert known(forward, x).log_length_variance() < 0.02
    predicted = known(forward, y).log_length_variance()
    one_layer, _ = chain(48, 1, "kaiming_normal", "relu")
    assert predicted == pytest.approx(fold(one_layer).segments[0].log_length_variance, rel=0.15)
    if kind != "batch":
        variance, error = sampled(graph, y, 300)
        assert predicted == pytest.approx(variance, abs=4.0 * error + 0.3 * variance)


@pytest.mark.parametrize("gate", ["sigmoid", "silu", "identity"])
def test_gated_layers(gate: str) -> None:
    b = Builder((4, 96))
    x = b.x
    for _ in range(3):
        open_, value = b.linear(x, 96, "lecun_normal", bias=None), b.linear(x, 96, "lecun_normal", bias=None)
        open_ = open_ if gate == "identity" else b.activation(open_, gate)
        x = b.linear(b.combine(Op.MUL, open_, value), 96, "lecun_normal", bias=None)
    graph = b.graph(b.linear(x, 10))
    predicted = fold(graph, typical=True).segments[0].log_length_variance
    variance, error = sampled(graph, x, 400)
    assert predicted == pytest.approx(variance, abs=4.0 * error + 0.35 * variance)


@settings(deadline=None, max_examples=20)
@given(st.permutations([16, 24, 48, 96, 192]))
def test_the_order_of_the_widths_does_not_matter(widths: list[int]) -> None:
    assert fluctuation_of(widths) == pytest.approx(fluctuation_of(sorted(widths)), rel=1e-6)


def test_equal_sums_of_reciprocals_fluctuate_alike() -> None:
    """Eight layers with Σ 1/n = 1/8, drawn and predicted: equal widths, one narrow layer, every other one narrow."""
    profiles = [[64] * 8, [24, *[84] * 7], [44, 117.3] * 4]
    predicted, measured = [], []
    for profile in profiles:
        widths = [round(width) for width in profile]
        assert sum(1.0 / width for width in widths) == pytest.approx(1.0 / 8.0, rel=0.01)
        graph, value = of_widths(widths)
        predicted.append(fold(graph).segments[0].log_length_variance)
        measured.append(sampled(graph, value, 250))
    for prediction, (variance, error) in zip(predicted, measured, strict=True):
        # The narrow layer adds what goes beyond the first order.
        assert prediction == pytest.approx(predicted[0], rel=0.1)
        assert prediction == pytest.approx(variance, abs=4.0 * error)


def of_widths(widths: list[int]) -> tuple[Graph, str]:
    b = Builder((4, 64))
    x = b.x
    for width in widths:
        x = b.activation(b.linear(x, width, bias=None))
    return b.graph(b.linear(x, 10)), x


def fluctuation_of(widths: list[int]) -> float:
    return fold(of_widths(widths)[0]).segments[0].log_length_variance


def test_the_logarithm_of_the_length_is_normal() -> None:
    """ln M ~ N(-V/2, V), V = 5 Σ 1/n and what goes beyond the first order."""
    graph, value = chain(40, 20, "kaiming_normal", "relu")
    predicted = known(fold(graph, typical=True), value)
    lengths = np.array(sample(graph, {value: predicted.axes}, 600, fixed_input=True)[value].lengths)
    variance = predicted.log_length_variance()
    assert variance == pytest.approx(20 * 5.5 / 40, rel=0.03)
    centre = math.log(predicted.mean_square) + predicted.drift()
    assert centre == pytest.approx(-0.5 * variance, rel=0.08)
    # Inputs share their networks; each is a sample of its own.
    for logs in np.log(lengths).T:
        assert stats.kstest((logs - centre) / math.sqrt(variance), "norm").pvalue > 1e-3
        assert abs(stats.skew(logs)) < 0.5


def test_exponentials_of_exponentials() -> None:
    """Their elasticity is beyond all numbers; one unit makes up the length."""
    b = Builder((4, 8))
    x = b.activation(b.activation(b.linear(b.x, 8), "exp"), "exp")
    graph = b.graph(b.linear(x, 8))
    for typical in (False, True):
        variance = fold(graph, typical=typical).segments[0].log_length_variance
        assert 0.0 < variance < 5.0


def test_a_uniform_bias_fluctuates_less_than_a_sum() -> None:
    """Var[ln M] of units that are bias alone is (κ - 1)/n before the ReLU, κ = 1.8."""
    predicted = []
    for bias in ("uniform(±1/√fan_in)", f"normal(0, {math.sqrt(1.0 / 96.0)!r})"):
        b = Builder((4, 32))
        x = b.x
        for _ in range(6):
            x = b.activation(b.linear(x, 32, "pytorch_default", bias=bias))
        graph = b.graph(b.linear(x, 10))
        predicted.append(known(fold(graph, typical=True), x).log_length_variance())
        variance, error = sampled(graph, x, 400)
        assert predicted[-1] == pytest.approx(variance, abs=3.0 * error + 0.05 * variance)
    assert predicted[0] < 0.8 * predicted[1]


def test_what_a_rectifier_reads_off_a_stream_persists() -> None:
    """x + W₂ relu(W₁ relu(x)): which units of x are positive hardly changes from block to block."""
    width, blocks = 32, 8
    b = Builder((8, width))
    x = b.x
    for _ in range(blocks):
        branch = b.linear(b.activation(b.linear(b.activation(x), width, bias=None)), width, bias=None)
        x = b.add(x, branch)
    graph = b.graph(b.linear(x, 10))
    predicted = known(fold(graph, typical=True), x).log_length_variance()
    # As if every block drew its signs afresh: 3 for the first rectifier, 5 and 2 for the branch, and the inner product.
    afresh = (blocks * (10.0 * 0.25 + 1.0)) / width
    assert predicted > 1.15 * afresh
    variance, error = sampled(graph, x, 400)
    assert predicted == pytest.approx(variance, abs=4.0 * error + 0.15 * variance)


def test_additions_to_a_value_with_a_mean() -> None:
    """relu(x + η f): the inner product is that of f with all of x, its mean included."""
    width, blocks = 32, 10
    b = Builder((4, width))
    x = b.activation(b.linear(b.x, width, bias=None))
    for _ in range(blocks):
        branch = b.linear(b.activation(b.linear(x, width, bias=None)), width, bias=None)
        x = b.activation(b.add(x, b.scale(branch, 0.3)))
    graph = b.graph(b.linear(x, 10))
    predicted = known(fold(graph, typical=True), x).log_length_variance()
    variance, error = sampled(graph, x, 400)
    assert predicted == pytest.approx(variance, abs=4.0 * error + 0.15 * variance)


@pytest.mark.parametrize("bias", [-8.0, -10.0, -12.0])
def test_units_that_are_off_but_once_in_a_million_have_finite_fluctuation(bias: float) -> None:
    b = Builder((32, 128))
    x = b.x
    for _ in range(3):
        x = b.activation(b.linear(x, 128, bias=f"constant({bias})"))
    forward = Analysis(b.graph(b.linear(x, 10))).forward
    assert all(math.isfinite(s.log_length_variance()) for s in forward.signals.values() if s is not None)
