"""Image classifiers and dense predictors as people write them, at the initialisation they are trained from."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.nn import functional

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


class WithExample(nn.Sequential):
    """Layers in order, with an example input of a stated shape."""

    def __init__(self, *layers: nn.Module, shape: Sequence[int]) -> None:
        super().__init__(*layers)
        self.example_input = torch.zeros(tuple(shape))


def he_fan_out(module: nn.Module) -> nn.Module:
    """What torchvision does to its networks: He by fan-out, norms at one and zero, 0.01 for the classifier."""
    for child in module.modules():
        if isinstance(child, nn.Conv2d):
            nn.init.kaiming_normal_(child.weight, mode="fan_out", nonlinearity="relu")
            if child.bias is not None:
                nn.init.zeros_(child.bias)
        elif isinstance(child, nn.BatchNorm2d | nn.GroupNorm):
            nn.init.ones_(child.weight)
            nn.init.zeros_(child.bias)
        elif isinstance(child, nn.Linear):
            nn.init.normal_(child.weight, 0.0, 0.01)
            nn.init.zeros_(child.bias)
    return module


class TutorialNet(nn.Module):
    """PyTorch's first tutorial on image classification."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.pool, self.conv2 = nn.Conv2d(3, 6, 5), nn.MaxPool2d(2, 2), nn.Conv2d(6, 16, 5)
        self.fc1, self.fc2, self.fc3 = nn.Linear(16 * 5 * 5, 120), nn.Linear(120, 84), nn.Linear(84, 10)
        self.example_input = torch.zeros(4, 3, 32, 32)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.pool(functional.relu(self.conv1(x)))
        x = self.pool(functional.relu(self.conv2(x)))
        x = functional.relu(self.fc2(functional.relu(self.fc1(torch.flatten(x, 1)))))
        return self.fc3(x)


def mnist_example() -> nn.Module:
    """PyTorch's MNIST example."""
    return WithExample(
        *(nn.Conv2d(1, 32, 3), nn.ReLU(), nn.Conv2d(32, 64, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Dropout(0.25)),
        *(nn.Flatten(), nn.Linear(9216, 128), nn.ReLU(), nn.Dropout(0.5), nn.Linear(128, 10), nn.LogSoftmax(1)),
        shape=(4, 1, 28, 28),
    )


def mlp() -> nn.Module:
    return WithExample(
        *(nn.Flatten(), nn.Linear(784, 512), nn.ReLU(), nn.Linear(512, 512), nn.ReLU(), nn.Linear(512, 10)),
        shape=(4, 1, 28, 28),
    )


def lenet() -> nn.Module:
    pool = nn.AvgPool2d(2)
    return WithExample(
        *(nn.Conv2d(1, 6, 5, padding=2), nn.Tanh(), pool, nn.Conv2d(6, 16, 5), nn.Tanh(), pool, nn.Flatten()),
        *(nn.Linear(400, 120), nn.Tanh(), nn.Linear(120, 84), nn.Tanh(), nn.Linear(84, 10)),
        shape=(4, 1, 28, 28),
    )


def alexnet() -> nn.Module:
    """torchvision's, with its default initialisation; its weights were trained by SGD at 0.01."""
    features = (
        *(nn.Conv2d(3, 64, 11, stride=4, padding=2), nn.ReLU(), nn.MaxPool2d(3, 2)),
        *(nn.Conv2d(64, 192, 5, padding=2), nn.ReLU(), nn.MaxPool2d(3, 2)),
        *(nn.Conv2d(192, 384, 3, padding=1), nn.ReLU(), nn.Conv2d(384, 256, 3, padding=1), nn.ReLU()),
        *(nn.Conv2d(256, 256, 3, padding=1), nn.ReLU(), nn.MaxPool2d(3, 2)),
    )
    classifier = (
        *(nn.AdaptiveAvgPool2d(6), nn.Flatten(), nn.Dropout(), nn.Linear(9216, 4096), nn.ReLU()),
        *(nn.Dropout(), nn.Linear(4096, 4096), nn.ReLU(), nn.Linear(4096, 1000)),
    )
    return WithExample(*features, *classifier, shape=(4, 3, 224, 224))


def vgg19(*, norm: bool) -> nn.Module:
    layers: list[nn.Module] = []
    channels = 3
    for width, count in ((64, 2), (128, 2), (256, 4), (512, 4), (512, 4)):
        for _ in range(count):
            layers += [nn.Conv2d(channels, width, 3, padding=1), *([nn.BatchNorm2d(width)] if norm else []), nn.ReLU()]
            channels = width
        layers.append(nn.MaxPool2d(2, 2))
    layers += [nn.AdaptiveAvgPool2d(7), nn.Flatten(), nn.Linear(25088, 4096), nn.ReLU(), nn.Dropout()]
    layers += [nn.Linear(4096, 4096), nn.ReLU(), nn.Dropout(), nn.Linear(4096, 1000)]
    return he_fan_out(WithExample(*layers, shape=(4, 3, 224, 224)))


def conv_norm(inputs: int, outputs: int, kernel: int = 3, stride: int = 1, groups: int = 1) -> nn.Sequential:
    conv = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(outputs))


class Residual(nn.Module):
    """relu(branch(x) + skip(x)), the skip projected where the shape changes."""

    def __init__(self, branch: nn.Sequential, skip: nn.Module) -> None:
        super().__init__()
        self.branch, self.skip, self.relu = branch, skip, nn.ReLU(inplace=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.relu(self.branch(x) + self.skip(x))


class SqueezeExcite(nn.Module):
    def __init__(self, width: int, squeezed: int, activation: type[nn.Module] = nn.ReLU) -> None:
        super().__init__()
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.fc1, self.fc2 = nn.Conv2d(width, squeezed, 1), nn.Conv2d(squeezed, width, 1)
        self.activation = activation()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * torch.sigmoid(self.fc2(self.activation(self.fc1(self.pool(x)))))


def basic_branch(inputs: int, width: int, stride: int) -> tuple[nn.Sequential, int]:
    return nn.Sequential(*conv_norm(inputs, width, 3, stride), nn.ReLU(inplace=True), *conv_norm(width, width)), width


def bottleneck_branch(
    inputs: int, width: int, stride: int, *, groups: int = 1, inner: float = 1.0, excite: bool = False
) -> tuple[nn.Sequential, int]:
    middle = int(width * inner)
    layers = (
        *(*conv_norm(inputs, middle, 1), nn.ReLU(inplace=True)),
        *(*conv_norm(middle, middle, 3, stride, groups), nn.ReLU(inplace=True)),
        *conv_norm(middle, 4 * width, 1),
        *([SqueezeExcite(4 * width, width // 4)] if excite else []),
    )
    return nn.Sequential(*layers), 4 * width


def resnet(
    depths: Sequence[int],
    branch: Callable[[int, int, int], tuple[nn.Sequential, int]] = bottleneck_branch,
    *,
    zero_gamma: bool = False,
) -> nn.Module:
    """Torchvision's ResNet."""
    layers: list[nn.Module] = [*conv_norm(3, 64, 7, 2), nn.ReLU(inplace=True), nn.MaxPool2d(3, 2, 1)]
    channels = 64
    for stage, depth in enumerate(depths):
        for block in range(depth):
            stride = 2 if stage and not block else 1
            body, outputs = branch(channels, 64 << stage, stride)
            skip = nn.Identity() if stride == 1 and channels == outputs else conv_norm(channels, outputs, 1, stride)
            layers.append(Residual(body, skip))
            channels = outputs
    model = WithExample(
        *layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, 1000), shape=(4, 3, 224, 224)
    )
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        elif zero_gamma and isinstance(module, Residual):
            nn.init.zeros_([child for child in module.branch if isinstance(child, nn.BatchNorm2d)][-1].weight)
    return model


def se_resnet50() -> nn.Module:
    return resnet([3, 4, 6, 3], lambda a, b, s: bottleneck_branch(a, b, s, excite=True))


def resnext50() -> nn.Module:
    return resnet([3, 4, 6, 3], lambda a, b, s: bottleneck_branch(a, b, s, groups=32, inner=2.0))


def wide_resnet50() -> nn.Module:
    return resnet([3, 4, 6, 3], lambda a, b, s: bottleneck_branch(a, b, s, inner=2.0))


class PreActivation(nn.Module):
    """He et al. (2016): x + branch(norm, relu, x), the shortcut from the first activation."""

    def __init__(self, inputs: int, width: int, stride: int) -> None:
        super().__init__()
        self.norm1, self.conv1 = nn.BatchNorm2d(inputs), nn.Conv2d(inputs, width, 3, stride, 1, bias=False)
        self.norm2, self.conv2 = nn.BatchNorm2d(width), nn.Conv2d(width, width, 3, 1, 1, bias=False)
        changes = stride != 1 or inputs != width
        self.shortcut = nn.Conv2d(inputs, width, 1, stride, bias=False) if changes else None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = functional.relu(self.norm1(x))
        skip = x if self.shortcut is None else self.shortcut(y)
        return self.conv2(functional.relu(self.norm2(self.conv1(y)))) + skip


def preact_resnet(depth: int, widen: int = 1, classes: int = 10) -> nn.Module:
    """For 32x32 images; with widen > 1 a WideResNet."""
    layers: list[nn.Module] = [nn.Conv2d(3, 16, 3, 1, 1, bias=False)]
    channels = 16
    for stage in range(3):
        for block in range((depth - 4) // 6):
            width = (16 << stage) * widen
            layers.append(PreActivation(channels, width, 2 if stage and not block else 1))
            channels = width
    layers += [nn.BatchNorm2d(channels), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, classes)]
    model = WithExample(*layers, shape=(4, 3, 32, 32))
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
    return model


class DenseLayer(nn.Module):
    def __init__(self, inputs: int, growth: int) -> None:
        super().__init__()
        self.norm1, self.conv1 = nn.BatchNorm2d(inputs), nn.Conv2d(inputs, 4 * growth, 1, bias=False)
        self.norm2, self.conv2 = nn.BatchNorm2d(4 * growth), nn.Conv2d(4 * growth, growth, 3, padding=1, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.conv1(functional.relu(self.norm1(x)))
        return torch.cat([x, self.conv2(functional.relu(self.norm2(y)))], 1)


def densenet121() -> nn.Module:
    layers: list[nn.Module] = [*conv_norm(3, 64, 7, 2), nn.ReLU(), nn.MaxPool2d(3, 2, 1)]
    channels = 64
    for stage, depth in enumerate((6, 12, 24, 16)):
        for _ in range(depth):
            layers.append(DenseLayer(channels, 32))
            channels += 32
        if stage < 3:
            layers += [nn.BatchNorm2d(channels), nn.ReLU(), nn.Conv2d(channels, channels // 2, 1, bias=False)]
            layers.append(nn.AvgPool2d(2))
            channels //= 2
    layers += [nn.BatchNorm2d(channels), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, 1000)]
    model = WithExample(*layers, shape=(4, 3, 224, 224))
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight)
    return model


def unscaled_gain(weight: torch.Tensor) -> torch.Tensor:
    """Weight standardisation of NFNets: rows of mean zero and variance 1/fan_in."""
    fan_in = math.prod(weight.shape[1:])
    mean, variance = weight.mean((1, 2, 3), keepdim=True), weight.var((1, 2, 3), keepdim=True)
    return (weight - mean) * torch.rsqrt(torch.clamp(variance * fan_in, min=1e-4))


CONVOLUTIONAL: dict[str, Callable[[], nn.Module]] = {
    "tutorial_cnn": TutorialNet,
    "mnist_example": mnist_example,
    "mlp_three_layers": mlp,
    "lenet": lenet,
    "alexnet": alexnet,
    "vgg19_bn": lambda: vgg19(norm=True),
    "vgg19_he": lambda: vgg19(norm=False),
    "resnet18": lambda: resnet([2, 2, 2, 2], basic_branch),
    "resnet50": lambda: resnet([3, 4, 6, 3]),
    "resnet101": lambda: resnet([3, 4, 23, 3]),
    "resnet50_zero_gamma": lambda: resnet([3, 4, 6, 3], zero_gamma=True),
    "preact_resnet110": lambda: preact_resnet(112),
    "wide_resnet_28_10": lambda: preact_resnet(28, 10),
    "wide_resnet50": wide_resnet50,
    "resnext50": resnext50,
    "se_resnet50": se_resnet50,
    "densenet121": densenet121,
}
"""Name -> factory."""
