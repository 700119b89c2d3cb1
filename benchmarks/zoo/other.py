"""Recurrent networks, mixers, gated perceptrons, autoencoders, shared weights."""

from __future__ import annotations

import itertools
from functools import partial

import torch
from torch import nn
from torch.nn import functional

from zoo.entry import ACTIVATIONS, Entry, ids, initialise, normal

__all__ = ["ENTRIES"]

BATCH = 8


class Recurrent(nn.Module):
    """A recurrent layer and a head on its last step, or on every step."""

    def __init__(self, layer: nn.Module, out: int, *, last: bool = True) -> None:
        super().__init__()
        self.layer, self.last = layer, last
        self.head = nn.Linear(out, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.layer(x)[0]
        return self.head(y[:, -1] if self.last else y)


class Tagger(nn.Module):
    """Embedded tokens through a bidirectional LSTM."""

    def __init__(self) -> None:
        super().__init__()
        self.tokens = nn.Embedding(100, 24)
        self.layer = nn.LSTM(24, 32, num_layers=2, bidirectional=True, batch_first=True)
        self.head = nn.Linear(64, 7)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.layer(self.tokens(x))[0])


class Unrolled(nn.Module):
    """h = f(W h + U x + b), the same weights at every step."""

    def __init__(self, activation: str, steps: int, scheme: str) -> None:
        super().__init__()
        self.state, self.read, self.head = nn.Linear(40, 40), nn.Linear(16, 40), nn.Linear(40, 10)
        self.f, self.steps = ACTIVATIONS[activation](), steps
        initialise(self, scheme)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = self.f(self.read(x[:, 0]))
        for step in range(1, self.steps):
            h = self.f(self.state(h) + self.read(x[:, step]))
        return self.head(h)


class Repeated(nn.Module):
    """One layer applied again and again, without new input."""

    def __init__(self, width: int, times: int) -> None:
        super().__init__()
        self.first, self.layer, self.head, self.times = (
            nn.Linear(32, width),
            nn.Linear(width, width),
            nn.Linear(width, 10),
            times,
        )
        initialise(self, "he")

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = functional.relu(self.first(x))
        for _ in range(self.times):
            x = functional.relu(self.layer(x))
        return self.head(x)


class MixerBlock(nn.Module):
    def __init__(self, tokens: int, width: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.tokens = nn.Sequential(nn.Linear(tokens, 2 * tokens), nn.GELU(), nn.Linear(2 * tokens, tokens))
        self.channels = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x + self.tokens(self.norm1(x).transpose(1, 2)).transpose(1, 2)
        return x + self.channels(self.norm2(x))


class Mixer(nn.Module):
    """MLP-Mixer over patches."""

    def __init__(self, width: int = 48, depth: int = 3) -> None:
        super().__init__()
        self.patch = nn.Conv2d(3, width, 4, stride=4)
        self.blocks = nn.Sequential(*(MixerBlock(16, width) for _ in range(depth)))
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.blocks(self.patch(x).flatten(2).transpose(1, 2))
        return self.head(self.norm(x).mean(dim=1))


class Gated(nn.Module):
    """W3 (f(W1 x) * W2 x) in a row, with a skip or without."""

    def __init__(self, width: int, depth: int, gate: str, *, skip: bool, scheme: str = "lecun") -> None:
        super().__init__()
        self.first = nn.Linear(32, width)
        self.gates = nn.ModuleList(nn.Linear(width, 2 * width) for _ in range(depth))
        self.ups = nn.ModuleList(nn.Linear(width, 2 * width) for _ in range(depth))
        self.downs = nn.ModuleList(nn.Linear(2 * width, width) for _ in range(depth))
        self.head, self.f, self.skip = nn.Linear(width, 10), ACTIVATIONS[gate](), skip
        initialise(self, scheme)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.first(x)
        for gate, up, down in zip(self.gates, self.ups, self.downs, strict=True):
            y = down(self.f(gate(x)) * up(x))
            x = x + y if self.skip else y
        return self.head(x)


def autoencoder(activation: str, scheme: str) -> nn.Module:
    """Down to a narrow code and up again."""
    widths = (32, 64, 32, 16, 6, 16, 32, 64)
    layers: list[nn.Module] = []
    for before, after in itertools.pairwise(widths):
        layers += [nn.Linear(before, after), ACTIVATIONS[activation]()]
    return initialise(nn.Sequential(*layers, nn.Linear(64, 32)), scheme)


class Siamese(nn.Module):
    """One encoder for two inputs, and a head on their difference and product."""

    def __init__(self, *, norm: bool) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.Linear(32, 48), nn.ReLU(), nn.Linear(48, 48)]
        self.encoder = nn.Sequential(*layers, *([nn.LayerNorm(48)] if norm else []))
        self.head = nn.Sequential(nn.Linear(96, 32), nn.ReLU(), nn.Linear(32, 1))

    def forward(self, first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
        a, b = self.encoder(first), self.encoder(second)
        return self.head(torch.cat(((a - b).abs(), a * b), dim=-1))


class Experts(nn.Module):
    """All experts run, mixed by a softmax gate."""

    def __init__(self, width: int = 48, experts: int = 4) -> None:
        super().__init__()
        self.stem, self.router = nn.Linear(32, width), nn.Linear(width, experts)
        self.experts = nn.ModuleList(
            nn.Sequential(nn.Linear(width, 2 * width), nn.ReLU(), nn.Linear(2 * width, width)) for _ in range(experts)
        )
        self.head = nn.Linear(width, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = functional.relu(self.stem(x))
        weights = self.router(x).softmax(dim=-1)
        outputs = torch.stack([expert(x) for expert in self.experts], dim=-1)
        return self.head((outputs * weights[:, None]).sum(dim=-1))


class SqueezeExcite(nn.Module):
    """Convolutions whose channels are weighted by a gate of their means."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 16, 3, padding=1)
        self.convs = nn.ModuleList(nn.Conv2d(16, 16, 3, padding=1) for _ in range(3))
        self.gates = nn.ModuleList(
            nn.Sequential(nn.Linear(16, 4), nn.ReLU(), nn.Linear(4, 16), nn.Sigmoid()) for _ in range(3)
        )
        self.head = nn.Linear(16, 10)
        initialise(self, "he")

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = functional.relu(self.stem(x))
        for conv, gate in zip(self.convs, self.gates, strict=True):
            y = functional.relu(conv(x))
            x = x + y * gate(y.mean((2, 3)))[:, :, None, None]
        return self.head(x.mean((2, 3)))


def sequence(width: int = 16, length: int = 12) -> object:
    return normal(BATCH, length, width)


def two() -> tuple[torch.Tensor, ...]:
    return torch.randn(BATCH, 32), torch.randn(BATCH, 32)


def recurrent(kind: str) -> nn.Module:
    """One or two layers of torch's own."""
    match kind:
        case "lstm":
            return Recurrent(nn.LSTM(16, 32, batch_first=True), 32)
        case "gru":
            return Recurrent(nn.GRU(16, 32, num_layers=2, batch_first=True), 32, last=False)
        case _:
            return Recurrent(nn.RNN(16, 32, nonlinearity=kind, batch_first=True), 32)


ENTRIES = [
    *(
        Entry(f"recurrent/{kind}", partial(recurrent, kind), normal(BATCH, 12, 16))
        for kind in ("relu", "tanh", "lstm", "gru")
    ),
    Entry("recurrent/bilstm/tagger", Tagger, ids(BATCH, 12, 100)),
    Entry(
        "recurrent/unrolled/tanh/xavier", partial(Unrolled, "tanh", 10, "xavier"), normal(BATCH, 10, 16), variance=True
    ),
    Entry("recurrent/unrolled/relu/he", partial(Unrolled, "relu", 8, "he"), normal(BATCH, 8, 16), variance=True),
    Entry("shared/repeated/w40/d10", partial(Repeated, 40, 10), normal(BATCH, 32), variance=True),
    Entry("shared/siamese", partial(Siamese, norm=False), two),
    Entry("shared/siamese/ln", partial(Siamese, norm=True), two),
    Entry("mixer/w48/d3", Mixer, normal(BATCH, 3, 16, 16)),
    Entry("gated/silu/plain/d4", partial(Gated, 48, 4, "silu", skip=False), normal(BATCH, 32), variance=True),
    Entry("gated/sigmoid/skip/d6", partial(Gated, 48, 6, "sigmoid", skip=True), normal(BATCH, 32)),
    Entry("gated/gelu/default/skip/d4", partial(Gated, 32, 4, "gelu", skip=True, scheme="default"), normal(BATCH, 32)),
    Entry("autoencoder/relu/he", partial(autoencoder, "relu", "he"), normal(BATCH, 32), variance=True),
    Entry("autoencoder/tanh/xavier", partial(autoencoder, "tanh", "xavier"), normal(BATCH, 32), variance=True),
    Entry("experts/soft", Experts, normal(BATCH, 32)),
    Entry("squeeze_excite/he", SqueezeExcite, normal(BATCH, 3, 12, 12)),
]
