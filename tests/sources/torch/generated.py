"""Small networks drawn at random, for tests that hold for every architecture."""

from __future__ import annotations

from typing import Any

import torch
from hypothesis import strategies as st
from torch import nn

WIDTHS = st.sampled_from((16, 24, 48))
ACTIVATIONS = st.sampled_from((nn.ReLU, nn.Tanh, nn.GELU, nn.SiLU, nn.LeakyReLU, nn.ELU, nn.Identity))
SCHEMES = st.sampled_from(("kaiming_normal_", "xavier_uniform_", "orthogonal_", "default", "zeros_", "loud"))


class Skip(nn.Module):
    def __init__(self, body: nn.Module) -> None:
        super().__init__()
        self.body = body

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.body(x)


class Rms(nn.Module):
    """RMS normalisation as language models spell it."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.weight * (x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6))


class Heads(nn.Module):
    """Attention written out."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        query, key, value = self.qkv(x).unflatten(-1, (3, 2, -1)).permute(2, 0, 3, 1, 4).unbind(0)
        weights = torch.softmax(query @ key.transpose(-1, -2) / query.shape[-1] ** 0.5, dim=-1)
        return self.out((weights @ value).transpose(1, 2).flatten(2))


@st.composite
def vectors(draw: st.DrawFn) -> tuple[nn.Module, torch.Tensor]:
    """A multilayer perceptron with skips and normalisations."""
    width, layers = draw(WIDTHS), []
    activation = draw(ACTIVATIONS)
    for _ in range(draw(st.integers(1, 4))):
        block: list[nn.Module] = [nn.Linear(width, width, bias=draw(st.booleans())), activation()]
        kind = draw(st.sampled_from(("plain", "layer", "batch", "rms", "skip", "pre-norm skip")))
        if kind == "batch":
            block.insert(1, nn.BatchNorm1d(width))
        elif kind == "layer":
            block.insert(1, nn.LayerNorm(width))
        elif kind == "rms":
            block.insert(0, Rms(width))
        elif kind == "skip":
            block = [Skip(nn.Sequential(*block))]
        elif kind == "pre-norm skip":
            block = [Skip(nn.Sequential(nn.LayerNorm(width), *block))]
        layers += block
    return nn.Sequential(nn.Linear(12, width), *layers, nn.Linear(width, 5)), torch.randn(4, 12)


@st.composite
def images(draw: st.DrawFn) -> tuple[nn.Module, torch.Tensor]:
    """A convolutional network with skips and pooling."""
    width = draw(st.sampled_from((8, 12)))
    activation = draw(ACTIVATIONS)
    layers: list[nn.Module] = [nn.Conv2d(3, width, 3, padding=1)]
    for _ in range(draw(st.integers(1, 3))):
        convolution = nn.Conv2d(width, width, 3, padding=1, groups=draw(st.sampled_from((1, 2))))
        kind = draw(st.sampled_from(("plain", "group", "pool", "max", "skip", "up")))
        norm: list[nn.Module] = [nn.GroupNorm(2, width)] if kind == "group" else []
        block: list[nn.Module] = [convolution, *norm, activation()]
        if kind == "skip":
            block = [Skip(nn.Sequential(*block))]
        block += {"pool": [nn.AvgPool2d(2)], "max": [nn.MaxPool2d(3, 1, 1)], "up": [nn.Upsample(scale_factor=2)]}.get(
            kind, []
        )
        layers += block
    head = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, 5)]
    return nn.Sequential(*layers, *head), torch.randn(2, 3, 16, 16)


@st.composite
def tokens(draw: st.DrawFn) -> tuple[nn.Module, torch.Tensor]:
    """A transformer, before or after normalisation."""
    width = draw(st.sampled_from((16, 32)))
    layers: list[nn.Module] = [nn.Embedding(50, width)]
    for _ in range(draw(st.integers(1, 2))):
        mlp = nn.Sequential(nn.Linear(width, 2 * width), draw(ACTIVATIONS)(), nn.Linear(2 * width, width))
        if draw(st.booleans()):
            layers += [Skip(nn.Sequential(nn.LayerNorm(width), part)) for part in (Heads(width), mlp)]
        else:
            layers += [Skip(Heads(width)), nn.LayerNorm(width), Skip(mlp), nn.LayerNorm(width)]
    return nn.Sequential(*layers, nn.Linear(width, 50)), torch.randint(0, 50, (2, 10))


@st.composite
def networks(draw: st.DrawFn) -> tuple[nn.Module, torch.Tensor]:
    """Any of them, its weights drawn by one scheme."""
    torch.manual_seed(0)
    module, example = draw(st.one_of(vectors(), images(), tokens()))
    scheme = draw(SCHEMES)
    for parameter in module.parameters():
        if parameter.dim() < 2 or scheme == "default":
            continue
        with torch.no_grad():
            _draw(parameter, scheme)
    return module.train(), example


def _draw(weight: torch.Tensor, scheme: str) -> Any:
    if scheme == "loud":
        return nn.init.normal_(weight, std=0.5)
    return getattr(nn.init, scheme)(weight)
