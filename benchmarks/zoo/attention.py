"""Hand-written transformers: pre-LN, post-LN, SwiGLU with RoPE and grouped queries, pooled heads, DiT."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import torch
from torch import nn
from torch.nn import functional

from zoo.entry import Entry, ids

__all__ = ["ENTRIES"]

BATCH, LENGTH, VOCABULARY = 8, 16, 128
Norm = Callable[[int], nn.Module]


class Attention(nn.Module):
    """Attention by hand, with rotary positions and fewer heads of keys where asked."""

    def __init__(self, width: int, heads: int, shared: int = 1, *, causal: bool = True, rotary: bool = False) -> None:
        super().__init__()
        self.heads, self.shared, self.causal, self.rotary = heads, shared, causal, rotary
        self.query = nn.Linear(width, width, bias=False)
        self.key = nn.Linear(width, width // shared, bias=False)
        self.value = nn.Linear(width, width // shared, bias=False)
        self.out = nn.Linear(width, width, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        batch, length, width = x.shape
        size = width // self.heads
        q = self.query(x).view(batch, length, self.heads, size).transpose(1, 2)
        k = self.key(x).view(batch, length, -1, size).transpose(1, 2)
        v = self.value(x).view(batch, length, -1, size).transpose(1, 2)
        if self.rotary:
            q, k = _rotated(q), _rotated(k)
        k, v = k.repeat_interleave(self.shared, dim=1), v.repeat_interleave(self.shared, dim=1)
        scores = q @ k.transpose(-1, -2) / math.sqrt(size)
        if self.causal:
            later = torch.triu(torch.ones(length, length, dtype=torch.bool, device=x.device), diagonal=1)
            scores = scores.masked_fill(later, -math.inf)
        y = scores.softmax(dim=-1) @ v
        return self.out(y.transpose(1, 2).reshape(batch, length, width))


def _rotated(x: torch.Tensor) -> torch.Tensor:
    length, size = x.shape[-2:]
    frequency = 10000.0 ** (-torch.arange(0, size, 2, device=x.device) / size)
    angle = torch.arange(length, device=x.device)[:, None] * frequency
    angle = torch.cat((angle, angle), dim=-1)
    first, second = x.chunk(2, dim=-1)
    return x * angle.cos() + torch.cat((-second, first), dim=-1) * angle.sin()


class SwiGLU(nn.Module):
    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.gate = nn.Linear(width, hidden, bias=False)
        self.up = nn.Linear(width, hidden, bias=False)
        self.down = nn.Linear(hidden, width, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.down(functional.silu(self.gate(x)) * self.up(x))


class Layer(nn.Module):
    """One block, normalised before or after its branches."""

    def __init__(self, mixer: nn.Module, mlp: nn.Module, norm: Norm, width: int, *, pre: bool) -> None:
        super().__init__()
        self.mixer, self.mlp, self.pre = mixer, mlp, pre
        self.norm1, self.norm2 = norm(width), norm(width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.pre:
            x = x + self.mixer(self.norm1(x))
            return x + self.mlp(self.norm2(x))
        x = self.norm1(x + self.mixer(x))
        return self.norm2(x + self.mlp(x))


class Transformer(nn.Module):
    """Tokens, blocks, and a head per token, on the first token, or on their mean."""

    def __init__(self, layers: list[nn.Module], width: int, norm: Norm, head: str, std: float) -> None:
        super().__init__()
        self.tokens = nn.Embedding(VOCABULARY, width)
        self.places = nn.Parameter(torch.randn(LENGTH, width) * std)
        nn.init.normal_(self.tokens.weight, std=std)
        self.layers = nn.Sequential(*layers)
        self.norm = norm(width)
        self.head = nn.Linear(width, VOCABULARY if head == "tokens" else 10)
        self.kind = head
        self.first = nn.Parameter(torch.randn(1, 1, width) * std) if head == "first" else None

    def forward(self, input_ids: torch.Tensor) -> torch.Tensor:
        x = self.tokens(input_ids) + self.places
        if self.first is not None:
            x = torch.cat((self.first.expand(x.shape[0], -1, -1), x), dim=1)
        x = self.norm(self.layers(x))
        if self.kind == "first":
            x = x[:, 0]
        elif self.kind == "mean":
            x = x.mean(dim=1)
        return self.head(x)


def transformer(
    width: int = 48,
    depth: int = 3,
    *,
    pre: bool = True,
    norm: Norm = nn.LayerNorm,
    head: str = "tokens",
    gated: bool = False,
    rotary: bool = False,
    shared: int = 1,
    causal: bool = True,
    std: float = 1.0,
    scaled: bool = False,
) -> nn.Module:
    """A stack of blocks."""

    def layer() -> nn.Module:
        plain = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))
        mlp = SwiGLU(width, 2 * width) if gated else plain
        return Layer(Attention(width, 4, shared, causal=causal, rotary=rotary), mlp, norm, width, pre=pre)

    model = Transformer([layer() for _ in range(depth)], width, norm, head, std)
    if scaled:
        for name, parameter in model.named_parameters():
            if parameter.dim() == 2 and "layers" in name:
                ends = name.endswith(("out.weight", "2.weight"))
                nn.init.normal_(parameter, std=0.02 / math.sqrt(2 * depth) if ends else 0.02)
    return model


class Modulated(nn.Module):
    """A DiT block: shift, scale and gate of both branches from a condition."""

    def __init__(self, width: int, std: float) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width, elementwise_affine=False)
        self.norm2 = nn.LayerNorm(width, elementwise_affine=False)
        self.attention = Attention(width, 4, causal=False)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(approximate="tanh"), nn.Linear(4 * width, width))
        self.modulation = nn.Linear(width, 6 * width)
        nn.init.normal_(self.modulation.weight, std=std)
        nn.init.zeros_(self.modulation.bias)

    def forward(self, x: torch.Tensor, c: torch.Tensor) -> torch.Tensor:
        shift1, scale1, gate1, shift2, scale2, gate2 = self.modulation(functional.silu(c))[:, None].chunk(6, dim=-1)
        x = x + gate1 * self.attention(self.norm1(x) * (1 + scale1) + shift1)
        return x + gate2 * self.mlp(self.norm2(x) * (1 + scale2) + shift2)


class DiT(nn.Module):
    """Patches, modulated blocks, patches."""

    def __init__(self, width: int = 48, depth: int = 3, *, std: float = 0.0) -> None:
        super().__init__()
        self.patch = nn.Conv2d(4, width, 2, stride=2)
        self.places = nn.Parameter(torch.randn(1, 16, width) * 0.02)
        self.condition = nn.Sequential(nn.Linear(24, width), nn.SiLU(), nn.Linear(width, width))
        self.blocks = nn.ModuleList(Modulated(width, std) for _ in range(depth))
        self.norm = nn.LayerNorm(width, elementwise_affine=False)
        self.out = nn.Linear(width, 16)

    def forward(self, x: torch.Tensor, condition: torch.Tensor) -> torch.Tensor:
        c = self.condition(condition)
        x = self.patch(x).flatten(2).transpose(1, 2) + self.places
        for block in self.blocks:
            x = block(x, c)
        return self.out(self.norm(x))


def encoder(*, pre: bool, head: str) -> nn.Module:
    """Torch's own layers."""
    layers = [
        nn.TransformerEncoderLayer(48, 4, 96, dropout=0.1, batch_first=True, norm_first=pre, activation="gelu")
        for _ in range(3)
    ]
    return Transformer(list(layers), 48, nn.LayerNorm, head, 0.02)


def noise() -> tuple[torch.Tensor, ...]:
    return torch.randn(BATCH, 4, 8, 8), torch.randn(BATCH, 24)


def entry(name: str, build: Callable[[], nn.Module]) -> Entry:
    return Entry(f"transformer/{name}", build, ids(BATCH, LENGTH, VOCABULARY), BATCH)


ENTRIES = [
    entry("pre_ln/tokens", transformer),
    entry("pre_ln/gpt_init/d4", partial(transformer, 64, 4, std=0.02, scaled=True)),
    entry("pre_ln/mean", partial(transformer, head="mean", causal=False)),
    entry("pre_ln/first", partial(transformer, head="first", causal=False, std=0.02)),
    entry("post_ln/tokens", partial(transformer, pre=False)),
    entry("post_ln/mean", partial(transformer, pre=False, head="mean", causal=False)),
    entry("rms/swiglu/rope", partial(transformer, norm=nn.RMSNorm, gated=True, rotary=True)),
    entry("rms/swiglu/rope/gqa", partial(transformer, 64, 4, norm=nn.RMSNorm, gated=True, rotary=True, shared=2)),
    entry("post_rms/gqa/first", partial(transformer, pre=False, norm=nn.RMSNorm, shared=4, head="first", causal=False)),
    entry("no_norm", partial(transformer, norm=lambda _: nn.Identity())),
    entry("torch/pre_ln", partial(encoder, pre=True, head="tokens")),
    entry("torch/post_ln/first", partial(encoder, pre=False, head="first")),
    Entry("dit/zero", DiT, noise, BATCH),
    Entry("dit/gate0.1", partial(DiT, std=0.1), noise, BATCH),
]
