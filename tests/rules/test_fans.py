"""INI103: which fans are wrong, where that matters, and what the right one is."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from rule_networks import findings, mlp, reported
from torch import nn
from torch_networks import from_torch

from initcheck import Builder, FailureMode, Graph, Op, Severity

if TYPE_CHECKING:
    from collections.abc import Callable


def separable(init: Any, *, norm: bool = False, blocks: int = 4) -> Graph:
    b = Builder((32, 64, 16, 16))
    x = b.x
    for _ in range(blocks):
        for groups, kernel in ((64, 3), (1, 1)):
            weight = init((64, 64 // groups, kernel, kernel)) if callable(init) else init
            x = b.conv(x, 64, weight, groups=groups, kernel=kernel, bias="uniform(±1/√fan_in)")
            x = b.normalize(x, "batch") if norm else x
        x = b.activation(x)
    return b.graph(b.linear(b.pool(x), 10))


def test_a_fan_that_counts_all_groups_explains_the_loss() -> None:
    (finding,) = findings("INI103", separable("kaiming_normal(fan_out)"))
    assert finding.severity is Severity.WARNING
    assert finding.failure_mode is FailureMode.VANISHING
    assert (finding.evidence["fan_counted"], finding.evidence["fan_summed"]) == (576, 9)
    assert finding.evidence["layers"] == 4
    assert "all 64 groups" in finding.cause
    assert reported(separable("kaiming_normal(fan_out)")) == ["warning INI103"]
    assert reported(separable("kaiming_normal(fan_out)", blocks=6)) == ["error INI103"]


def test_the_same_from_values_and_from_a_law_without_a_name() -> None:
    rng = np.random.default_rng(0)

    def drawn(shape: tuple[int, ...]) -> np.ndarray:
        # All 64 input channels counted, for every kernel size.
        return rng.normal(0.0, math.sqrt(2.0 / (64 * shape[2] * shape[3])), shape)

    (finding,) = findings("INI103", separable(drawn))
    assert finding.evidence["fan_summed"] == 9
    assert finding.evidence["fan_counted"] > 200


def test_a_normalisation_takes_the_scale_away() -> None:
    assert findings("INI103", separable("kaiming_normal(fan_out)", norm=True)) == ()


@pytest.mark.parametrize("widths", [[64, 128, 256, 512], [512, 64, 512, 64], [96, 48, 24, 12]])
def test_fan_out_telescopes_in_a_plain_network(widths: list[int]) -> None:
    # The product of fan_in/fan_out is that of its ends: less than a decade here.
    assert findings("INI103", mlp(widths, "kaiming_normal(fan_out)")) == ()


def test_squeeze_and_excitation_drawn_by_fan_out_is_silent() -> None:
    b = Builder((32, 64, 16, 16))
    x = b.activation(b.normalize(b.conv(b.x, 64, "kaiming_normal(fan_out)"), "batch"), "silu")
    gate = b.activation(b.conv(b.node(Op.REDUCE, (x,), (32, 64, 1, 1), _MEAN), 4, "kaiming_normal(fan_out)", kernel=1))
    gate = b.activation(b.conv(gate, 64, "kaiming_normal(fan_out)", kernel=1), "sigmoid")
    x = b.combine(Op.MUL, x, gate)
    x = b.normalize(b.conv(x, 32, "kaiming_normal(fan_out)", kernel=1), "batch")
    assert findings("INI103", b.graph(b.linear(b.pool(x), 10))) == ()


_MEAN = {"function": "mean", "axes": (2, 3), "keepdims": True}


class Experts(nn.Module):
    """A mixture of experts, all of which are asked, beside a skip or not."""

    def __init__(self, init: Callable[[torch.Tensor, int], Any], *, skip: bool) -> None:
        super().__init__()
        self.skip = skip
        self.up = nn.Parameter(torch.empty(64, 1024, 256))
        self.down = nn.Parameter(torch.empty(64, 256, 1024))
        init(self.up, 1024)
        init(self.down, 256)
        self.router = nn.Linear(1024, 64)
        self.head = nn.Linear(1024, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        gates = self.router(x).softmax(-1)
        hidden = torch.relu(torch.einsum("bd,edf->ebf", x, self.up))
        mixed = (torch.einsum("ebf,efd->ebd", hidden, self.down) * gates.t().unsqueeze(-1)).sum(0)
        return self.head(x + mixed if self.skip else mixed)


def by_shape(weight: torch.Tensor, fan: int) -> None:
    nn.init.kaiming_normal_(weight)


def by_operation(weight: torch.Tensor, fan: int) -> None:
    nn.init.normal_(weight, std=(2 / fan) ** 0.5)


@pytest.mark.parametrize("skip", [False, True])
def test_nn_init_takes_a_stack_of_experts_for_a_convolution(skip: bool) -> None:
    graph = from_torch(lambda: Experts(by_shape, skip=skip), 8, 1024)
    (finding,) = findings("INI103", graph)
    assert (finding.evidence["fan_counted"], finding.evidence["fan_summed"]) == (pytest.approx(262144), 1024)
    assert finding.severity is Severity.NOTE
    assert "stacked weight" in finding.cause
    assert finding.help.startswith("nn.init.normal_(layer.weight, std=0.0442)")
    assert findings("INI103", from_torch(lambda: Experts(by_operation, skip=skip), 8, 1024)) == ()


def decoder(init: Callable[[torch.Tensor], Any]) -> nn.Module:
    layers: list[nn.Module] = []
    for channels in (512, 256, 128, 64):
        layer = nn.ConvTranspose2d(channels, channels // 2, 8, 4, 2)
        init(layer.weight)
        layers += [layer, nn.ReLU()]
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(32 * 256 * 256, 4))


def test_a_transposed_convolution_sums_over_other_products_than_its_shape_says() -> None:
    (finding,) = findings("INI103", from_torch(lambda: decoder(nn.init.kaiming_normal_), 2, 512, 1, 1))
    assert finding.severity is Severity.NOTE
    assert (finding.evidence["fan_counted"], finding.evidence["fan_summed"]) == (pytest.approx(256 * 64), 512 * 4)
    assert "transposed convolution" in finding.cause


class Stored(nn.Module):
    """Matrices stored as (in, out), as in the first GPT-2, drawn as if they were (out, in)."""

    def __init__(self, widths: list[int]) -> None:
        super().__init__()
        self.weights = nn.ParameterList(nn.Parameter(torch.empty(shape)) for shape in pairwise(widths))
        self.head = nn.Linear(widths[-1], 10)
        for weight in self.weights:
            nn.init.kaiming_normal_(weight)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for weight in self.weights:
            x = torch.relu(x @ weight)
        return self.head(x)


def test_a_matrix_stored_the_other_way_round_is_drawn_by_its_fan_out() -> None:
    (finding,) = findings("INI103", from_torch(lambda: Stored([16, 64, 256, 1024]), 4, 16))
    assert finding.severity is Severity.NOTE
    assert (finding.evidence["fan_counted"], finding.evidence["fan_summed"]) == (pytest.approx(64), 16)
    assert finding.help == "nn.init.normal_(layer.weight, std=0.354)"
    assert "second axis" in finding.cause
