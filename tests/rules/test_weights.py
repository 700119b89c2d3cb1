"""INI401 to INI403: what trains and what does not, as measured by training such networks."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from rule_networks import findings, mlp, reported
from torch import nn
from torch_networks import from_torch, sequential

from initcheck import Builder, FailureMode, Graph, Op, Severity

HIDDEN = [64] * 5


def copies(fan_in: int = 64) -> np.ndarray:
    return np.tile(np.random.default_rng(0).normal(0.0, (2.0 / fan_in) ** 0.5, (1, fan_in)), (64, 1))


def test_non_finite_elements_are_counted_and_placed() -> None:
    weight = np.zeros((64, 64))
    weight[3, 4] = np.nan
    weight[0, 0] = np.inf
    bias = np.zeros(64)
    bias[1] = np.nan
    found = findings("INI401", mlp(HIDDEN, special={2: weight}, special_bias={4: bias}))
    assert [finding.layers for finding in found] == [("fc2",), ("fc4",)]
    assert "fc2.weight holds 2 of 4096 elements" in found[0].message
    assert all(finding.severity is Severity.ERROR for finding in found)


@pytest.mark.parametrize("value", [np.inf, np.nan])
def test_a_weight_without_a_finite_element_is_not_called_vanishing(value: float) -> None:
    assert reported(mlp(HIDDEN, special={2: np.full((64, 64), value)})) == ["error INI401"]


def test_minus_infinity_in_a_mask_is_meant() -> None:
    b = Builder((4, 8, 16))
    mask = b.parameter("mask", (8, 16), np.where(np.eye(8, 16), 0.0, -np.inf))
    x = b.linear(b.add(b.x, mask), 10)
    assert findings("INI401", b.graph(x)) == ()
    broken = b.parameter("offset", (16,), np.array([np.nan] * 16))
    assert len(findings("INI401", b.graph(b.linear(b.add(b.x, broken), 10)))) == 1


@pytest.mark.parametrize(
    ("act", "zeros", "expected"),
    [
        ("relu", [2], ["error INI402"]),
        ("relu", [4], ["error INI402"]),
        ("relu6", [2], ["error INI402"]),
        ("tanh", [2], ["note INI402"]),
        ("gelu", [2], ["note INI402"]),
        ("leaky_relu", [2], ["note INI402"]),
        ("tanh", [1, 3], ["error INI402"]),
        ("tanh", [2, 5], ["error INI402"]),
        ("tanh", [5], []),
        ("relu", [5], []),
    ],
)
def test_zeros_cut_the_signal_where_no_gradient_mends_them(act: str, zeros: list[int], expected: list[str]) -> None:
    init = "xavier_normal" if act == "tanh" else "kaiming_normal"
    assert reported(mlp(HIDDEN, init, act=act, special=dict.fromkeys(zeros, "zeros"))) == expected


def test_biases_that_hold_the_activations_up_let_zeros_recover() -> None:
    zeros = {1: "zeros", 3: "zeros"}
    assert reported(mlp(HIDDEN, special=zeros, bias="normal(0, 0.5)")) == ["note INI402"]


def normalised(function: str, scales: list[str]) -> Graph:
    b = Builder()
    x = b.x
    for k, scale in enumerate(scales):
        normed = b.normalize(b.linear(x, 64, path=f"fc{k}"), scale=scale, path=f"norm{k}")
        x = b.activation(normed, function) if function else normed
    return b.graph(b.linear(x, 10, path="head"))


@pytest.mark.parametrize(
    ("function", "scales", "expected"),
    [
        ("", ["ones", "zeros"], ["note INI402"]),
        ("tanh", ["ones", "zeros"], ["note INI402"]),
        ("relu", ["ones", "zeros"], ["error INI402"]),
        ("tanh", ["zeros"] * 3, ["error INI402"]),
    ],
)
def test_a_scale_of_zero_is_judged_as_a_layer_of_zeros(function: str, scales: list[str], expected: list[str]) -> None:
    assert reported(normalised(function, scales)) == expected


def test_the_scale_is_what_to_change() -> None:
    (finding,) = findings("INI402", normalised("relu", ["ones", "zeros"]))
    assert finding.help == "nn.init.ones_(norm1.weight)"
    assert finding.layers == ("norm1",)


def test_zeros_on_a_residual_branch_or_behind_its_gate_are_healthy() -> None:
    b = Builder()
    x = b.linear(b.x, 64)
    x = b.add(x, b.linear(b.activation(b.linear(x, 64)), 64, "zeros"))
    gate = b.linear(b.activation(x, "silu"), 64, "zeros")
    x = b.add(x, b.combine(Op.MUL, b.linear(x, 64), gate))
    assert reported(b.graph(b.linear(x, 10, "zeros"))) == []


def test_all_zero_is_a_matter_of_symmetry() -> None:
    (finding,) = findings("INI403", mlp([64] * 3, "zeros", act="tanh"))
    assert finding.failure_mode is FailureMode.SYMMETRY
    assert finding.severity is Severity.ERROR
    assert reported(mlp([64] * 3, "zeros", act="tanh")) == ["error INI403"]


@pytest.mark.parametrize(
    ("special", "severity"),
    [
        ({0: "constant(0.02)"}, None),
        ({2: "constant(0.02)"}, None),
        ({2: "copies"}, Severity.NOTE),
        ({5: "constant(0.1)"}, None),
        ({2: "constant(0.02)", 3: "constant(0.02)"}, Severity.WARNING),
        ({4: "copies", 5: "constant(0.1)"}, Severity.WARNING),
        ({4: "copies", 5: "zeros"}, Severity.WARNING),
        (dict.fromkeys(range(5), "constant(0.02)"), Severity.ERROR),
        (dict.fromkeys(range(6), "constant(0.02)"), Severity.ERROR),
        (dict.fromkeys(range(5), "copies"), Severity.ERROR),
    ],
)
def test_copies_matter_where_what_reads_them_does_not_tell_them_apart(
    special: dict[int, str], severity: Severity | None
) -> None:
    weights = {k: copies() if init == "copies" else init for k, init in special.items()}
    found = findings("INI403", mlp(HIDDEN, special=weights))
    assert [finding.severity for finding in found] == ([severity] if severity else [])


def test_copies_of_some_units_are_a_note() -> None:
    weight = np.random.default_rng(0).normal(0.0, 0.177, (64, 64))
    weight[48:] = weight[:16]
    (finding,) = findings("INI403", mlp(HIDDEN, special={2: weight}))
    assert finding.severity is Severity.NOTE
    assert finding.message == "16 of 64 units of fc2 start as copies of others (bound 0)"
    rng = np.random.default_rng(1)
    signs = {0: rng.choice([-0.2, 0.2], (64, 6)), 1: rng.choice([-0.2, 0.2], (64, 64))}
    b = Builder((32, 6))
    x = b.activation(b.linear(b.activation(b.linear(b.x, 64, signs[0])), 64, signs[1]))
    assert findings("INI403", b.graph(b.linear(x, 10))) == ()


def test_copies_in_pytorch_are_counted_in_values() -> None:
    def repeat(layers: list[nn.Linear]) -> None:
        for layer in layers:
            layer.weight.data = (torch.randn(1, 64) * 0.177).repeat(64, 1)

    (finding,) = findings("INI403", from_torch(lambda: sequential([64] * 5, repeat), 8, 64))
    assert finding.severity is Severity.ERROR
    assert finding.cause == "0: all 64 rows are the same"


def test_what_tells_units_apart_breaks_the_symmetry() -> None:
    constant = dict.fromkeys(range(6), "constant(0.02)")
    assert findings("INI403", mlp(HIDDEN, special=constant)) != ()
    assert findings("INI403", mlp(HIDDEN, special=constant, bias="uniform(±1/√fan_in)")) == ()
    b = Builder()
    x = b.x
    for _ in range(4):
        x = b.activation(b.linear(x, 64, "constant(0.02)"))
        x = b.node(Op.DROPOUT, (x,), (32, 64), {"rate": 0.1, "training": True})
    assert findings("INI403", b.graph(b.linear(x, 10))) == ()


def test_constant_filters_are_copies_but_depthwise_ones_are_not() -> None:
    def network(groups: int) -> int:
        b = Builder((4, 12, 8, 8))
        x = b.x
        for _ in range(3):
            x = b.activation(b.conv(x, 12, "constant(0.01)", groups=groups))
        return len(findings("INI403", b.graph(b.linear(b.pool(x), 10, "constant(0.1)"))))

    assert network(groups=1) == 1
    assert network(groups=12) == 0


def test_identities_and_norms_of_ones_are_no_copies() -> None:
    assert reported(mlp(HIDDEN, special=dict.fromkeys(range(1, 5), "identity"), norm="layer")) == []
