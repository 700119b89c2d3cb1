"""Sums over chunks, windows of series, empty parts, comparisons and pooling without a batch."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch
from torch import nn

from initcheck.analysis import Analysis
from initcheck.graph import Op
from initcheck.sources.torch.load import load

if TYPE_CHECKING:
    from collections.abc import Callable


class _Function(nn.Module):
    def __init__(self, function: Callable[[torch.Tensor], torch.Tensor], width: int) -> None:
        super().__init__()
        self.function, self.first, self.head = function, nn.Linear(8, 8), nn.Linear(width, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.function(self.first(x)))


def _rest(x: torch.Tensor) -> torch.Tensor:
    sums = torch.cumsum(-nn.functional.softplus(x), dim=1)
    return torch.exp(sums[:, -1:] - sums)


def _empty(x: torch.Tensor) -> torch.Tensor:
    return torch.cat([x[:, :0], x, x[:, :1]], dim=1)


def _chosen(x: torch.Tensor) -> torch.Tensor:
    return torch.where(x > 0.0, x, 0.0 * x)


def _analysis(function: Callable[[torch.Tensor], torch.Tensor], width: int = 8) -> Analysis:
    return Analysis(load(lambda: (_Function(function, width), torch.randn(4, 16, 8)), root=Path()))


@pytest.mark.parametrize(
    ("function", "width"),
    [
        (_rest, 8),
        (_empty, 8),
        (_chosen, 8),
        (lambda x: x.unfold(1, 4, 4).flatten(2), 32),
        (lambda x: x.unfold(1, 8, 4).flatten(2), 64),
        (lambda x: nn.functional.max_pool2d(x, 3, 1, 1), 8),
    ],
)
def test_everything_is_understood(function: Callable[[torch.Tensor], torch.Tensor], width: int) -> None:
    analysis = _analysis(function, width)
    assert not analysis.forward.guessed
    assert analysis.analysed_layers == 2


def test_a_total_less_its_parts_is_the_sum_over_the_rest() -> None:
    graph = _analysis(_rest).graph
    found = [node for node in graph.nodes if node.op is Op.CUMULATE and node.attributes.get("exclusive")]
    assert len(found) == 1
    assert found[0].attributes["reverse"]
    assert not any(node.op is Op.SUB for node in graph.nodes)


def test_windows_keep_the_mean_square() -> None:
    signals = _analysis(lambda x: x.unfold(1, 8, 4).flatten(2), 64).forward.signals
    before, after = signals["linear"], signals["unfold"]
    assert before is not None
    assert after is not None
    assert after.mean_square == pytest.approx(before.mean_square)
