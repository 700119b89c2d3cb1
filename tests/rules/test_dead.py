"""INI302, INI404, INI408: what is off, or stays zero, for good."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from rule_networks import findings, mlp, reported
from torch import nn
from torch_networks import from_torch, sequential

from initcheck import Builder, FailureMode, Op, Severity

if TYPE_CHECKING:
    from initcheck import Graph

HIDDEN = [64] * 5


@pytest.mark.parametrize(
    ("widths", "severity"),
    [
        ([64] * 8, None),
        ([64, 7] * 2, Severity.NOTE),
        ([64, 4] * 5, Severity.NOTE),
        ([64, 3] * 8, Severity.WARNING),
        ([2] * 30, Severity.ERROR),
        ([64, 1, 64], Severity.WARNING),
    ],
)
def test_lost_inputs_are_counted(widths: list[int], severity: Severity | None) -> None:
    found = findings("INI302", mlp(widths))
    assert [finding.severity for finding in found] == ([severity] if severity else [])
    for finding in found:
        survives = math.prod(1.0 - 0.5**width for width in widths)
        assert finding.evidence["probability"] == pytest.approx(1.0 - survives, rel=1e-6)


def test_the_probability_is_that_of_sampled_networks() -> None:
    rng = np.random.default_rng(0)
    draws, widths = 4000, [16, 3, 16, 4, 16]
    x = rng.normal(size=(draws, 1, 8))
    for width in widths:
        weight = rng.normal(size=(draws, x.shape[2], width)) * math.sqrt(2.0 / x.shape[2])
        x = np.maximum(x @ weight, 0.0)
    lost = np.mean(~x.any(axis=(1, 2)))
    (finding,) = findings("INI302", mlp(widths))
    assert finding.evidence["probability"] == pytest.approx(lost, abs=4.0 * math.sqrt(lost * (1.0 - lost) / draws))


@pytest.mark.parametrize("act", ["tanh", "leaky_relu", "gelu"])
def test_only_what_is_exactly_off_counts(act: str) -> None:
    assert findings("INI302", mlp([2] * 30, act=act)) == ()


@pytest.mark.parametrize("norm", ["layer", "batch"])
def test_a_normalisation_keeps_some_units_on(norm: str) -> None:
    assert findings("INI302", mlp([3] * 30, norm=norm)) == ()


def test_a_way_around_a_narrow_layer_saves_the_input() -> None:
    b = Builder()
    x = b.linear(b.x, 64)
    for _ in range(40):
        x = b.add(x, b.linear(b.activation(b.linear(x, 2)), 64, "normal(0, 0.01)"))
    assert findings("INI302", b.graph(b.linear(x, 10))) == ()


def test_positions_of_an_image_count_while_they_differ() -> None:
    def network(size: int) -> Graph:
        b = Builder((8, 3, size, size))
        x = b.activation(b.conv(b.x, 4))
        return b.graph(b.linear(b.pool(x), 10))

    (finding,) = findings("INI302", network(1))
    assert finding.evidence["probability"] == pytest.approx(1.0 / 16.0)
    assert findings("INI302", network(8)) == ()


def test_narrowness_is_one_finding() -> None:
    assert reported(mlp([4] * 40)) == ["error INI301"]


@pytest.mark.parametrize(
    ("act", "bias", "severity"),
    [
        ("relu", "constant(-10)", Severity.ERROR),
        ("relu", "constant(-5)", Severity.WARNING),
        ("relu", "constant(-2)", None),
        ("relu", "constant(10)", None),
        ("relu", "normal(0, 10)", None),
        ("relu", "normal(-12, 4)", Severity.WARNING),
        ("gelu", "constant(-15)", Severity.ERROR),
        ("silu", "constant(-20)", Severity.ERROR),
        ("sigmoid", "constant(-10)", None),
        ("tanh", "constant(-10)", None),
        ("leaky_relu", "constant(-10)", None),
    ],
)
def test_biases_that_switch_units_off(act: str, bias: str, severity: Severity | None) -> None:
    found = findings("INI404", mlp(HIDDEN, act=act, special_bias={2: bias}))
    assert [finding.severity for finding in found] == ([severity] if severity else [])
    for finding in found:
        assert finding.layers == ("fc2",)
        assert finding.failure_mode is FailureMode.DEAD


def test_the_share_of_units_is_counted_from_their_own_biases() -> None:
    rng = np.random.default_rng(0)
    bias = np.where(rng.random(64) < 0.8, -12.0, 0.0)
    (finding,) = findings("INI404", mlp(HIDDEN, special_bias={2: bias}))
    assert finding.evidence["units_off"] == pytest.approx(np.mean(bias < 0.0))
    assert finding.severity is Severity.WARNING


def test_off_units_on_a_residual_branch_are_a_warning() -> None:
    b = Builder()
    x = b.linear(b.x, 64)
    x = b.add(x, b.linear(b.activation(b.linear(x, 64, bias="constant(-12)", path="fc")), 64))
    (finding,) = findings("INI404", b.graph(b.linear(x, 10)))
    assert finding.severity is Severity.WARNING
    assert finding.layers == ("fc",)


def test_shifts_of_norms_and_added_parameters_count() -> None:
    b = Builder()
    x = b.activation(b.normalize(b.linear(b.x, 64), shift="constant(-6)", path="norm"))
    offset = b.parameter("offset", (64,), "constant(8)")
    x = b.activation(b.combine(Op.SUB, b.linear(x, 64), offset, path="sub"))
    (finding,) = findings("INI404", b.graph(b.linear(x, 10)))
    assert set(finding.layers) == {"norm", "sub"}


def test_a_dead_layer_is_one_finding() -> None:
    assert reported(mlp(HIDDEN, special_bias={2: "constant(-20)"})) == ["error INI404"]
    assert reported(mlp(HIDDEN, special_bias=dict.fromkeys(range(5), "constant(-20)"))) == ["error INI404"]


def test_a_step_size_that_starts_small_is_no_dead_unit() -> None:
    def network(*, scales: bool) -> Graph:
        b = Builder()
        x = b.activation(b.linear(b.x, 64))
        step = b.activation(b.linear(x, 64, "normal(0, 0.02)", bias="constant(-7)"), "softplus")
        return b.graph(b.linear(b.combine(Op.MUL, step, x) if scales else step, 10))

    assert findings("INI404", network(scales=True)) == ()
    assert findings("INI404", network(scales=False)) != ()


def test_dead_units_in_pytorch() -> None:
    def change(layers: list[nn.Linear]) -> None:
        nn.init.constant_(layers[1].bias, -10.0)

    (finding,) = findings("INI404", from_torch(lambda: sequential([64] * 4, change), 8, 64))
    assert finding.layers == ("2",)
    assert finding.severity is Severity.ERROR
    assert finding.help == "nn.init.zeros_(layer.bias)"


class Adapted(nn.Module):
    """A layer with a low-rank update."""

    def __init__(self, a: Any, b: Any) -> None:
        super().__init__()
        self.base = nn.Linear(64, 64)
        self.lora_a = nn.Parameter(torch.empty(4, 64))
        self.lora_b = nn.Parameter(torch.empty(64, 4))
        a(self.lora_a)
        b(self.lora_b)
        self.head = nn.Linear(64, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(torch.relu(self.base(x) + x @ self.lora_a.t() @ self.lora_b.t()))


@pytest.mark.parametrize(
    ("a", "b", "stuck"),
    [
        (nn.init.zeros_, nn.init.zeros_, 2),
        (nn.init.kaiming_uniform_, nn.init.zeros_, 0),
        (nn.init.zeros_, nn.init.normal_, 0),
    ],
)
def test_low_rank_pairs(a: Any, b: Any, stuck: int) -> None:
    found = findings("INI408", from_torch(lambda: Adapted(a, b), 8, 64))
    assert [finding.evidence["stuck"] for finding in found] == ([stuck] if stuck else [])
    for finding in found:
        assert finding.severity is Severity.ERROR
        assert "lora_a" in finding.message
        assert "nn.init.kaiming_uniform_(lora_a" in finding.help


@pytest.mark.parametrize(
    ("gate", "last", "stuck"),
    [("zeros", "zeros", 2), ("zeros", "kaiming_normal", 0), ("ones", "zeros", 0), ("constant(1e-6)", "zeros", 0)],
)
def test_a_gate_of_zero_before_a_layer_of_zeros(gate: str, last: str, stuck: int) -> None:
    b = Builder()
    x = b.linear(b.x, 64)
    for k in range(3):
        branch = b.linear(b.activation(b.linear(b.normalize(x), 64)), 64, last, path=f"last{k}")
        x = b.add(x, b.scale(branch, b.parameter(f"gate{k}", (1,), gate)))
    graph = b.graph(b.linear(x, 10))
    found = findings("INI408", graph)
    assert [finding.evidence["stuck"] for finding in found] == ([3 * stuck] if stuck else [])
    assert reported(graph) == (["error INI408"] if stuck else [])


def test_the_first_layer_of_a_relu_branch_must_not_be_zero() -> None:
    def network(first: str, act: str) -> Graph:
        b = Builder()
        x = b.linear(b.x, 64)
        x = b.add(x, b.linear(b.activation(b.linear(x, 64, first, path="first"), act), 64))
        return b.graph(b.linear(x, 10))

    (finding,) = findings("INI408", network("zeros", "relu"))
    assert finding.layers == ("first",)
    assert "slope zero" in finding.cause
    assert findings("INI408", network("zeros", "tanh")) == ()
    assert findings("INI408", network("kaiming_normal", "relu")) == ()


def test_zeros_on_the_main_path_stay_one_finding() -> None:
    assert reported(mlp(HIDDEN, act="tanh", special={1: "zeros", 3: "zeros"})) == ["error INI402"]
    assert reported(mlp([64] * 3, "zeros", act="tanh")) == ["error INI403"]
