"""Feed-forward and convolutional networks that cannot start, as people write them."""

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.nn import functional

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

Sick = tuple["Callable[[], nn.Module]", frozenset[str]]


def expected(factory: Callable[[], nn.Module], *modes: str) -> Sick:
    """A factory and the failure modes of which one should be named."""
    return factory, frozenset(modes)


def example(model: nn.Module, shape: Sequence[int]) -> nn.Module:
    model.example_input = torch.zeros(tuple(shape))
    return model


def stack(
    widths: Sequence[int],
    act: Callable[[], nn.Module] = nn.ReLU,
    init: Callable[[torch.Tensor], object] | None = None,
    *,
    bias: float | None = 0.0,
    norm: type[nn.Module] | None = None,
) -> nn.Sequential:
    """Linear layers with activations between them; PyTorch's own draws where ``init`` or ``bias`` is None."""
    layers: list[nn.Module] = []
    for index, (a, b) in enumerate(itertools.pairwise(widths)):
        linear = nn.Linear(a, b)
        if init is not None:
            init(linear.weight)
        if bias is not None:
            nn.init.constant_(linear.bias, bias)
        last = index == len(widths) - 2
        layers += [linear] if last else [linear, *([norm(b)] if norm else []), act()]
    model = nn.Sequential(*layers)
    model.example_input = torch.zeros(16, widths[0])
    return model


def he(weight: torch.Tensor) -> None:
    nn.init.kaiming_normal_(weight, nonlinearity="relu")


def normal(std: float) -> Callable[[torch.Tensor], object]:
    return lambda weight: nn.init.normal_(weight, std=std)


def conv_stack(depth: int, init: Callable[[torch.Tensor], object] | None = None, channels: int = 64) -> nn.Module:
    layers: list[nn.Module] = []
    for index in range(depth):
        conv = nn.Conv2d(channels if index else 3, channels, 3, padding=1)
        if init is not None:
            init(conv.weight)
            nn.init.zeros_(conv.bias)
        layers += [conv, nn.ReLU()]
    model = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, 10))
    return example(model, (4, 3, 32, 32))


def deep_batch_norm() -> nn.Module:
    """A hundred layers of batch normalisation and ReLU without a skip: gradients explode."""
    layers: list[nn.Module] = [nn.Conv2d(3, 32, 3, padding=1)]
    for _ in range(100):
        layers += [nn.Conv2d(32, 32, 3, padding=1, bias=False), nn.BatchNorm2d(32), nn.ReLU()]
    return example(nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, 10)), (4, 3, 16, 16))


def wrong_axis() -> nn.Module:
    """Layer normalisation over the batch and nothing else: a slip of ``transpose``."""

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layers = nn.ModuleList(nn.Linear(64, 64) for _ in range(20))
            self.norm, self.head = nn.LayerNorm(1), nn.Linear(64, 10)
            self.example_input = torch.zeros(16, 64)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            for layer in self.layers:
                x = functional.relu(self.norm(layer(x)[..., None])[..., 0])
            return self.head(x)

    return Net()


class SoftmaxInside(nn.Module):
    """A softmax over 512 hidden units after each of four layers."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(64 if k == 0 else 512, 512) for k in range(4))
        self.head = nn.Linear(512, 10)
        self.example_input = torch.zeros(16, 64)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for layer in self.layers:
            x = layer(x).softmax(-1)
        return self.head(x)


class Autoencoder(nn.Module):
    """Ten sigmoid layers each way."""

    def __init__(self) -> None:
        super().__init__()
        sizes = [256, 224, 192, 160, 128, 96, 64, 48, 32, 24, 16]
        both = [*sizes, *sizes[-2::-1]]
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in itertools.pairwise(both))
        self.example_input = torch.zeros(16, 256)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for layer in self.layers:
            x = torch.sigmoid(layer(x))
        return x


class Unwritten(nn.Module):
    """A layer whose weight is ``torch.empty`` and that no initialiser reaches."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.head = nn.Linear(64, 128), nn.Linear(128, 10)
        self.weight = nn.Parameter(torch.empty(128, 128))
        self.example_input = torch.zeros(16, 64)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(functional.relu(functional.linear(functional.relu(self.first(x)), self.weight)))


class UninitialisedBias(nn.Module):
    """A custom layer that draws its weight and forgets its bias."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.head = nn.Linear(64, 128), nn.Linear(128, 10)
        self.weight, self.bias = nn.Parameter(torch.randn(128, 128) * 0.125), nn.Parameter(torch.Tensor(128))
        self.example_input = torch.zeros(16, 64)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(functional.relu(functional.linear(functional.relu(self.first(x)), self.weight, self.bias)))


def copied_rows() -> nn.Module:
    """Hidden layers whose rows are copies of one draw."""
    model = stack([64, *([128] * 4), 10])
    with torch.no_grad():
        for layer in list(model)[:-1]:
            if isinstance(layer, nn.Linear):
                layer.weight.copy_(torch.randn(1, layer.in_features).expand_as(layer.weight) * 0.1)
    return model


def nan_weight() -> nn.Module:
    model = stack([64, 128, 128, 10], init=he)
    with torch.no_grad():
        model[2].weight[3, 5] = math.nan
    return model


def infinite_scale() -> nn.Module:
    """A variance of zero: 1/0 as a gain."""
    model = stack([64, 128, 128, 10], init=he)
    with torch.no_grad():
        model[2].weight.mul_(1.0 / model[2].bias.abs().sum())
    return model


def half_overflow() -> nn.Module:
    """Sums of squares beyond 65504 in half precision."""
    model = stack([1024, 4096, 4096, 10], init=normal(1.0)).half()
    model.example_input = model.example_input.half()
    return model


def relu_before_loss() -> nn.Module:
    """The last layer is a ReLU with a negative bias, so every logit is zero."""
    model = stack([64, 128, 128, 10], init=he)
    nn.init.constant_(model[-1].bias, -20.0)
    return example(nn.Sequential(*model, nn.ReLU()), (16, 64))


FEEDFORWARD: dict[str, Sick] = {
    "sigmoid_default_10": expected(
        lambda: stack([64, *([128] * 10), 10], nn.Sigmoid, bias=None), "vanishing", "saturation"
    ),
    "sigmoid_xavier_20": expected(
        lambda: stack([64, *([128] * 20), 10], nn.Sigmoid, nn.init.xavier_normal_), "vanishing", "saturation"
    ),
    "relu_default_30": expected(lambda: stack([64, *([256] * 30), 10], bias=None), "vanishing"),
    "relu_xavier_50": expected(lambda: stack([64, *([256] * 50), 10], init=nn.init.xavier_uniform_), "vanishing"),
    "relu_0.01_10": expected(lambda: stack([64, *([256] * 10), 10], init=normal(0.01)), "vanishing"),
    "relu_0.1_30": expected(lambda: stack([64, *([512] * 30), 10], init=normal(0.1)), "exploding"),
    "relu_uniform_0_1": expected(
        lambda: stack([64, *([128] * 8), 10], init=nn.init.uniform_), "exploding", "symmetry", "collapse"
    ),
    "relu_randn": expected(lambda: stack([64, *([256] * 12), 10], init=normal(1.0)), "exploding"),
    "tanh_randn_20": expected(lambda: stack([64, *([256] * 20), 10], nn.Tanh, normal(1.0)), "exploding", "saturation"),
    "gelu_he_60": expected(lambda: stack([64, *([128] * 60), 10], nn.GELU, he), "vanishing"),
    "gelu_default_20": expected(lambda: stack([64, *([128] * 20), 10], nn.GELU, bias=None), "vanishing"),
    "silu_xavier_40": expected(lambda: stack([64, *([128] * 40), 10], nn.SiLU, nn.init.xavier_normal_), "vanishing"),
    "selu_he_double_60": expected(lambda: stack([64, *([128] * 60), 10], nn.SELU, normal(0.25)), "exploding"),
    "all_zeros": expected(lambda: stack([64, 128, 128, 10], init=nn.init.zeros_), "symmetry", "dead"),
    "all_ones": expected(lambda: stack([64, 128, 128, 10], init=nn.init.ones_), "symmetry", "exploding"),
    "constant_0.01": expected(
        lambda: stack([64, 128, 128, 128, 10], init=lambda w: nn.init.constant_(w, 0.01)), "symmetry"
    ),
    "copied_rows": expected(copied_rows, "symmetry"),
    "bias_minus_10": expected(lambda: stack([64, *([128] * 3), 10], init=he, bias=-10.0), "dead"),
    "narrow_8_100": expected(lambda: stack([64, *([8] * 100), 10], init=he), "fluctuation", "dead"),
    "narrow_4_40": expected(lambda: stack([64, *([4] * 40), 10], init=he), "fluctuation", "dead"),
    "funnel_to_one": expected(lambda: stack([64, *([64, 1] * 8), 10], init=he), "fluctuation", "dead"),
    "conv_default_20": expected(lambda: conv_stack(20), "vanishing"),
    "conv_xavier_40": expected(lambda: conv_stack(40, nn.init.xavier_uniform_), "vanishing"),
    "conv_0.1_15": expected(lambda: conv_stack(15, normal(0.1)), "exploding"),
    "conv_0.02_12": expected(lambda: conv_stack(12, normal(0.02)), "vanishing"),
    "batch_norm_100": expected(deep_batch_norm, "exploding"),
    "norm_of_one": expected(wrong_axis, "dead", "vanishing", "collapse"),
    "softmax_inside": expected(SoftmaxInside, "vanishing", "collapse", "saturation"),
    "sigmoid_autoencoder": expected(Autoencoder, "vanishing", "saturation"),
    "unwritten_weight": expected(Unwritten, "construction"),
    "unwritten_bias": expected(UninitialisedBias, "construction"),
    "nan_weight": expected(nan_weight, "nonfinite"),
    "infinite_weight": expected(infinite_scale, "nonfinite"),
    "half_overflow": expected(half_overflow, "overflow", "exploding"),
    "relu_before_loss": expected(relu_before_loss, "dead"),
}
"""Name -> (factory, failure modes)."""
