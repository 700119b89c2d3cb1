"""Zeros, scales and copies that people start from on purpose: no rule says more than a note about them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import pytest
import torch
from test_healthy import assert_clean, residual_stack, two_layers
from torch import nn
from torch_networks import from_torch

from initcheck import Builder, Op

if TYPE_CHECKING:
    from collections.abc import Callable

    from initcheck import Graph

HEALTHY: dict[str, Callable[[], Graph]] = {}


def healthy(build: Callable[[], Graph]) -> Callable[[], Graph]:
    HEALTHY[build.__name__] = build
    return build


@healthy
def zero_gamma_behind_relu_free_branches() -> Graph:
    def branch(b: Builder, x: str) -> str:
        hidden = b.activation(b.normalize(b.linear(x, 64, bias=None), "batch"))
        return b.normalize(b.linear(hidden, 64, bias=None), "batch", scale="zeros")

    return residual_stack(branch, blocks=12)


@healthy
def highway_gates_that_start_closed() -> Graph:
    b = Builder()
    x = b.activation(b.linear(b.x, 64))
    for _ in range(20):
        gate = b.activation(b.linear(x, 64, "xavier_normal", bias="constant(-3)"), "sigmoid")
        x = b.add(x, b.combine(Op.MUL, gate, b.activation(b.linear(x, 64))))
    return b.graph(b.linear(b.normalize(x), 10))


@healthy
def detector_head_with_a_prior_of_rare_objects() -> Graph:
    b = Builder((8, 64, 16, 16))
    x = b.activation(b.conv(b.x, 64, "normal(0, 0.02)"))
    return b.graph(b.activation(b.conv(x, 9, "normal(0, 0.01)", bias="constant(-4.6)"), "sigmoid"))


@healthy
def averaging_gate() -> Graph:
    b = Builder()
    x = b.activation(b.linear(b.x, 64))
    for _ in range(4):
        gate = b.activation(b.linear(x, 64, "constant(0.01)"), "sigmoid")
        x = b.activation(b.linear(b.combine(Op.MUL, x, gate), 64, "kaiming_normal(gain=2.8)"))
    return b.graph(b.linear(x, 10))


@healthy
def depthwise_by_fan_out_before_batch_norm() -> Graph:
    b = Builder((32, 3, 16, 16))
    x = b.activation(b.normalize(b.conv(b.x, 32, "kaiming_normal(fan_out)"), "batch"), "relu6")
    for _ in range(8):
        y = b.activation(b.normalize(b.conv(x, 96, "kaiming_normal(fan_out)", kernel=1), "batch"), "relu6")
        y = b.activation(b.normalize(b.conv(y, 96, "kaiming_normal(fan_out)", groups=96), "batch"), "relu6")
        x = b.add(x, b.normalize(b.conv(y, 32, "kaiming_normal(fan_out)", kernel=1), "batch"))
    return b.graph(b.linear(b.pool(x), 10, "normal(0, 0.01)"))


@healthy
def t_fixup_scales() -> Graph:
    def branch(b: Builder, x: str) -> str:
        return two_layers(b, x, f"xavier_normal(gain={0.67 * 24**-0.25})", f"xavier_normal(gain={0.67 * 24**-0.25})")

    return residual_stack(branch, blocks=24)


@healthy
def depth_scaled_initialization() -> Graph:
    b = Builder()
    x = b.linear(b.x, 64)
    for k in range(24):
        hidden = b.activation(b.linear(b.normalize(x), 64, f"normal(0, {0.1 / math.sqrt(k + 1)})", path=f"h.{k}.fc"))
        x = b.add(x, b.linear(hidden, 64, f"normal(0, {0.1 / math.sqrt(k + 1)})", path=f"h.{k}.proj"))
    return b.graph(b.linear(b.normalize(x), 10))


class AdaLN(nn.Module):
    """DiT's block: shift, scale and gate of both branches from one layer of zeros."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width, elementwise_affine=False)
        self.attn = nn.MultiheadAttention(width, 4, batch_first=True)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(approximate="tanh"), nn.Linear(4 * width, width))
        self.modulation = nn.Sequential(nn.SiLU(), nn.Linear(width, 6 * width))
        nn.init.zeros_(self.modulation[1].weight)
        nn.init.zeros_(self.modulation[1].bias)

    def forward(self, x: torch.Tensor, c: torch.Tensor) -> torch.Tensor:
        shift1, scale1, gate1, shift2, scale2, gate2 = self.modulation(c).unsqueeze(1).chunk(6, dim=-1)
        y = self.norm(x) * (1 + scale1) + shift1
        x = x + gate1 * self.attn(y, y, y, need_weights=False)[0]
        return x + gate2 * self.mlp(self.norm(x) * (1 + scale2) + shift2)


class DiT(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Linear(16, 64)
        self.condition = nn.Linear(16, 64)
        self.blocks = nn.ModuleList(AdaLN(64) for _ in range(4))
        self.norm = nn.LayerNorm(64, elementwise_affine=False)
        self.out = nn.Linear(64, 16)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        c = self.condition(x.mean(1))
        x = self.embed(x)
        for block in self.blocks:
            x = block(x, c)
        return self.out(self.norm(x))


class Control(nn.Module):
    """ControlNet: copies of an encoder's blocks between convolutions of zeros."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 16, 3, padding=1)
        self.blocks = nn.ModuleList(self._block() for _ in range(3))
        self.control = nn.ModuleList(self._block() for _ in range(3))
        self.control.load_state_dict(self.blocks.state_dict())
        self.hint = nn.Conv2d(3, 16, 1)
        self.zeros = nn.ModuleList(nn.Conv2d(16, 16, 1) for _ in range(3))
        for layer in (self.hint, *self.zeros):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)
        self.last = nn.Conv2d(16, 3, 3, padding=1)

    @staticmethod
    def _block() -> nn.Module:
        return nn.Sequential(nn.GroupNorm(4, 16), nn.SiLU(), nn.Conv2d(16, 16, 3, padding=1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.first(x)
        z = y + self.hint(x)
        for block, copied, zero in zip(self.blocks, self.control, self.zeros, strict=True):
            z = z + copied(z)
            y = y + block(y) + zero(z)
        return self.last(y)


class LoRA(nn.Module):
    """Low-rank updates whose second factor is zero."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(64, 64) for _ in range(3))
        self.a = nn.ParameterList(nn.Parameter(torch.empty(4, 64)) for _ in range(3))
        self.b = nn.ParameterList(nn.Parameter(torch.zeros(64, 4)) for _ in range(3))
        for a in self.a:
            nn.init.kaiming_uniform_(a, a=5**0.5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for layer, a, b in zip(self.layers, self.a, self.b, strict=True):
            x = torch.relu(layer(x) + 2.0 * (x @ a.t() @ b.t()))
        return x


class Scaled(nn.Module):
    """LayerScale of 1e-6, as in CaiT and ConvNeXt."""

    def __init__(self) -> None:
        super().__init__()
        self.mlps = nn.ModuleList(
            nn.Sequential(nn.LayerNorm(64), nn.Linear(64, 256), nn.GELU(), nn.Linear(256, 64)) for _ in range(8)
        )
        self.gammas = nn.ParameterList(nn.Parameter(1e-6 * torch.ones(64)) for _ in range(8))
        self.head = nn.Linear(64, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for mlp, gamma in zip(self.mlps, self.gammas, strict=True):
            x = x + gamma * mlp(x)
        return self.head(x)


@pytest.mark.parametrize("name", HEALTHY)
def test_is_clean(name: str) -> None:
    assert_clean(HEALTHY[name]())


@pytest.mark.parametrize(
    ("module", "shape"),
    [(DiT, (2, 6, 16)), (Control, (2, 3, 8, 8)), (LoRA, (4, 64)), (Scaled, (4, 64))],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_of_pytorch_is_clean(module: type[nn.Module], shape: tuple[int, ...]) -> None:
    assert_clean(from_torch(module, *shape))
