"""Gates, products, sets, graphs, experts and capsules that cannot start.

Unlike the others they were trained, networks of the same kind and size on synthetic classes of 8x8 images: none starts
with momentum SGD at the best of several rates within 240 steps.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.nn import functional

from sick.feedforward import example, expected, he, normal, stack

if TYPE_CHECKING:
    from collections.abc import Callable

    from sick.feedforward import Sick


class Highway(nn.Module):
    """Carry gates that start half open: each layer keeps a quarter of the stream's mean square."""

    def __init__(self, depth: int = 50, width: int = 48) -> None:
        super().__init__()
        self.enter, self.head = nn.Linear(64, width), nn.Linear(width, 10)
        self.layers = nn.ModuleList(nn.Linear(width, width) for _ in range(depth))
        self.gates = nn.ModuleList(nn.Linear(width, width) for _ in range(depth))
        self.example_input = torch.zeros(16, 64)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.enter(x)
        for layer, gate in zip(self.layers, self.gates, strict=True):
            g = torch.sigmoid(gate(x))
            x = g * torch.relu(layer(x)) + (1 - g) * x
        return self.head(x)


class Gated(nn.Module):
    """Causal convolutions whose two halves are multiplied, without skips."""

    def __init__(
        self, act: Callable[[torch.Tensor], torch.Tensor], gate: Callable[[torch.Tensor], torch.Tensor], depth: int
    ) -> None:
        super().__init__()
        self.act, self.gate = act, gate
        self.enter, self.head = nn.Conv1d(8, 32, 1), nn.Linear(32, 10)
        self.convs = nn.ModuleList(nn.Conv1d(32, 64, 2, dilation=2 ** (k % 3)) for k in range(depth))
        self.example_input = torch.zeros(8, 8, 8)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.enter(x)
        for k, conv in enumerate(self.convs):
            a, b = conv(functional.pad(x, (2 ** (k % 3), 0))).chunk(2, 1)
            x = self.act(a) * self.gate(b)
        return self.head(x[..., -1])


def bilinear() -> nn.Module:
    """Products of two linear maps: the fifth layer is of degree 32 in the input."""
    model = Gated(nn.Identity(), nn.Identity(), 5)
    for conv in model.convs:
        nn.init.normal_(conv.weight, std=2.0 / 64**0.5)
    return model


class SpatialGating(nn.Module):
    """gMLP with its skips and norms forgotten."""

    def __init__(self, depth: int = 5, width: int = 32, tokens: int = 8) -> None:
        super().__init__()
        self.enter, self.head = nn.Linear(8, width), nn.Linear(width, 10)
        self.up = nn.ModuleList(nn.Linear(width, 2 * width) for _ in range(depth))
        self.mix = nn.ModuleList(nn.Linear(tokens, tokens) for _ in range(depth))
        self.down = nn.ModuleList(nn.Linear(width, width) for _ in range(depth))
        self.example_input = torch.zeros(8, tokens, 8)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.enter(x)
        for up, mix, down in zip(self.up, self.mix, self.down, strict=True):
            u, v = functional.gelu(up(x)).chunk(2, -1)
            x = down(u * mix(v.transpose(1, 2)).transpose(1, 2))
        return self.head(x.mean(1))


class Experts(nn.Module):
    """Experts in one tensor, drawn by the fan that ``nn.init`` reads off its shape."""

    def __init__(self, depth: int = 3, width: int = 32, hidden: int = 64, count: int = 8) -> None:
        super().__init__()
        self.enter, self.head = nn.Linear(64, width), nn.Linear(width, 10)
        self.routers = nn.ModuleList(nn.Linear(width, count) for _ in range(depth))
        self.up = nn.ParameterList(nn.Parameter(torch.empty(count, width, hidden)) for _ in range(depth))
        self.down = nn.ParameterList(nn.Parameter(torch.empty(count, hidden, width)) for _ in range(depth))
        for weight in (*self.up, *self.down):
            nn.init.kaiming_uniform_(weight, a=math.sqrt(5))
        self.example_input = torch.zeros(16, 64)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.enter(x)
        for router, up, down in zip(self.routers, self.up, self.down, strict=True):
            hidden = torch.relu(torch.einsum("bd,edh->ebh", x, up))
            x = torch.einsum("be,ebd->bd", router(x).softmax(-1), torch.bmm(hidden, down))
        return self.head(x)


class Hypernetwork(nn.Module):
    """Weights that a linear map makes of a code, drawn as if it made activations."""

    def __init__(self, depth: int = 6, width: int = 32, code: int = 8) -> None:
        super().__init__()
        self.width = width
        self.enter, self.head = nn.Linear(64, width), nn.Linear(width, 10)
        self.codes, self.make = nn.Parameter(torch.randn(depth, code)), nn.Linear(code, width * width)
        nn.init.normal_(self.make.weight, std=0.01)
        nn.init.zeros_(self.make.bias)
        self.example_input = torch.zeros(16, 64)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.relu(self.enter(x))
        for weight in self.make(self.codes).unflatten(-1, (self.width, self.width)).unbind(0):
            x = torch.relu(x @ weight)
        return self.head(x)


class DeepSets(nn.Module):
    """Each of 64 points sees the sum of all, layer after layer."""

    def __init__(self, depth: int = 4, width: int = 24) -> None:
        super().__init__()
        self.own = nn.ModuleList(nn.Linear(width if k else 3, width) for k in range(depth))
        self.all = nn.ModuleList(nn.Linear(width if k else 3, width) for k in range(depth))
        self.head = nn.Linear(width, 10)
        for layer in (*self.own, *self.all):
            he(layer.weight)
        self.example_input = torch.zeros(4, 64, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for own, rest in zip(self.own, self.all, strict=True):
            x = torch.relu(own(x) + rest(x.sum(1, keepdim=True)))
        return self.head(x.sum(1))


class GraphNetwork(nn.Module):
    """Eight graph convolutions over a grid with sums where the degree should divide."""

    def __init__(self, depth: int = 8, width: int = 24, side: int = 8) -> None:
        super().__init__()
        at = torch.arange(side)
        near = ((at[:, None] - at).abs() <= 1).float()
        self.register_buffer("adjacency", torch.kron(near, near))
        self.layers = nn.ModuleList(nn.Linear(width if k else 1, width) for k in range(depth))
        self.head = nn.Linear(side * side * width, 10)
        for layer in self.layers:
            he(layer.weight)
        self.example_input = torch.zeros(4, side * side, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for layer in self.layers:
            x = torch.relu(self.adjacency @ layer(x))
        return self.head(x.flatten(1))


def depthwise(blocks: int = 8, channels: int = 32) -> nn.Module:
    """Depthwise convolutions drawn by a fan that forgets the groups, no norm."""
    layers: list[nn.Module] = [nn.Conv2d(1, channels, 3, padding=1), nn.ReLU()]
    for _ in range(blocks):
        layers += [nn.Conv2d(channels, channels, 3, padding=1, groups=channels), nn.ReLU()]
        layers += [nn.Conv2d(channels, channels, 1), nn.ReLU()]
    model = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, 10))
    for module in model:
        if isinstance(module, nn.Conv2d):
            taps = math.prod(module.kernel_size)
            nn.init.normal_(module.weight, std=math.sqrt(2 / (taps * module.in_channels)))
            nn.init.zeros_(module.bias)
    return example(model, (4, 1, 8, 8))


class LinearAttention(nn.Module):
    """Linear attention that is not divided by the sum of its weights."""

    def __init__(self, depth: int = 4, width: int = 32) -> None:
        super().__init__()
        self.tokens, self.head = nn.Embedding(16, width), nn.Linear(width, 4)
        self.layers = nn.ModuleList(nn.Linear(width, 3 * width) for _ in range(depth))
        for layer in self.layers:
            nn.init.normal_(layer.weight, std=width**-0.5)
        self.example_input = torch.zeros(8, 16, dtype=torch.long)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        x = self.tokens(ids)
        for layer in self.layers:
            q, k, v = layer(x).chunk(3, -1)
            x = x + (functional.elu(q) + 1) @ ((functional.elu(k) + 1).transpose(1, 2) @ v)
        return self.head(x.mean(1))


class Capsules(nn.Module):
    """Squashing makes a short vector shorter: its length becomes its square."""

    def __init__(self, depth: int = 3, count: int = 8, size: int = 8) -> None:
        super().__init__()
        self.enter, self.head = nn.Linear(64, count * size), nn.Linear(count * size, 10)
        self.weights = nn.ParameterList(
            nn.Parameter(0.01 * torch.randn(count, count, size, size)) for _ in range(depth)
        )
        self.count = count
        self.example_input = torch.zeros(16, 64)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.relu(self.enter(x)).unflatten(-1, (self.count, -1))
        for weight in self.weights:
            y = torch.einsum("bid,ijde->bje", x, weight)
            square = y.pow(2).sum(-1, keepdim=True)
            x = square / (1 + square) * y / torch.sqrt(square + 1e-9)
        return self.head(x.flatten(1))


class Maxout(nn.Module):
    """The largest of four units has twice the mean square of one; He's factor of two comes on top."""

    def __init__(self, depth: int = 20, width: int = 48) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(width if k else 64, 4 * width) for k in range(depth))
        self.head = nn.Linear(width, 10)
        for layer in self.layers:
            he(layer.weight)
            nn.init.zeros_(layer.bias)
        self.example_input = torch.zeros(16, 64)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for layer in self.layers:
            x = layer(x).unflatten(-1, (-1, 4)).amax(-1)
        return self.head(x)


class Variational(nn.Module):
    """A variational autoencoder whose log-variances start in the hundreds, and are exponentiated."""

    def __init__(self, width: int = 48, code: int = 8) -> None:
        super().__init__()
        self.encoder = stack([64, width, width, width, 2 * code], init=normal(0.7))
        self.decoder = stack([code, width, width, width, 64], init=normal(0.7))
        self.example_input = torch.zeros(16, 64)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        mean, log_variance = self.encoder(x).chunk(2, -1)
        return self.decoder(mean + torch.exp(0.5 * log_variance) * torch.randn_like(mean))


class LowRank(nn.Module):
    """Every weight a product of two factors, both zero."""

    def __init__(self, depth: int = 4, width: int = 64, rank: int = 8) -> None:
        super().__init__()
        self.a = nn.ParameterList(nn.Parameter(torch.zeros(rank, width)) for _ in range(depth))
        self.b = nn.ParameterList(nn.Parameter(torch.zeros(width, rank)) for _ in range(depth))
        self.head = nn.Linear(width, 10)
        self.example_input = torch.zeros(16, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for a, b in zip(self.a, self.b, strict=True):
            x = torch.relu(x @ a.T @ b.T)
        return self.head(x)


class Square(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.square()


def weight_norm(gain: float) -> nn.Module:
    """Weight normalisation whose scale is a number that once suited something else."""
    model = stack([64, *([48] * 6), 10], bias=0.0)
    for module in list(model)[:-1]:
        if isinstance(module, nn.Linear):
            nn.utils.parametrizations.weight_norm(module)
            nn.init.constant_(module.parametrizations.weight.original0, gain)
    return model


def closed_norms() -> nn.Module:
    """The zero that is meant for the last norm of a residual branch, in every norm."""
    model = stack([64, *([48] * 4), 10], init=he, norm=nn.LayerNorm)
    for module in model:
        if isinstance(module, nn.LayerNorm):
            nn.init.zeros_(module.weight)
    return model


UNUSUAL: dict[str, Sick] = {
    "highway_half_open": expected(Highway, "vanishing"),
    "wavenet_without_skips": expected(lambda: Gated(torch.tanh, torch.sigmoid, 12), "vanishing", "collapse"),
    "bilinear_without_skips": expected(bilinear, "exploding", "fluctuation"),
    "gmlp_without_skips": expected(SpatialGating, "vanishing", "collapse"),
    "stacked_experts": expected(Experts, "vanishing"),
    "hypernetwork_0.01": expected(Hypernetwork, "vanishing"),
    "deep_sets_of_sums": expected(DeepSets, "exploding"),
    "graph_of_sums": expected(GraphNetwork, "exploding"),
    "depthwise_without_groups": expected(depthwise, "vanishing"),
    "linear_attention_of_sums": expected(LinearAttention, "exploding", "residual"),
    "short_capsules": expected(Capsules, "vanishing"),
    "maxout_he": expected(Maxout, "exploding"),
    "vae_0.7": expected(Variational, "exploding", "overflow"),
    "low_rank_zeros": expected(LowRank, "dead", "symmetry"),
    "squares_6": expected(lambda: stack([64, *([48] * 6), 10], Square, normal(0.144)), "exploding", "fluctuation"),
    "weight_norm_0.1": expected(lambda: weight_norm(0.1), "vanishing"),
    "closed_norms": expected(closed_norms, "dead"),
}
"""Name -> (factory, failure modes)."""
