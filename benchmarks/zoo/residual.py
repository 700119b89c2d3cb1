"""Residual networks: with and without normalisation, before and after the activation, DenseNet, U-Net."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.nn import functional

from zoo.entry import ACTIVATIONS, Entry, initialise, normal

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["ENTRIES"]

BATCH, NORMED = 8, 32


class Branch(nn.Module):
    """x + factor * body(x), an activation after it where given."""

    def __init__(self, body: nn.Module, factor: float = 1.0, after: nn.Module | None = None) -> None:
        super().__init__()
        self.body, self.factor, self.after = body, factor, after

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x + self.factor * self.body(x)
        return x if self.after is None else self.after(x)


def relu_ended(width: int, blocks: int, factor: float) -> nn.Module:
    """Blocks x + eta relu(W x), as in the paper."""
    body = (nn.Sequential(nn.Linear(width, width), nn.ReLU()) for _ in range(blocks))
    return initialise(
        nn.Sequential(nn.Linear(32, width), *(Branch(b, factor) for b in body), nn.Linear(width, 10)), "he"
    )


def pre_activation(width: int, blocks: int, activation: str, scheme: str, factor: float = 1.0) -> nn.Module:
    """Blocks x + eta W2 f(W1 f(x)) without normalisation."""
    make = ACTIVATIONS[activation]
    bodies = (nn.Sequential(make(), nn.Linear(width, width), make(), nn.Linear(width, width)) for _ in range(blocks))
    return initialise(
        nn.Sequential(nn.Linear(32, width), *(Branch(b, factor) for b in bodies), make(), nn.Linear(width, 10)), scheme
    )


def normed_mlp(width: int, blocks: int, norm: Callable[[int], nn.Module], activation: str) -> nn.Module:
    """Blocks x + W2 f(W1 norm(x)) as torch draws them."""
    make = ACTIVATIONS[activation]
    bodies = (
        nn.Sequential(norm(width), nn.Linear(width, 2 * width), make(), nn.Linear(2 * width, width))
        for _ in range(blocks)
    )
    return nn.Sequential(nn.Linear(32, width), *(Branch(b) for b in bodies), norm(width), nn.Linear(width, 10))


def post_activation(width: int, blocks: int) -> nn.Module:
    """relu(x + W2 relu(W1 x)) without normalisation."""
    bodies = (nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, width)) for _ in range(blocks))
    stem = (nn.Linear(32, width), nn.ReLU())
    return initialise(nn.Sequential(*stem, *(Branch(b, after=nn.ReLU()) for b in bodies), nn.Linear(width, 10)), "he")


class Block(nn.Module):
    """ResNet's basic block."""

    def __init__(self, before: int, channels: int, stride: int, norm: Callable[[int], nn.Module]) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(before, channels, 3, stride, 1, bias=False)
        self.norm1 = norm(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, 1, 1, bias=False)
        self.norm2 = norm(channels)
        change = stride != 1 or before != channels
        self.skip = (
            nn.Sequential(nn.Conv2d(before, channels, 1, stride, bias=False), norm(channels)) if change else None
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = functional.relu(self.norm1(self.conv1(x)))
        y = self.norm2(self.conv2(y))
        return functional.relu(y + (x if self.skip is None else self.skip(x)))


def resnet(norm: Callable[[int], nn.Module], scheme: str = "he", blocks: int = 2) -> nn.Module:
    """A stem and two stages of basic blocks."""
    layers: list[nn.Module] = [nn.Conv2d(3, 16, 3, 1, 1, bias=False), norm(16), nn.ReLU()]
    before = 16
    for channels, stride in ((16, 1), (32, 2)):
        for index in range(blocks):
            layers.append(Block(before, channels, stride if index == 0 else 1, norm))
            before = channels
    return initialise(nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, 10)), scheme)


def pre_activation_images(norm: Callable[[int], nn.Module]) -> nn.Module:
    """Norm, ReLU, convolution, twice, on every branch."""

    def body() -> nn.Module:
        half = [(norm(16), nn.ReLU(), nn.Conv2d(16, 16, 3, padding=1)) for _ in range(2)]
        return nn.Sequential(*(layer for layers in half for layer in layers))

    model = nn.Sequential(nn.Conv2d(3, 16, 3, padding=1), *(Branch(body()) for _ in range(4)), norm(16), nn.ReLU())
    return initialise(nn.Sequential(model, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 10)), "he")


def fixup(blocks: int) -> nn.Module:
    """No norms: small first, zero last layer on every branch, scalar biases and a scalar factor."""
    branches = []
    for _ in range(blocks):
        first, last = nn.Conv2d(16, 16, 3, padding=1, bias=False), nn.Conv2d(16, 16, 3, padding=1, bias=False)
        nn.init.normal_(first.weight, std=(2 / (16 * 9)) ** 0.5 * blocks**-0.5)
        nn.init.zeros_(last.weight)
        branches.append(Branch(nn.Sequential(first, nn.ReLU(), last), after=nn.ReLU()))
    stem = nn.Conv2d(3, 16, 3, padding=1)
    nn.init.kaiming_normal_(stem.weight, nonlinearity="relu")
    return nn.Sequential(stem, nn.ReLU(), *branches, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 10))


class Dense(nn.Module):
    """DenseNet: every layer reads all before it."""

    def __init__(self, growth: int, layers: int, *, norm: bool) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 2 * growth, 3, padding=1)
        widths = [growth * (2 + index) for index in range(layers)]
        self.norms = nn.ModuleList(nn.BatchNorm2d(w) if norm else nn.Identity() for w in widths)
        self.convs = nn.ModuleList(nn.Conv2d(w, growth, 3, padding=1) for w in widths)
        self.down = nn.Conv2d(growth * (2 + layers), 2 * growth, 1)
        self.head = nn.Linear(2 * growth, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.stem(x)
        for norm, conv in zip(self.norms, self.convs, strict=True):
            x = torch.cat((x, conv(functional.relu(norm(x)))), dim=1)
        return self.head(functional.avg_pool2d(self.down(functional.relu(x)), 2).mean((2, 3)))


class UNet(nn.Module):
    """Two levels down, two up, skips by concatenation."""

    def __init__(self, *, norm: bool) -> None:
        super().__init__()

        def double(before: int, channels: int) -> nn.Module:
            layers = [nn.Conv2d(before, channels, 3, padding=1), nn.Conv2d(channels, channels, 3, padding=1)]
            steps = ((layer, *([nn.GroupNorm(4, channels)] if norm else []), nn.SiLU()) for layer in layers)
            return nn.Sequential(*(part for step in steps for part in step))

        self.down = nn.ModuleList((double(3, 16), double(16, 24)))
        self.middle = double(24, 32)
        self.raise_ = nn.ModuleList((nn.ConvTranspose2d(32, 24, 2, stride=2), nn.ConvTranspose2d(24, 16, 2, stride=2)))
        self.up = nn.ModuleList((double(48, 24), double(32, 16)))
        self.out = nn.Conv2d(16, 3, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        skips = []
        for level in self.down:
            x = level(x)
            skips.append(x)
            x = functional.max_pool2d(x, 2)
        x = self.middle(x)
        for level, enlarge, skip in zip(self.up, self.raise_, reversed(skips), strict=True):
            x = level(torch.cat((enlarge(x), skip), dim=1))
        return self.out(x)


def group_norm(channels: int) -> nn.Module:
    return nn.GroupNorm(4, channels)


def no_norm(_: int) -> nn.Module:
    return nn.Identity()


def vector(batch: int = BATCH) -> Callable[[], tuple[torch.Tensor, ...] | dict[str, torch.Tensor]]:
    return normal(batch, 32)


def image(batch: int = BATCH, size: int = 12) -> Callable[[], tuple[torch.Tensor, ...] | dict[str, torch.Tensor]]:
    return normal(batch, 3, size, size)


ENTRIES = [
    Entry("residual/relu_ended/eta1/w32/d8", partial(relu_ended, 32, 8, 1.0), vector(), variance=True),
    Entry("residual/relu_ended/eta0.1/w16/d24", partial(relu_ended, 16, 24, 0.1), vector(), variance=True),
    Entry("residual/pre/relu/he/w32/d8", partial(pre_activation, 32, 8, "relu", "he"), vector(), variance=True),
    Entry(
        "residual/pre/relu/he/scaled/d24",
        partial(pre_activation, 32, 24, "relu", "he", 24**-0.5),
        vector(),
        variance=True,
    ),
    Entry(
        "residual/pre/tanh/xavier/w64/d12", partial(pre_activation, 64, 12, "tanh", "xavier"), vector(), variance=True
    ),
    Entry("residual/pre/silu/default/w64/d12", partial(pre_activation, 64, 12, "silu", "default"), vector()),
    Entry("residual/post/relu/he/w32/d8", partial(post_activation, 32, 8), vector(), variance=True),
    Entry("residual/layer_norm/gelu/w48/d8", partial(normed_mlp, 48, 8, nn.LayerNorm, "gelu"), vector()),
    Entry("residual/rms_norm/silu/w48/d8", partial(normed_mlp, 48, 8, nn.RMSNorm, "silu"), vector()),
    Entry(
        "residual/batch_norm/relu/w48/d8", partial(normed_mlp, 48, 8, nn.BatchNorm1d, "relu"), vector(NORMED), NORMED
    ),
    Entry("resnet/bn/he", partial(resnet, nn.BatchNorm2d), image(NORMED), NORMED),
    Entry("resnet/bn/default", partial(resnet, nn.BatchNorm2d, "default"), image(NORMED), NORMED),
    Entry("resnet/gn/he", partial(resnet, group_norm), image()),
    Entry("resnet/none/he", partial(resnet, no_norm), image(), variance=True),
    Entry("resnet/pre/bn", partial(pre_activation_images, nn.BatchNorm2d), image(NORMED), NORMED),
    Entry("resnet/pre/none", partial(pre_activation_images, no_norm), image(), variance=True),
    Entry("resnet/fixup", partial(fixup, 6), image()),
    Entry("densenet/bn", partial(Dense, 8, 6, norm=True), image(NORMED), NORMED),
    Entry("densenet/none", partial(Dense, 8, 6, norm=False), image()),
    Entry("unet/gn", partial(UNet, norm=True), image(size=16)),
    Entry("unet/none", partial(UNet, norm=False), image(size=16), variance=True),
]
