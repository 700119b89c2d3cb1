"""Convolutional networks without skips: VGG-like, strided, dilated, grouped, depthwise, transposed, one-dimensional."""

from __future__ import annotations

from functools import partial
from typing import Any

from torch import nn

from zoo.entry import ACTIVATIONS, Entry, initialise, normal

__all__ = ["ENTRIES"]

BATCH = 8
NORMED = 32
"""Samples of models with batch normalisation: as many as the analysis assumes."""


def vgg(scheme: str, pool: str, *, activation: str = "relu", norm: bool = False) -> nn.Module:
    """Three stages of two 3x3 convolutions, pooled by two after each."""
    layers: list[nn.Module] = []
    before = 3
    for channels in (16, 24, 32):
        for _ in range(2):
            layers.append(nn.Conv2d(before, channels, 3, padding=1))
            layers += [nn.BatchNorm2d(channels)] if norm else []
            layers.append(ACTIVATIONS[activation]())
            before = channels
        layers.append(nn.MaxPool2d(2) if pool == "max" else nn.AvgPool2d(2))
    return initialise(nn.Sequential(*layers, nn.Flatten(), nn.Linear(32 * 4, 10)), scheme)


def stack(scheme: str, depth: int, channels: int, *, activation: str = "relu", **options: Any) -> nn.Module:
    """Convolutions of one kind in a row, then global average pooling."""
    kernel = options.pop("kernel", 3)
    layers: list[nn.Module] = [nn.Conv2d(3, channels, 3, padding=1), ACTIVATIONS[activation]()]
    for _ in range(depth):
        layers += [nn.Conv2d(channels, channels, kernel, **options), ACTIVATIONS[activation]()]
    return initialise(nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, 10)), scheme)


def depthwise(scheme: str, *, norm: bool) -> nn.Module:
    """Depthwise 3x3 and pointwise convolutions in turn."""
    layers: list[nn.Module] = [nn.Conv2d(3, 24, 3, padding=1)]
    for _ in range(4):
        for conv in (nn.Conv2d(24, 24, 3, padding=1, groups=24), nn.Conv2d(24, 24, 1)):
            layers += [conv, *([nn.BatchNorm2d(24)] if norm else []), nn.ReLU()]
    return initialise(nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(24, 10)), scheme)


def autoencoder(scheme: str, activation: str) -> nn.Module:
    """Strided down, transposed up."""
    make = ACTIVATIONS[activation]
    return initialise(
        nn.Sequential(
            *(nn.Conv2d(3, 16, 3, stride=2, padding=1), make(), nn.Conv2d(16, 32, 3, stride=2, padding=1), make()),
            *(nn.Conv2d(32, 48, 3, stride=2, padding=1), make()),
            *(nn.ConvTranspose2d(48, 32, 4, stride=2, padding=1), make()),
            *(nn.ConvTranspose2d(32, 16, 3, stride=2, padding=1, output_padding=1), make()),
            *(nn.ConvTranspose2d(16, 16, 2, stride=2), make(), nn.Conv2d(16, 3, 3, padding=1)),
        ),
        scheme,
    )


def waveform() -> nn.Module:
    """One-dimensional, strided, with max pooling over time at the end."""
    layers: list[nn.Module] = [nn.Conv1d(1, 16, 9, stride=4), nn.ReLU(), nn.MaxPool1d(3)]
    for _ in range(3):
        layers += [nn.Conv1d(16, 16, 3, padding=1), nn.ReLU()]
    return nn.Sequential(*layers, nn.AdaptiveMaxPool1d(1), nn.Flatten(), nn.Linear(16, 10))


def volumes() -> nn.Module:
    """Three-dimensional convolutions."""
    return initialise(
        nn.Sequential(
            *(nn.Conv3d(1, 8, 3, padding=1), nn.ReLU(), nn.MaxPool3d(2), nn.Conv3d(8, 16, 3, padding=1), nn.ReLU()),
            *(nn.AdaptiveAvgPool3d(1), nn.Flatten(), nn.Linear(16, 5)),
        ),
        "he",
    )


def image(batch: int = BATCH, size: int = 16) -> Any:
    return normal(batch, 3, size, size)


ENTRIES = [
    Entry("conv/vgg/he/max", partial(vgg, "he", "max"), image(), variance=True),
    Entry("conv/vgg/he/avg", partial(vgg, "he", "avg"), image(), variance=True),
    Entry("conv/vgg/default/max", partial(vgg, "default", "max"), image()),
    Entry("conv/vgg/gelu/xavier/avg", partial(vgg, "xavier", "avg", activation="gelu"), image()),
    Entry("conv/vgg/bn/default", partial(vgg, "default", "max", norm=True), image(NORMED), NORMED),
    Entry("conv/strided/he", partial(stack, "he", 3, 24, stride=2, padding=1), image(size=24), variance=True),
    Entry("conv/dilated/he", partial(stack, "he", 4, 16, dilation=2, padding=2), image(), variance=True),
    Entry("conv/grouped/he", partial(stack, "he", 5, 32, groups=4, padding=1), image(), variance=True),
    Entry("conv/deep/he/c12", partial(stack, "he", 12, 12, padding=1), image(size=12), variance=True),
    Entry("conv/deep/tanh/orthogonal", partial(stack, "orthogonal", 8, 16, activation="tanh", padding=1), image()),
    Entry("conv/kernel5/silu/he", partial(stack, "he", 4, 16, activation="silu", kernel=5, padding=2), image()),
    Entry("conv/valid/selu/lecun", partial(stack, "lecun", 4, 16, activation="selu"), image(), variance=True),
    Entry("conv/depthwise/he", partial(depthwise, "he", norm=False), image()),
    Entry("conv/depthwise/bn/default", partial(depthwise, "default", norm=True), image(NORMED), NORMED),
    Entry("conv/autoencoder/he/relu", partial(autoencoder, "he", "relu"), image()),
    Entry("conv/autoencoder/default/leaky_relu", partial(autoencoder, "default", "leaky_relu"), image()),
    Entry("conv/autoencoder/lecun/elu", partial(autoencoder, "lecun", "elu"), image(), variance=True),
    Entry("conv/waveform/default", waveform, normal(BATCH, 1, 256)),
    Entry("conv/volumes/he", volumes, normal(BATCH, 1, 8, 8, 8)),
]
