"""Small and unusual image models: mobile networks, mixers, networks without normalisation, detectors."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.nn import functional

from healthy.convolutional import SqueezeExcite, WithExample, conv_norm, he_fan_out, unscaled_gain

if TYPE_CHECKING:
    from collections.abc import Callable


class Skip(nn.Module):
    """x + body(x)."""

    def __init__(self, body: nn.Module) -> None:
        super().__init__()
        self.body = body

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.body(x)


def inverted(
    inputs: int, outputs: int, *, expand: int, kernel: int, stride: int, squeezed: int, act: type[nn.Module]
) -> nn.Module:
    """Inverted bottleneck of MobileNets and EfficientNet."""
    hidden = inputs * expand
    layers: list[nn.Module] = [*conv_norm(inputs, hidden, 1), act()] if expand != 1 else []
    layers += [*conv_norm(hidden, hidden, kernel, stride, hidden), act()]
    layers += [SqueezeExcite(hidden, squeezed, act)] if squeezed else []
    body = nn.Sequential(*layers, *conv_norm(hidden, outputs, 1))
    return Skip(body) if stride == 1 and inputs == outputs else body


def mobile(stages: list[tuple[int, int, int, int, int]], act: type[nn.Module], *, excite: int, last: int) -> nn.Module:
    """Stages of (expand, width, depth, stride, kernel); excite divides the width for the squeeze, zero for none."""
    layers: list[nn.Module] = [*conv_norm(3, 32, 3, 2), act()]
    channels = 32
    for expand, width, depth, stride, kernel in stages:
        for block in range(depth):
            squeezed = max(1, channels // excite) if excite else 0
            options = {"expand": expand, "kernel": kernel, "squeezed": squeezed}
            layers.append(inverted(channels, width, stride=1 if block else stride, act=act, **options))
            channels = width
    layers += [*conv_norm(channels, last, 1), act(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(0.2)]
    return he_fan_out(WithExample(*layers, nn.Linear(last, 1000), shape=(4, 3, 224, 224)))


def mobilenet_v2() -> nn.Module:
    stages = [(1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1)]
    return mobile([(*stage, 3) for stage in stages], nn.ReLU6, excite=0, last=1280)


def mobilenet_v3() -> nn.Module:
    stages = [
        (1, 16, 1, 1, 3),
        (4, 24, 2, 2, 3),
        (3, 40, 3, 2, 5),
        (6, 80, 4, 2, 3),
        (6, 112, 2, 1, 3),
        (6, 160, 3, 2, 5),
    ]
    return mobile(stages, nn.Hardswish, excite=4, last=960)


def efficientnet_b0() -> nn.Module:
    stages = [
        *((1, 16, 1, 1, 3), (6, 24, 2, 2, 3), (6, 40, 2, 2, 5), (6, 80, 3, 2, 3)),
        *((6, 112, 3, 1, 5), (6, 192, 4, 2, 5), (6, 320, 1, 1, 3)),
    ]
    return mobile(stages, nn.SiLU, excite=4, last=1280)


class Shuffle(nn.Module):
    """ShuffleNetV2's unit: half of the channels pass, then all are shuffled."""

    def __init__(self, width: int) -> None:
        super().__init__()
        half = width // 2
        self.branch = nn.Sequential(
            *(*conv_norm(half, half, 1), nn.ReLU(), *conv_norm(half, half, 3, 1, half)),
            *(*conv_norm(half, half, 1), nn.ReLU()),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        kept, worked = x.chunk(2, dim=1)
        y = torch.cat((kept, self.branch(worked)), dim=1)
        batch, channels, height, width = y.shape
        return y.view(batch, 2, channels // 2, height, width).transpose(1, 2).reshape(batch, channels, height, width)


def shufflenet() -> nn.Module:
    layers: list[nn.Module] = [*conv_norm(3, 24, 3, 2), nn.ReLU(), nn.MaxPool2d(3, 2, 1)]
    channels = 24
    for width, depth in ((116, 4), (232, 8), (464, 4)):
        layers += [*conv_norm(channels, width, 3, 2), nn.ReLU(), *(Shuffle(width) for _ in range(depth - 1))]
        channels = width
    layers += [*conv_norm(channels, 1024, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(1024, 1000)]
    return WithExample(*layers, shape=(4, 3, 224, 224))


class Inception(nn.Module):
    def __init__(self, inputs: int, width: int) -> None:
        super().__init__()

        def unit(a: int, b: int, kernel: int) -> nn.Sequential:
            return nn.Sequential(*conv_norm(a, b, kernel), nn.ReLU())

        self.one = unit(inputs, width, 1)
        self.three = nn.Sequential(unit(inputs, width, 1), unit(width, width, 3))
        self.five = nn.Sequential(unit(inputs, width, 1), unit(width, width, 5))
        self.pool = nn.Sequential(nn.MaxPool2d(3, 1, 1), unit(inputs, width, 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.cat([self.one(x), self.three(x), self.five(x), self.pool(x)], 1)


def inception() -> nn.Module:
    """GoogLeNet with batch normalisation and torchvision's truncated normal of 0.01."""
    layers: list[nn.Module] = [*conv_norm(3, 64, 7, 2), nn.ReLU(), nn.MaxPool2d(3, 2, 1)]
    channels = 64
    for width in (32, 64, 64, 96, 96, 128, 128, 160, 192):
        layers.append(Inception(channels, width))
        channels = 4 * width
    layers += [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(0.2), nn.Linear(channels, 1000)]
    model = WithExample(*layers, shape=(4, 3, 112, 112))
    for module in model.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            nn.init.trunc_normal_(module.weight, mean=0.0, std=0.01, a=-2, b=2)
    return model


class Fire(nn.Module):
    """SqueezeNet's module."""

    def __init__(self, inputs: int, squeeze: int, expand: int) -> None:
        super().__init__()
        self.squeeze = nn.Conv2d(inputs, squeeze, 1)
        self.one, self.three = nn.Conv2d(squeeze, expand, 1), nn.Conv2d(squeeze, expand, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = functional.relu(self.squeeze(x))
        return torch.cat([functional.relu(self.one(x)), functional.relu(self.three(x))], 1)


def squeezenet() -> nn.Module:
    """Torchvision's SqueezeNet 1.1: He uniform, no normalisation, 0.01 for the last convolution."""
    pool = nn.MaxPool2d(3, stride=2, ceil_mode=True)
    last = nn.Conv2d(512, 1000, 1)
    model = WithExample(
        *(nn.Conv2d(3, 64, 3, stride=2), nn.ReLU(), pool, Fire(64, 16, 64), Fire(128, 16, 64), pool),
        *(Fire(128, 32, 128), Fire(256, 32, 128), pool, Fire(256, 48, 192), Fire(384, 48, 192)),
        *(Fire(384, 64, 256), Fire(512, 64, 256), nn.Dropout(0.5), last, nn.ReLU()),
        *(nn.AdaptiveAvgPool2d(1), nn.Flatten()),
        shape=(4, 3, 224, 224),
    )
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            if module is last:
                nn.init.normal_(module.weight, mean=0.0, std=0.01)
            else:
                nn.init.kaiming_uniform_(module.weight)
            nn.init.zeros_(module.bias)
    return model


def conv_mixer() -> nn.Module:
    layers: list[nn.Module] = [nn.Conv2d(3, 256, 7, stride=7), nn.GELU(), nn.BatchNorm2d(256)]
    for _ in range(8):
        spatial = nn.Sequential(nn.Conv2d(256, 256, 9, groups=256, padding="same"), nn.GELU(), nn.BatchNorm2d(256))
        layers += [Skip(spatial), nn.Conv2d(256, 256, 1), nn.GELU(), nn.BatchNorm2d(256)]
    return WithExample(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(256, 1000), shape=(4, 3, 224, 224))


class StandardisedConv(nn.Conv2d):
    """Scaled weight standardisation with a learned gain per channel (Brock et al. 2021)."""

    def __init__(self, *args: int, **options: int) -> None:
        super().__init__(*args, **options)
        nn.init.kaiming_normal_(self.weight, nonlinearity="linear")
        nn.init.zeros_(self.bias)
        self.gain = nn.Parameter(torch.ones(self.out_channels, 1, 1, 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        weight = unscaled_gain(self.weight) * self.gain
        return functional.conv2d(x, weight, self.bias, self.stride, self.padding, self.dilation, self.groups)


RELU_GAMMA = math.sqrt(2 / (1 - 1 / math.pi))
"""Makes a ReLU keep the variance of standardised weights."""


class NormFreeBlock(nn.Module):
    def __init__(self, width: int, beta: float) -> None:
        super().__init__()
        self.beta = beta
        self.conv1, self.conv2 = (
            StandardisedConv(width, width, 3, padding=1),
            StandardisedConv(width, width, 3, padding=1),
        )
        self.skip_gain = nn.Parameter(torch.zeros(()))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = functional.relu(x / self.beta) * RELU_GAMMA
        y = self.conv2(functional.relu(self.conv1(y)) * RELU_GAMMA)
        return x + 0.2 * self.skip_gain * y


class NormFree(nn.Module):
    def __init__(self, blocks: int = 12) -> None:
        super().__init__()
        self.stem = StandardisedConv(3, 64, 3, padding=1)
        self.blocks = nn.Sequential(*(NormFreeBlock(64, math.sqrt(1 + 0.04 * k)) for k in range(blocks)))
        self.head = nn.Linear(64, 10)
        nn.init.zeros_(self.head.weight)
        self.example_input = torch.zeros(4, 3, 32, 32)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = functional.relu(self.blocks(self.stem(x))) * RELU_GAMMA
        return self.head(y.mean((2, 3)))


class FixupBlock(nn.Module):
    """Scalar biases and one scale per branch, whose last convolution is zero."""

    def __init__(self, width: int, blocks: int) -> None:
        super().__init__()
        self.bias1a, self.bias1b, self.bias2a, self.bias2b = (nn.Parameter(torch.zeros(1)) for _ in range(4))
        self.conv1 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.scale = nn.Parameter(torch.ones(1))
        nn.init.normal_(self.conv1.weight, std=math.sqrt(2 / (width * 9)) * blocks**-0.5)
        nn.init.zeros_(self.conv2.weight)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = functional.relu(self.conv1(x + self.bias1a) + self.bias1b)
        return functional.relu(x + self.conv2(y + self.bias2a) * self.scale + self.bias2b)


def fixup_resnet(blocks: int = 27) -> nn.Module:
    head = nn.Linear(32, 10)
    nn.init.zeros_(head.weight)
    nn.init.zeros_(head.bias)
    stem = nn.Conv2d(3, 32, 3, padding=1, bias=False)
    nn.init.normal_(stem.weight, std=math.sqrt(2 / (32 * 9)))
    body = (FixupBlock(32, blocks) for _ in range(blocks))
    return WithExample(stem, nn.ReLU(), *body, nn.AdaptiveAvgPool2d(1), nn.Flatten(), head, shape=(4, 3, 32, 32))


class SkipInitBlock(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv1, self.conv2 = (nn.Conv2d(width, width, 3, padding=1) for _ in range(2))
        for conv in (self.conv1, self.conv2):
            nn.init.kaiming_normal_(conv.weight, nonlinearity="relu")
        self.alpha = nn.Parameter(torch.zeros(()))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.alpha * self.conv2(functional.relu(self.conv1(functional.relu(x))))


def skip_init() -> nn.Module:
    stem = nn.Conv2d(3, 32, 3, padding=1)
    nn.init.kaiming_normal_(stem.weight)
    layers = (stem, *(SkipInitBlock(32) for _ in range(20)), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    return WithExample(*layers, nn.Linear(32, 10), shape=(4, 3, 32, 32))


class Detector(nn.Module):
    """A small RetinaNet head on a pyramid: 0.01 everywhere, the prior as the bias of the last layer."""

    def __init__(self, classes: int = 20) -> None:
        super().__init__()
        self.c3 = nn.Sequential(*conv_norm(3, 32, 3, 2), nn.ReLU(), *conv_norm(32, 64, 3, 2), nn.ReLU())
        self.c4 = nn.Sequential(*conv_norm(64, 128, 3, 2), nn.ReLU())
        self.lateral3, self.lateral4 = nn.Conv2d(64, 256, 1), nn.Conv2d(128, 256, 1)
        tower = (layer for _ in range(4) for layer in (nn.Conv2d(256, 256, 3, padding=1), nn.ReLU()))
        self.head = nn.Sequential(*tower, nn.Conv2d(256, 9 * classes, 3, padding=1))
        for layer in self.head:
            if isinstance(layer, nn.Conv2d):
                nn.init.normal_(layer.weight, std=0.01)
                nn.init.zeros_(layer.bias)
        nn.init.constant_(self.head[-1].bias, -math.log((1 - 0.01) / 0.01))
        self.example_input = torch.zeros(2, 3, 64, 64)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        c3 = self.c3(x)
        p4 = self.lateral4(self.c4(c3))
        p3 = self.lateral3(c3) + functional.interpolate(p4, scale_factor=2, mode="nearest")
        return self.head(p3), self.head(p4)


MOBILE: dict[str, Callable[[], nn.Module]] = {
    "mobilenet_v2": mobilenet_v2,
    "mobilenet_v3": mobilenet_v3,
    "efficientnet_b0": efficientnet_b0,
    "shufflenet_v2": shufflenet,
    "inception": inception,
    "squeezenet": squeezenet,
    "conv_mixer": conv_mixer,
    "norm_free": NormFree,
    "fixup_resnet": fixup_resnet,
    "skip_init": skip_init,
    "retina_head": Detector,
}
"""Name -> factory."""
