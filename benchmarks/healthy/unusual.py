"""Architectures off the beaten track, as their authors initialise them: capsules, gates, unit lengths, distances."""

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.nn import functional

from healthy.convolutional import WithExample, conv_norm
from healthy.other import dense

if TYPE_CHECKING:
    from collections.abc import Callable


class Capsules(nn.Module):
    """Dynamic routing between capsules: squashed vectors, three rounds of agreement."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.primary = nn.Conv2d(1, 256, 9), nn.Conv2d(256, 256, 9, 2)
        self.weight = nn.Parameter(0.01 * torch.randn(1, 10, 1152, 16, 8))
        self.example_input = torch.zeros(2, 1, 28, 28)

    @staticmethod
    def squash(x: torch.Tensor) -> torch.Tensor:
        square = (x**2).sum(-1, keepdim=True)
        return square / (1 + square) * x / (torch.sqrt(square) + 1e-8)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        u = self.squash(self.primary(functional.relu(self.conv(x))).view(x.shape[0], 1152, 8))
        votes = (self.weight @ u[:, None, :, :, None]).squeeze(-1)
        logits = torch.zeros(x.shape[0], 10, 1152, 1, device=x.device)
        for turn in range(3):
            v = self.squash((functional.softmax(logits, 1) * votes).sum(2, keepdim=True))
            if turn < 2:
                logits = logits + (votes * v).sum(-1, keepdim=True)
        return v.squeeze(2).norm(dim=-1)


class CosineAttention(nn.Module):
    """Attention between unit vectors with a learned temperature (Swin V2), post-norm."""

    def __init__(self, width: int = 96, heads: int = 3) -> None:
        super().__init__()
        self.heads = heads
        self.tau = nn.Parameter(torch.log(10 * torch.ones(heads, 1, 1)))
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.norm, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.trunc_normal_(module.weight, std=0.02)
                nn.init.zeros_(module.bias)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        b, t, d = x.shape
        q, k, v = self.qkv(x).view(b, t, 3, self.heads, -1).permute(2, 0, 3, 1, 4).unbind(0)
        scores = functional.normalize(q, dim=-1) @ functional.normalize(k, dim=-1).transpose(-2, -1)
        scores = scores * torch.clamp(self.tau, max=math.log(100.0)).exp()
        y = (scores.softmax(-1) @ v).transpose(1, 2).reshape(b, t, d)
        x = x + self.norm(self.out(y))
        return x + self.norm2(self.mlp(x))


class Contrastive(nn.Module):
    """SimCLR: two views, unit vectors, a temperature of 0.07."""

    def __init__(self) -> None:
        super().__init__()
        features = [conv_norm(a, b) for a, b in itertools.pairwise((3, 64, 64, 128))]
        relus = itertools.chain.from_iterable((layer, nn.ReLU()) for layer in features)
        self.features = nn.Sequential(*relus, nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.project = nn.Sequential(
            nn.Linear(128, 512, bias=False), nn.BatchNorm1d(512), nn.ReLU(), nn.Linear(512, 128, bias=False)
        )
        self.example_inputs = (torch.zeros(8, 3, 32, 32), torch.zeros(8, 3, 32, 32))

    def forward(self, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        z = functional.normalize(self.project(self.features(torch.cat([a, b]))), dim=1)
        return (z @ z.t() / 0.07).masked_fill(torch.eye(len(z), dtype=torch.bool, device=z.device), -1e9)


class Triplet(nn.Module):
    """Two-dimensional embeddings of unit length."""

    def __init__(self) -> None:
        super().__init__()
        self.convs = nn.Sequential(
            nn.Conv2d(1, 32, 5), nn.PReLU(), nn.MaxPool2d(2), nn.Conv2d(32, 64, 5), nn.PReLU(), nn.MaxPool2d(2)
        )
        self.head = dense(1024, 256, 256, 2, act=nn.PReLU)
        self.example_input = torch.zeros(8, 1, 28, 28)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.head(self.convs(x).flatten(1))
        return y / y.pow(2).sum(1, keepdim=True).sqrt()


class WaveNet(nn.Module):
    """Gated dilated convolutions with skip sums."""

    def __init__(self, width: int = 32, skip: int = 256, layers: int = 10, stacks: int = 2) -> None:
        super().__init__()
        self.dilations = [2**k for _ in range(stacks) for k in range(layers)]
        self.start = nn.Conv1d(256, width, 1)
        self.filters = nn.ModuleList(nn.Conv1d(width, width, 2, dilation=d) for d in self.dilations)
        self.gates = nn.ModuleList(nn.Conv1d(width, width, 2, dilation=d) for d in self.dilations)
        self.stays = nn.ModuleList(nn.Conv1d(width, width, 1) for _ in self.dilations)
        self.skips = nn.ModuleList(nn.Conv1d(width, skip, 1) for _ in self.dilations)
        self.end = nn.Sequential(nn.ReLU(), nn.Conv1d(skip, 256, 1), nn.ReLU(), nn.Conv1d(256, 256, 1))
        self.example_input = torch.zeros(1, 256, 1100)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x, total = self.start(x), 0.0
        layers = zip(self.filters, self.gates, self.stays, self.skips, self.dilations, strict=True)
        for kernel, gate, stay, skip, dilation in layers:
            padded = functional.pad(x, (dilation, 0))
            y = torch.tanh(kernel(padded)) * torch.sigmoid(gate(padded))
            total, x = total + skip(y), x + stay(y)
        return self.end(total)


class NBeats(nn.Module):
    """Doubly residual forecasting: what a block explains is taken off what the next one sees."""

    def __init__(self, blocks: int = 12, back: int = 50, ahead: int = 10, width: int = 256) -> None:
        super().__init__()
        self.stems = nn.ModuleList(dense(back, *[width] * 4, last=True) for _ in range(blocks))
        self.backs = nn.ModuleList(dense(width, 8, back) for _ in range(blocks))
        self.aheads = nn.ModuleList(dense(width, 8, ahead) for _ in range(blocks))
        self.example_input = torch.zeros(8, back)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        forecast = 0.0
        for stem, back, ahead in zip(self.stems, self.backs, self.aheads, strict=True):
            y = stem(x)
            x, forecast = x - back(y), forecast + ahead(y)
        return forecast


class DeepOperator(nn.Module):
    """DeepONet: branch and trunk networks joined by an inner product."""

    def __init__(self) -> None:
        super().__init__()
        self.branch, self.trunk = dense(100, 128, 128, 128), dense(1, 128, 128, 128, act=nn.Tanh, last=True)
        self.bias = nn.Parameter(torch.zeros(1))
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.xavier_normal_(module.weight)
                nn.init.zeros_(module.bias)
        self.example_inputs = (torch.zeros(8, 100), torch.zeros(8, 1))

    def forward(self, u: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return torch.einsum("bi,bi->b", self.branch(u), self.trunk(y)) + self.bias


def physics_informed() -> nn.Module:
    """Eight narrow tanh layers, Xavier."""
    network = dense(2, *[20] * 8, 1, act=nn.Tanh)
    for layer in network:
        if isinstance(layer, nn.Linear):
            nn.init.xavier_normal_(layer.weight)
            nn.init.zeros_(layer.bias)
    return WithExample(*network, shape=(16, 2))


def cosine_transformer() -> nn.Module:
    return WithExample(*(CosineAttention() for _ in range(8)), nn.LayerNorm(96), nn.Linear(96, 100), shape=(2, 49, 96))


UNUSUAL: dict[str, Callable[[], nn.Module]] = {
    "capsules": Capsules,
    "cosine_transformer": cosine_transformer,
    "simclr": Contrastive,
    "triplet": Triplet,
    "wavenet": WaveNet,
    "nbeats": NBeats,
    "deep_operator": DeepOperator,
    "physics_informed": physics_informed,
}
"""Name -> factory."""
