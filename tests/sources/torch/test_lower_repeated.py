"""What a model computes twice from the same values is one value."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch
from torch import nn

from initcheck import Analysis, Graph, Op
from initcheck.sources.torch.load import load
from initcheck.testing import through_onnx

if TYPE_CHECKING:
    from collections.abc import Callable


class _Two(nn.Module):
    """Two values of different layers, combined."""

    def __init__(self, combine: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]) -> None:
        super().__init__()
        self.first, self.second, self.head = nn.Linear(64, 64), nn.Linear(64, 64), nn.Linear(64, 2)
        self.offset = nn.Parameter(torch.full((64,), 0.3))
        self.combine = combine
        for layer in (self.first, self.second):
            nn.init.normal_(layer.weight, std=0.25)
            nn.init.zeros_(layer.bias)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        a, b = self.first(x), self.second(x)
        return self.head(self.combine(a + self.offset, b) * self.combine(a + self.offset, b))


def _weight(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Of a in the softmax of a and b, as a scan keeps it from overflowing; ``a`` is computed twice."""
    return torch.exp((a + 1.0) - torch.maximum(a + 1.0, b))


def _graph(combine: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]) -> Graph:
    return load(lambda: (_Two(combine), torch.randn(16, 64)), root=Path())


@pytest.mark.parametrize("convert", [lambda graph: graph, through_onnx])
def test_an_exponential_less_its_maximum_stays_below_one(convert: Callable[[Graph], Graph]) -> None:
    graph = convert(_graph(_weight))
    analysis = Analysis(graph)
    (value,) = (analysis.signal_out_of(node) for node in graph.nodes if node.op is Op.MUL)
    assert value is not None
    torch.manual_seed(0)
    sampled = []
    for _ in range(20):
        a, b = 2.0 * torch.randn(2, 16, 64)
        sampled.append(_weight(a + 0.3, b).pow(4).mean().item())
    assert value.mean_square == pytest.approx(sum(sampled) / len(sampled), rel=0.05)


def test_each_expression_is_computed_once() -> None:
    ops = [node.op for node in _graph(_weight).nodes]
    assert [ops.count(op) for op in (Op.MAXIMUM, Op.SUB, Op.ELEMENTWISE, Op.ADD)] == [1, 1, 1, 2]


def test_layers_random_numbers_and_outputs_stay_apart() -> None:
    class Same(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer, self.drop = nn.Linear(8, 8), nn.Dropout(0.5)

        def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            y = self.drop(self.layer(x)) + self.drop(self.layer(x))
            return torch.relu(y), torch.relu(y)

    graph = load(lambda: (Same(), torch.randn(4, 8)), root=Path())
    ops = [node.op for node in graph.nodes]
    assert [ops.count(op) for op in (Op.LINEAR, Op.DROPOUT, Op.ELEMENTWISE)] == [2, 2, 2]
    assert len(graph.outputs) == 2
