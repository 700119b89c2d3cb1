"""INI503: units on the flat parts of their activation, layer after layer."""

from __future__ import annotations

import math
from statistics import NormalDist

import pytest
import torch
from rule_networks import findings, mlp, reported
from torch import nn
from torch_networks import from_torch

from initcheck import Builder, Op, Optimizer, Severity, sensitive_range
from initcheck.testing import through_onnx


@pytest.mark.parametrize(
    ("function", "edge"),
    [("tanh", 2.99), ("sigmoid", 5.98), ("hard_tanh", 1.0), ("hard_sigmoid", 3.0), ("softsign", 9.0)],
)
def test_where_functions_level_off(function: str, edge: float) -> None:
    ends = sensitive_range(function)
    assert ends is not None
    assert ends[1] == pytest.approx(edge, rel=0.02)
    assert ends[0] == pytest.approx(-ends[1])


@pytest.mark.parametrize("function", ["relu", "relu6", "gelu", "silu", "elu", "sin", "softplus", "exp", "no_such", ""])
def test_what_does_not_level_off_on_both_sides(function: str) -> None:
    assert sensitive_range(function) is None


def test_the_share_is_that_of_a_normal() -> None:
    (finding,) = findings("INI503", mlp([64] * 8, "normal(0, 4)", act="hard_tanh"))
    # Standard normal inputs make the first layer's the widest: 4 √64.
    inside = 2.0 * NormalDist().cdf(1.0 / 32.0) - 1.0
    assert finding.evidence["saturated"] == pytest.approx(1.0 - inside, abs=0.002)
    assert finding.evidence["log10_open"] == pytest.approx(8.0 * math.log10(inside), abs=0.3)
    assert finding.layers == tuple(f"fc{k}" for k in range(8))


@pytest.mark.parametrize(("depth", "found"), [(2, False), (6, False), (9, True)])
def test_harm_adds_up_over_layers(depth: int, found: bool) -> None:
    lines = ["warning INI503"] if found else []
    graph = mlp([64] * depth, "normal(0, 1)", act="tanh")
    assert reported(graph) == lines
    assert reported(graph, Optimizer.ADAM) == lines


def test_cause_and_help_name_the_weights() -> None:
    (finding,) = findings("INI503", mlp([64] * 9, "normal(0, 1)", act="tanh"))
    assert finding.severity is Severity.WARNING
    assert "tanh is flat beyond ±3" in finding.cause
    assert "which normal(0, 1) gives" in finding.cause
    assert finding.help.startswith("nn.init.kaiming_normal_(layer.weight")


def test_the_rule_that_tells_more_has_the_finding() -> None:
    assert reported(mlp([64] * 40, "normal(0, 1)", act="tanh")) == ["error INI102"]
    assert reported(mlp([64] * 3, act="sigmoid", special_bias={1: "constant(30)"})) == ["error INI101"]


@pytest.mark.parametrize("init", ["xavier_normal(gain=5/3)", "orthogonal", "lecun_normal"])
def test_tanh_at_the_scales_that_people_use(init: str) -> None:
    assert findings("INI503", mlp([64] * 30, init, act="tanh")) == ()


def test_one_saturated_layer_and_closed_gates_are_healthy() -> None:
    assert findings("INI503", mlp([64] * 4, "lecun_normal", act="tanh", special={1: "normal(0, 5)"})) == ()
    b = Builder()
    x = b.linear(b.x, 64)
    for _ in range(10):
        gate = b.activation(b.linear(x, 64, "normal(0, 0.01)", bias="constant(-8)"), "sigmoid")
        x = b.add(x, b.combine(Op.MUL, gate, b.activation(b.linear(x, 64), "tanh")))
    assert findings("INI503", b.graph(b.linear(x, 10))) == ()


def test_squashing_after_the_last_layer_is_the_affair_of_the_loss() -> None:
    b = Builder()
    x = b.linear(b.activation(b.linear(b.x, 64)), 10, "normal(0, 50)")
    for _ in range(4):
        x = b.activation(b.scale(x, 50.0), "tanh")
    assert findings("INI503", b.graph(x)) == ()


def stacked(depth: int, std: float) -> nn.Module:
    layers: list[nn.Module] = []
    for _ in range(depth):
        layer = nn.Linear(64, 64)
        nn.init.normal_(layer.weight, std=std)
        layers += [layer, nn.Hardtanh()]
    return nn.Sequential(*layers, nn.Linear(64, 10))


def lstm() -> nn.Module:
    """Three LSTM layers whose forget gates start open."""

    class Tagger(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.rnn = nn.LSTM(32, 64, num_layers=3, batch_first=True)
            for name, bias in self.rnn.named_parameters():
                if "bias_ih" in name:
                    nn.init.zeros_(bias)
                    nn.init.constant_(bias[64:128], 5.0)
            self.head = nn.Linear(64, 10)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.head(self.rnn(x)[0][:, -1])

    return Tagger()


def test_torch_factories_and_files_agree() -> None:
    (finding,) = findings("INI503", from_torch(lambda: stacked(6, 1.0), 32, 64))
    assert finding.layers == tuple(str(k) for k in range(0, 12, 2))
    assert findings("INI503", from_torch(lambda: stacked(6, 0.125), 32, 64)) == ()
    assert findings("INI503", from_torch(lstm, 8, 6, 32)) == ()
    assert reported(through_onnx(mlp([64] * 9, "normal(0, 1)", act="tanh"))) == ["warning INI503"]
