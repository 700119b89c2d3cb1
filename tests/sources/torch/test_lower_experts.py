"""Experts, cumulative sums, random numbers and times from PyTorch."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch
from as_built import as_built
from torch import nn
from torch.nn import functional

from initcheck.analysis import Analysis
from initcheck.graph import Graph, Op
from initcheck.sources.torch.load import graph_of

if TYPE_CHECKING:
    from collections.abc import Callable

HERE = Path(__file__).parent
WIDTH, EXPERTS = 16, 4


def graph(module: nn.Module, *inputs: torch.Tensor) -> Graph:
    return graph_of(as_built(module, inputs), root=HERE)


class Experts(nn.Module):
    """x + what a mixing function makes of router probabilities and experts."""

    def __init__(self, mix: Callable[..., torch.Tensor]) -> None:
        super().__init__()
        self.router = nn.Linear(WIDTH, EXPERTS)
        self.experts = nn.ModuleList(
            nn.Sequential(nn.Linear(WIDTH, 32), nn.GELU(), nn.Linear(32, WIDTH)) for _ in range(EXPERTS)
        )
        self.head = nn.Linear(WIDTH, 5)
        self.mix = mix

    def forward(self, x: torch.Tensor) -> Any:
        chances = functional.softmax(self.router(x), -1)
        return self.head(x + self.mix(x, chances, self.experts))


def masked(x: torch.Tensor, chances: torch.Tensor, experts: nn.ModuleList) -> torch.Tensor:
    weights, picked = chances.topk(2, -1)
    weights = weights / weights.sum(-1, keepdim=True)
    total = torch.zeros_like(x)
    for index, expert in enumerate(experts):
        total = total + (weights * (picked == index)).sum(-1, keepdim=True) * expert(x)
    return total


def switched(x: torch.Tensor, chances: torch.Tensor, experts: nn.ModuleList) -> torch.Tensor:
    weight, picked = chances.max(-1)
    places = functional.one_hot(picked, EXPERTS).to(x.dtype)
    total = torch.zeros_like(x)
    for index, expert in enumerate(experts):
        total = total + places[..., index, None] * expert(x)
    return weight.unsqueeze(-1) * total


def indexed(x: torch.Tensor, chances: torch.Tensor, experts: nn.ModuleList) -> torch.Tensor:
    weights, picked = chances.topk(2, -1)
    total = torch.zeros_like(x)
    for index, expert in enumerate(experts):
        rows, slot = torch.where(picked == index)
        total.index_add_(0, rows, expert(x[rows]) * weights[rows, slot, None])
    return total


def scattered(x: torch.Tensor, chances: torch.Tensor, experts: nn.ModuleList) -> torch.Tensor:
    weights, picked = chances.topk(2, -1)
    gates = torch.zeros_like(chances).scatter(-1, picked, weights)
    return torch.stack([expert(x) for expert in experts], -1).matmul(gates.unsqueeze(-1)).squeeze(-1)


@pytest.mark.parametrize("mix", [masked, switched, indexed, scattered])
def test_experts(mix: Callable[..., torch.Tensor]) -> None:
    torch.manual_seed(0)
    module = Experts(mix)
    analysis = Analysis(graph(module, torch.randn(64, WIDTH)))
    assert not analysis.forward.guessed
    result = analysis.forward.signals[analysis.graph.main_output]
    assert result is not None
    assert not result.assumed
    branch = next(node for node in reversed(analysis.graph.nodes) if node.op is Op.ADD).inputs[1]
    signal = analysis.forward.signals[branch]
    assert signal is not None
    measured = []
    for seed in range(20):
        torch.manual_seed(seed)
        drawn, x = Experts(mix), torch.randn(64, WIDTH)
        chances = functional.softmax(drawn.router(x), -1)
        measured.append(float((mix(x, chances, drawn.experts).detach() ** 2).mean()))
    assert signal.mean_square == pytest.approx(sum(measured) / len(measured), rel=0.35)


class Sampled(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.mean, self.spread, self.out = nn.Linear(8, 8), nn.Linear(8, 8), nn.Linear(8, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        std = torch.exp(0.5 * self.spread(x))
        return self.out(self.mean(x) + torch.randn_like(std) * std)


def test_reparametrised_sample() -> None:
    result = graph(Sampled(), torch.randn(4, 8))
    (random,) = [node for node in result.nodes if node.op is Op.RANDOM]
    assert random.attributes == {"family": "normal", "mean": 0.0, "std": 1.0}
    assert not Analysis(result).forward.guessed


class Timed(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.enter, self.out = nn.Linear(16, 16), nn.Linear(16, 3)

    def forward(self, x: torch.Tensor, time: torch.Tensor) -> torch.Tensor:
        phase = time[:, None].float() * torch.exp(-torch.arange(8, device=time.device) * 1.0)
        return self.out(x + self.enter(torch.cat([phase.sin(), phase.cos()], -1)))


def test_time() -> None:
    analysis = Analysis(graph(Timed(), torch.randn(4, 16), torch.randint(0, 1000, (4,))))
    assert [node.op for node in analysis.graph.nodes].count(Op.REAL) == 1
    assert not analysis.forward.guessed


def test_cumulative_sum() -> None:
    class Summed(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x.cumsum(1)

    result = graph(Summed(), torch.randn(2, 5, 8))
    assert [(node.op, dict(node.attributes)) for node in result.nodes] == [(Op.CUMULATE, {"axis": 1, "reverse": False})]
