"""Graphs of PyTorch factories, for what rules say about models as people write them."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from initcheck.sources.torch.load import load

if TYPE_CHECKING:
    from collections.abc import Callable

    from initcheck import Graph

__all__ = ["from_torch", "sequential"]


def from_torch(make: Callable[[], nn.Module], *shape: int, **options: Any) -> Graph:
    """Graph of what a factory makes, for one input of this shape (standard normal)."""

    def factory() -> tuple[nn.Module, torch.Tensor]:
        return make(), torch.randn(shape, **options)

    return load(factory, root=Path(__file__).parent)


def sequential(widths: list[int], change: Callable[[list[nn.Linear]], None], *, norm: str = "") -> nn.Module:
    """He-initialised ReLU network whose hidden layers a function may change."""
    layers: list[nn.Linear] = []
    modules: list[nn.Module] = []
    for fan_in, fan_out in pairwise(widths):
        layer = nn.Linear(fan_in, fan_out)
        nn.init.kaiming_normal_(layer.weight)
        nn.init.zeros_(layer.bias)
        layers.append(layer)
        modules.append(layer)
        if norm:
            modules.append(nn.BatchNorm1d(fan_out) if norm == "batch" else nn.LayerNorm(fan_out))
        modules.append(nn.ReLU())
    change(layers)
    return nn.Sequential(*modules, nn.Linear(widths[-1], 10))
