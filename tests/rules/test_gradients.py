"""INI501 and INI502: gradients that die or grow while lengths look healthy."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest
import torch
from rule_networks import findings, mlp, reported, residual
from torch import nn
from torch_networks import from_torch, sequential

from initcheck import Analysis, Builder, Op, Optimizer, Severity
from initcheck.testing import through_onnx

if TYPE_CHECKING:
    from collections.abc import Callable

    from initcheck import Graph

PER_LAYER = math.log10(math.pi / (math.pi - 1.0))
"""Decades that batch normalisation between ReLU layers adds on large batches (Yang et al. 2019)."""


def normalized(depth: int, *, skip: bool = False, init: str = "kaiming_normal", act: str = "relu") -> Graph:
    b = Builder()
    x = b.activation(b.linear(b.x, 64, path="stem"))
    for k in range(depth):
        y = b.activation(b.normalize(b.linear(x, 64, init, bias=None, path=f"fc{k}"), "batch"), act)
        x = b.add(x, y) if skip else y
    return b.graph(b.linear(x, 10, "lecun_normal"))


def growth(graph: Graph) -> float:
    return Analysis(graph).gradient_path[0].log10_sensitivity


def test_batch_normalization_adds_what_the_theory_says() -> None:
    shallow, deep = growth(normalized(20)), growth(normalized(60))
    # A batch of 32 takes out a little more than the common part, and units of 64 inputs are of unequal variance.
    assert (deep - shallow) / 40.0 == pytest.approx(PER_LAYER, rel=0.3)
    assert (deep - shallow) / 40.0 > PER_LAYER


@pytest.mark.parametrize("init", ["normal(0, 0.01)", "kaiming_normal", "normal(0, 1)"])
def test_the_scale_of_weights_before_a_normalization_is_free(init: str) -> None:
    assert growth(normalized(30, init=init)) == pytest.approx(growth(normalized(30)), abs=0.2)


@pytest.mark.parametrize(
    ("depth", "sgd", "adam"),
    [(24, [], []), (38, [Severity.WARNING], []), (52, [Severity.ERROR], [Severity.WARNING])],
)
def test_a_chain_of_batch_normalizations(depth: int, sgd: list[Severity], adam: list[Severity]) -> None:
    graph = normalized(depth)
    assert [finding.severity for finding in findings("INI502", graph)] == sgd
    assert [finding.severity for finding in findings("INI502", graph, Optimizer.ADAM)] == adam
    assert reported(graph) == [f"{severity} INI502" for severity in sgd]


def test_skip_connections_hold_it() -> None:
    assert reported(normalized(52, skip=True)) == []


def test_what_makes_it_grow_is_named() -> None:
    (finding,) = findings("INI502", normalized(52))
    assert finding.layers == tuple(f"fc{k}" for k in range(51))
    assert finding.message.endswith("over 51 layers (bound 10^8.0), up to fc0")
    assert "batch normalisation adds 0.2" in finding.cause
    assert "fan_in" not in finding.cause
    assert finding.help.startswith("x = x + block(x)")


def test_chaos_without_normalization_is_one_finding_of_the_weights() -> None:
    graph = mlp([64] * 60, "xavier_normal(gain=3)", act="tanh")
    assert reported(graph) == ["error INI102"]
    (finding,) = findings("INI502", graph)
    assert "xavier_normal(gain=3) gives 9/fan_in, tanh needs 1/fan_in" in finding.cause
    assert finding.help.startswith("nn.init.kaiming_normal_(layer.weight")


@pytest.mark.parametrize(
    "build",
    [
        lambda: mlp([100] * 14, "normal(0, 1)"),
        lambda: mlp([64] * 40, "xavier_normal"),
        lambda: mlp([64] * 12, special={5: "normal(0, 1000)"}),
        lambda: residual(40, 1.0, positive=False),
        lambda: residual(40, 0.5, positive=True),
    ],
)
def test_growth_that_goes_with_the_length_is_no_growth_of_the_gradient(build: Callable[[], Graph]) -> None:
    graph = build()
    assert findings("INI502", graph) == ()
    assert [line for line in reported(graph) if "INI5" in line] == []


def test_contributions_add_up_to_the_path() -> None:
    for graph in (normalized(12), normalized(12, skip=True), mlp([64] * 12, "pytorch_default", act="tanh")):
        path = Analysis(graph).gradient_path
        for here, following in pairwise(path):
            change = math.fsum(entry.amount for entry in here.contributions)
            assert change == pytest.approx(here.log10_sensitivity - following.log10_sensitivity, abs=1e-9)
        assert path[-1].contributions == ()
        assert path[-1].log10_sensitivity == 0.0


def test_inference_statistics_cap_at_a_note() -> None:
    b = Builder()
    x = b.x
    for k in range(54):
        x = b.activation(b.normalize(b.linear(x, 64), "batch", training=k != 9))
    assert [f.severity for f in findings("INI502", b.graph(b.linear(x, 10)))] == [Severity.NOTE]


def test_what_one_layer_adds_alone_is_not_a_chain() -> None:
    # Far below zero a ReLU passes next to nothing, and that little depends on everything.
    graph = mlp([64] * 6, special_bias={2: "constant(-20)"})
    assert max(step.log10_sensitivity for step in Analysis(graph).gradient_path) > 20.0
    assert findings("INI502", graph) == ()


def test_torch_factories_and_files_agree() -> None:
    graph = from_torch(lambda: sequential([64] * 54, lambda _: None, norm="batch"), 32, 64)
    assert reported(graph) == ["error INI502"]
    assert reported(through_onnx(normalized(52))) == ["error INI502"]
    assert reported(from_torch(lambda: sequential([64] * 54, lambda _: None, norm="layer"), 32, 64)) == []


class Encoder(nn.Module):
    """A stack of PyTorch's own encoder layers."""

    def __init__(self, layers: int, *, norm_first: bool) -> None:
        super().__init__()
        layer = nn.TransformerEncoderLayer(64, 4, 128, batch_first=True, norm_first=norm_first)
        self.encoder = nn.TransformerEncoder(layer, layers, enable_nested_tensor=False)
        self.head = nn.Linear(64, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.encoder(x).mean(1))


@pytest.mark.parametrize("norm_first", [False, True])
def test_deep_transformers_are_healthy(norm_first: bool) -> None:
    graph = from_torch(lambda: Encoder(24, norm_first=norm_first), 4, 16, 64)
    for optimizer in Optimizer:
        assert [line for line in reported(graph, optimizer) if "INI5" in line] == []


def long_branch(depth: int, init: str = "pytorch_default", *, act: str = "relu", last: str = "") -> Graph:
    b = Builder()
    x = b.linear(b.x, 64, "lecun_normal", path="stem")
    y = x
    for k in range(depth):
        y = b.linear(b.activation(y, act), 64, last if last and k == depth - 1 else init, path=f"fc{k}")
    return b.graph(b.linear(b.add(x, y), 10, "lecun_normal"))


@pytest.mark.parametrize(("depth", "expected"), [(3, []), (8, [Severity.WARNING]), (16, [Severity.ERROR])])
def test_a_plain_network_inside_one_skip_connection(depth: int, expected: list[Severity]) -> None:
    graph = long_branch(depth)
    found = findings("INI501", graph)
    assert [finding.severity for finding in found] == expected
    for finding in found:
        # One third of 2/fan_in per layer, over what lies between the first layer and the last.
        assert finding.evidence["log10_gradient_loss"] == pytest.approx(-(depth - 1) * math.log10(6.0), rel=0.02)
        assert "inside a residual branch" in finding.message
        assert "gives 0.33/fan_in, ReLU needs 2/fan_in" in finding.cause
        assert finding.layers == tuple(f"fc{k}" for k in range(depth))
    assert reported(graph) == [f"{severity} INI501" for severity in expected]


@pytest.mark.parametrize("last", ["kaiming_normal", "zeros", "normal(0, 1e-6)"])
def test_a_branch_that_is_small_by_one_factor_is_healthy(last: str) -> None:
    assert findings("INI501", long_branch(16, "kaiming_normal", last=last)) == ()


def test_a_small_scale_behind_a_branch_is_healthy() -> None:
    b = Builder()
    x = b.linear(b.x, 64, "lecun_normal")
    for k in range(6):
        y = b.linear(b.activation(b.linear(b.normalize(x), 256, "normal(0, 0.02)"), "gelu"), 64, "normal(0, 0.02)")
        x = b.add(x, b.combine(Op.MUL, y, b.parameter(f"gamma{k}", (64,), "constant(1e-06)")))
    assert findings("INI501", b.graph(b.linear(x, 10))) == ()


def test_where_the_signal_dies_as_well_it_is_one_finding() -> None:
    assert reported(mlp([64] * 20, "pytorch_default", bias="uniform(±1/√fan_in)")) == ["error INI101"]
    assert reported(mlp([64] * 30, "normal(0, 0.01)", bias="uniform(±1/√fan_in)", norm="layer")) == ["error INI105"]


class Shortcut(nn.Module):
    """Ten convolutions of PyTorch's default beside one skip connection."""

    def __init__(self, gain: float | None) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 16, 3, padding=1)
        self.convs = nn.ModuleList(nn.Conv2d(16, 16, 3, padding=1) for _ in range(10))
        self.head = nn.Linear(16, 10)
        if gain is not None:
            for conv in self.convs:
                nn.init.normal_(conv.weight, std=(gain / 144) ** 0.5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = y = self.stem(x)
        for conv in self.convs:
            y = conv(torch.relu(y))
        return self.head((x + y).mean((2, 3)))


def test_branches_of_torch_models() -> None:
    (finding,) = findings("INI501", from_torch(lambda: Shortcut(None), 4, 3, 8, 8))
    assert finding.layers[0] == "convs.0"
    assert finding.location is not None
    assert findings("INI501", from_torch(lambda: Shortcut(2.0), 4, 3, 8, 8)) == ()
    assert len(findings("INI501", through_onnx(long_branch(16)))) == 1
