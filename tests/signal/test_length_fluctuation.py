"""Var[ln M]: constants per layer, dilution by skips, resets by norms, against formulas and sampled networks."""

from __future__ import annotations

import math

import numpy as np
import pytest
from sampling import fold, known, sample

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
    assert predicted == pytest.approx(8 * constant / 64, rel=0.07)
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
    # First order in the fluctuation, of which GELU amplifies what is left.
    assert predicted == pytest.approx(variance, abs=4.0 * error + 0.3 * variance)


@pytest.mark.parametrize("width", [8, 16, 32])
def test_narrow_layers(width: int) -> None:
    """Below 32 units the variance exceeds 5/n: that of ln of a chi-square mean over a binomial number of units."""
    graph, value = chain(width, 4, "kaiming_normal", "relu")
    predicted = fold(graph).segments[0].log_length_variance
    assert predicted > 4 * 5.0 / width
    axes = {value: known(fold(graph), value).axes}
    lengths = sample(graph, axes, 1500, fixed_input=True)[value].lengths
    logs = np.log(np.array([row for row in lengths if np.all(row > 0.0)]))
    assert predicted == pytest.approx(float(logs.var(axis=0).mean()), rel=0.35)


@pytest.mark.parametrize("eta", [1.0, 0.3])
def test_skips_dilute(eta: float) -> None:
    """Per block (7 a² + 4 a (1 - a))/n with a = η²/(1 + η²), for x + η W₂ relu(W₁ x) with a critical branch."""
    width, blocks = 48, 8
    b = Builder((4, width))
    x = b.x
    for _ in range(blocks):
        branch = b.linear(b.activation(b.linear(x, width, bias=None)), width, "lecun_normal", bias=None)
        x = b.add(x, b.scale(branch, eta))
    graph = b.graph(b.linear(x, 10))
    share = eta**2 / (1.0 + eta**2)
    formula = blocks * (7.0 * share**2 + 4.0 * share * (1.0 - share)) / width
    predicted = fold(graph).segments[0].log_length_variance
    assert predicted == pytest.approx(formula, rel=0.15)
    variance, error = sampled(graph, x, 400)
    assert predicted == pytest.approx(variance, abs=4.0 * error + 0.25 * variance)


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


def test_positions_count_while_they_are_uncorrelated() -> None:
    """A bias-dominated token is the same everywhere, an independent one averages: n_eff between C and C T."""
    variances = []
    for bias in (None, "normal(0, 3)"):
        b = Builder((4, 16, 64))
        x = b.activation(b.linear(b.x, 64, bias=bias))
        y = b.activation(b.linear(x, 64, bias=None))
        graph = b.graph(b.linear(y, 10))
        predicted = known(fold(graph), y).log_length_variance()
        variance, error = sampled(graph, y, 300)
        assert predicted == pytest.approx(variance, abs=4.0 * error + 0.3 * variance)
        variances.append(predicted)
    assert variances[0] < 0.6 * variances[1]


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


@pytest.mark.parametrize("bias", [-8.0, -10.0, -12.0])
def test_units_that_are_off_but_once_in_a_million_have_finite_fluctuation(bias: float) -> None:
    b = Builder((32, 128))
    x = b.x
    for _ in range(3):
        x = b.activation(b.linear(x, 128, bias=f"constant({bias})"))
    forward = Analysis(b.graph(b.linear(x, 10))).forward
    assert all(math.isfinite(s.log_length_variance()) for s in forward.signals.values() if s is not None)
