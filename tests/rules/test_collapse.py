"""INI105: all inputs alike at the end of the network."""

from __future__ import annotations

import math

import pytest
from rule_networks import findings, mlp, reported
from torch import nn
from torch_networks import from_torch, sequential

from initcheck import Analysis, Builder, Graph, Op, Optimizer, Severity
from initcheck.testing import through_onnx

DEFAULT_BIAS = "uniform(±1/√fan_in)"


def biased(depth: int, std: float = 0.01, *, norm: str = "layer", bias: str = DEFAULT_BIAS) -> Graph:
    return mlp([64] * depth, f"normal(0, {std})", bias=bias, norm=norm)


def kept(std: float) -> float:
    """Share of the mean square that weights leave to the input: n σ² / 2 behind a ReLU, beside 1/(3 n) of the bias."""
    weights = 64.0 * std * std * 0.5
    return weights / (weights + 1.0 / 192.0)


@pytest.mark.parametrize(("depth", "expected"), [(8, []), (14, [Severity.WARNING]), (30, [Severity.ERROR])])
def test_layer_normalization_hides_biases_that_outweigh_the_weights(depth: int, expected: list[Severity]) -> None:
    graph = biased(depth)
    found = findings("INI105", graph)
    assert [finding.severity for finding in found] == expected
    assert findings("INI101", graph) == ()
    for finding in found:
        # Layer by layer, once the cosine is near one.
        per_layer = finding.evidence["log10_decay"] / finding.evidence["layers"]
        assert per_layer == pytest.approx(math.log10(kept(0.01)), rel=0.15)
        assert "the bias makes up 62% of the mean square" in finding.cause


def test_adam_has_wider_bounds() -> None:
    assert reported(biased(20)) == ["error INI105"]
    assert reported(biased(20), Optimizer.ADAM) == []


@pytest.mark.parametrize("depth", [30, 60])
def test_batch_normalization_takes_out_what_inputs_have_in_common(depth: int) -> None:
    assert findings("INI105", biased(depth, norm="batch")) == ()


@pytest.mark.parametrize("depth", [30, 200])
def test_the_polynomial_drift_of_a_critical_network_is_healthy(depth: int) -> None:
    graph = mlp([64] * depth)
    path = Analysis(graph).gradient_path
    signals = [Analysis(graph).forward.signals[step.node.outputs[0]] for step in path[-1:]]
    assert all(s is not None and s.pair_sample > 0.97 * s.mean_square for s in signals)
    assert findings("INI105", graph) == ()
    assert findings("INI105", mlp([64] * depth, norm="layer")) == ()
    assert findings("INI105", mlp([64] * depth, "orthogonal", act="tanh")) == ()


def test_without_normalization_it_is_part_of_the_vanishing_signal() -> None:
    graph = mlp([64] * 30, "xavier_normal(gain=0.7)", act="tanh", bias="normal(0, 0.3)")
    assert [finding.severity for finding in findings("INI105", graph)] == [Severity.ERROR]
    assert reported(graph) == ["error INI101"]


def test_the_mean_of_sigmoid_is_named() -> None:
    graph = mlp([64] * 12, "xavier_normal", act="sigmoid")
    (finding,) = findings("INI105", graph)
    assert finding.cause == "sigmoid gives all inputs a mean in common"
    assert reported(graph) == ["error INI101"]


def test_what_does_not_depend_on_the_input_is_not_meant() -> None:
    b = Builder((4, 16, 64))
    token = b.parameter("token", (1, 16, 64), "normal(0, 1)")
    x = b.add(b.linear(b.x, 64, "normal(0, 0.02)"), token)
    for _ in range(12):
        query, key, value = (b.linear(b.normalize(x), 64, "normal(0, 0.02)") for _ in range(3))
        mixed = b.node(Op.ATTENTION, (query, key, value), (4, 16, 64), {"scale": 0.125, "causal": False})
        x = b.add(x, b.linear(mixed, 64, "normal(0, 0.02)"))
    assert findings("INI105", b.graph(b.linear(x, 10))) == ()


def small(layers: list[nn.Linear]) -> None:
    for layer in layers:
        nn.init.normal_(layer.weight, std=0.01)
        nn.init.uniform_(layer.bias, -0.125, 0.125)


def test_torch_factories_and_files_agree() -> None:
    (finding,) = findings("INI105", from_torch(lambda: sequential([64] * 25, small, norm="layer"), 32, 64))
    assert finding.location is not None
    assert findings("INI105", from_torch(lambda: sequential([64] * 25, lambda _: None, norm="layer"), 32, 64)) == ()
    assert reported(through_onnx(biased(24))) == ["error INI105"]
