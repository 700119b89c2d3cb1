"""A small residual network whose branches are added with full weight, for the README."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import nn

if TYPE_CHECKING:
    from torch import Tensor


class Block(nn.Module):
    """A residual block: x + branch(x), or x + scale * branch(x)."""

    def __init__(self, width: int, scale: float) -> None:
        super().__init__()
        self.scale = scale
        self.inner = nn.Linear(width, width)
        self.outer = nn.Linear(width, width)
        nn.init.kaiming_normal_(self.inner.weight, nonlinearity="relu")
        nn.init.kaiming_normal_(self.outer.weight, nonlinearity="relu")

    def forward(self, x: Tensor) -> Tensor:
        return x + self.scale * self.outer(self.inner(x.relu()).relu())


class ResidualMLP(nn.Module):
    """Blocks between an embedding and a head."""

    def __init__(self, depth: int, width: int, scale: float) -> None:
        super().__init__()
        self.embed = nn.Linear(64, width)
        self.blocks = nn.ModuleList(Block(width, scale) for _ in range(depth))
        self.head = nn.Linear(width, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.embed(x)
        for block in self.blocks:
            x = block(x)
        return self.head(x)


def build(depth: int = 40, width: int = 128, scale: float = 1.0) -> nn.Module:
    """The network; ``scale=0.15`` is about 1 / sqrt(depth)."""
    return ResidualMLP(depth, width, scale)
