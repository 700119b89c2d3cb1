"""Generators, autoencoders, diffusion models, flows and fields, at the initialisation they are trained from."""

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.nn import functional

from healthy.convolutional import WithExample

if TYPE_CHECKING:
    from collections.abc import Callable


def dcgan_weights(module: nn.Module) -> None:
    """PyTorch's DCGAN tutorial."""
    if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
        nn.init.normal_(module.weight.data, 0.0, 0.02)
    elif isinstance(module, nn.BatchNorm2d):
        nn.init.normal_(module.weight.data, 1.0, 0.02)
        nn.init.constant_(module.bias.data, 0)


def dcgan_generator() -> nn.Module:
    layers: list[nn.Module] = []
    for index, (a, b) in enumerate(((100, 512), (512, 256), (256, 128), (128, 64))):
        stride, padding = (2, 1) if index else (1, 0)
        layers += [nn.ConvTranspose2d(a, b, 4, stride, padding, bias=False), nn.BatchNorm2d(b), nn.ReLU(True)]
    layers += [nn.ConvTranspose2d(64, 3, 4, 2, 1, bias=False), nn.Tanh()]
    return WithExample(*layers, shape=(4, 100, 1, 1)).apply(dcgan_weights)


def dcgan_discriminator() -> nn.Module:
    layers: list[nn.Module] = [nn.Conv2d(3, 64, 4, 2, 1, bias=False), nn.LeakyReLU(0.2, inplace=True)]
    for a, b in ((64, 128), (128, 256), (256, 512)):
        layers += [nn.Conv2d(a, b, 4, 2, 1, bias=False), nn.BatchNorm2d(b), nn.LeakyReLU(0.2, inplace=True)]
    layers += [nn.Conv2d(512, 1, 4, 1, 0, bias=False), nn.Sigmoid()]
    return WithExample(*layers, shape=(4, 3, 64, 64)).apply(dcgan_weights)


class Vae(nn.Module):
    """PyTorch's VAE example."""

    def __init__(self) -> None:
        super().__init__()
        self.fc1, self.fc21, self.fc22 = nn.Linear(784, 400), nn.Linear(400, 20), nn.Linear(400, 20)
        self.fc3, self.fc4 = nn.Linear(20, 400), nn.Linear(400, 784)
        self.example_input = torch.zeros(4, 784)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        h = functional.relu(self.fc1(x))
        mu, logvar = self.fc21(h), self.fc22(h)
        z = mu + torch.randn_like(mu) * torch.exp(0.5 * logvar)
        return torch.sigmoid(self.fc4(functional.relu(self.fc3(z)))), mu, logvar


class VectorQuantized(nn.Module):
    """VQ-VAE with a straight-through estimator."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Sequential(
            *(nn.Conv2d(3, 64, 4, 2, 1), nn.ReLU(), nn.Conv2d(64, 128, 4, 2, 1), nn.ReLU(), nn.Conv2d(128, 64, 1))
        )
        self.book = nn.Embedding(512, 64)
        nn.init.uniform_(self.book.weight, -1 / 512, 1 / 512)
        self.decoder = nn.Sequential(
            *(nn.Conv2d(64, 128, 3, padding=1), nn.ReLU(), nn.ConvTranspose2d(128, 64, 4, 2, 1), nn.ReLU()),
            nn.ConvTranspose2d(64, 3, 4, 2, 1),
        )
        self.example_input = torch.zeros(4, 3, 32, 32)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        z = self.encoder(x)
        flat = z.permute(0, 2, 3, 1).reshape(-1, 64)
        distance = flat.pow(2).sum(1, keepdim=True) - 2 * flat @ self.book.weight.t() + self.book.weight.pow(2).sum(1)
        quantized = self.book(distance.argmin(1)).view(z.shape[0], z.shape[2], z.shape[3], 64).permute(0, 3, 1, 2)
        return self.decoder(z + (quantized - z).detach())


class DoubleConv(nn.Sequential):
    def __init__(self, inputs: int, outputs: int) -> None:
        layers = [
            layer
            for a in (inputs, outputs)
            for layer in (nn.Conv2d(a, outputs, 3, padding=1), nn.BatchNorm2d(outputs), nn.ReLU(inplace=True))
        ]
        super().__init__(*layers)


class UNet(nn.Module):
    """The usual segmentation U-Net."""

    def __init__(self, widths: tuple[int, ...] = (64, 128, 256, 512)) -> None:
        super().__init__()
        pairs = list(itertools.pairwise(widths))
        self.stem = DoubleConv(3, widths[0])
        self.down = nn.ModuleList(nn.Sequential(nn.MaxPool2d(2), DoubleConv(a, b)) for a, b in pairs)
        self.up = nn.ModuleList(nn.ConvTranspose2d(b, a, 2, 2) for a, b in reversed(pairs))
        self.join = nn.ModuleList(DoubleConv(2 * a, a) for a, b in reversed(pairs))
        self.out = nn.Conv2d(widths[0], 2, 1)
        self.example_input = torch.zeros(2, 3, 64, 64)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        kept = [self.stem(x)]
        for down in self.down:
            kept.append(down(kept[-1]))
        y = kept.pop()
        for up, join in zip(self.up, self.join, strict=True):
            y = join(torch.cat([kept.pop(), up(y)], 1))
        return self.out(y)


def zeroed(module: nn.Module) -> nn.Module:
    for parameter in module.parameters():
        nn.init.zeros_(parameter)
    return module


class TimedBlock(nn.Module):
    """ADM's residual block: the time shifts and scales the second norm, the last convolution starts at zero."""

    def __init__(self, inputs: int, outputs: int, time: int) -> None:
        super().__init__()
        self.norm1, self.conv1 = nn.GroupNorm(32, inputs), nn.Conv2d(inputs, outputs, 3, padding=1)
        self.time = nn.Linear(time, 2 * outputs)
        self.norm2, self.conv2 = nn.GroupNorm(32, outputs), zeroed(nn.Conv2d(outputs, outputs, 3, padding=1))
        self.skip = nn.Identity() if inputs == outputs else nn.Conv2d(inputs, outputs, 1)

    def forward(self, x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        y = self.conv1(functional.silu(self.norm1(x)))
        scale, shift = self.time(functional.silu(t))[:, :, None, None].chunk(2, dim=1)
        return self.skip(x) + self.conv2(functional.silu(self.norm2(y) * (1 + scale) + shift))


def sine_embedding(t: torch.Tensor, width: int) -> torch.Tensor:
    frequencies = torch.exp(-math.log(10000.0) * torch.arange(width // 2, device=t.device) / (width // 2))
    angles = t.float()[:, None] * frequencies[None]
    return torch.cat((angles.cos(), angles.sin()), dim=-1)


class SpatialAttention(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm, self.qkv = nn.GroupNorm(32, width), nn.Conv1d(width, 3 * width, 1)
        self.out = zeroed(nn.Conv1d(width, width, 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        tokens = x.flatten(2)
        q, k, v = self.qkv(self.norm(tokens)).transpose(1, 2).chunk(3, dim=2)
        y = functional.scaled_dot_product_attention(q, k, v)
        return (tokens + self.out(y.transpose(1, 2))).reshape(x.shape)


class DiffusionUNet(nn.Module):
    """The U-Net of denoising diffusion models."""

    def __init__(self, width: int = 64) -> None:
        super().__init__()
        self.width, time = width, 4 * width
        self.time = nn.Sequential(nn.Linear(width, time), nn.SiLU(), nn.Linear(time, time))
        self.stem = nn.Conv2d(3, width, 3, padding=1)
        self.block1, self.down = TimedBlock(width, width, time), nn.Conv2d(width, width, 3, stride=2, padding=1)
        self.block2, self.attention = TimedBlock(width, 2 * width, time), SpatialAttention(2 * width)
        self.middle = TimedBlock(2 * width, 2 * width, time)
        self.block3 = TimedBlock(4 * width, 2 * width, time)
        self.up = nn.Conv2d(2 * width, 2 * width, 3, padding=1)
        self.block4 = TimedBlock(3 * width, width, time)
        self.norm, self.out = nn.GroupNorm(32, width), zeroed(nn.Conv2d(width, 3, 3, padding=1))

    def forward(self, x: torch.Tensor, timesteps: torch.Tensor) -> torch.Tensor:
        t = self.time(sine_embedding(timesteps, self.width))
        first = self.block1(self.stem(x), t)
        second = self.attention(self.block2(self.down(first), t))
        y = self.block3(torch.cat((self.middle(second, t), second), dim=1), t)
        y = self.up(functional.interpolate(y, scale_factor=2, mode="nearest"))
        y = self.block4(torch.cat((y, first), dim=1), t)
        return self.out(functional.silu(self.norm(y)))


class ControlNet(nn.Module):
    """A copy of an encoder whose results enter the decoder through zero convolutions."""

    def __init__(self, width: int = 64) -> None:
        super().__init__()
        self.stem, self.hint = nn.Conv2d(4, width, 3, padding=1), nn.Conv2d(3, width, 3, padding=1)
        self.enter, self.leave = zeroed(nn.Conv2d(width, width, 1)), zeroed(nn.Conv2d(width, width, 1))

        def body() -> nn.Sequential:
            return nn.Sequential(nn.GroupNorm(32, width), nn.SiLU(), nn.Conv2d(width, width, 3, padding=1))

        self.locked, self.copied, self.decoder = body(), body(), body()
        self.out = nn.Conv2d(width, 4, 3, padding=1)
        self.example_inputs = (torch.zeros(2, 4, 16, 16), torch.zeros(2, 3, 16, 16))

    def forward(self, x: torch.Tensor, hint: torch.Tensor) -> torch.Tensor:
        x = self.stem(x)
        control = x + self.enter(self.hint(hint))
        control = control + self.copied(control)
        y = x + self.locked(x) + self.leave(control)
        return self.out(y + self.decoder(y))


class DiTBlock(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width, elementwise_affine=False, eps=1e-6)
        self.norm2 = nn.LayerNorm(width, elementwise_affine=False, eps=1e-6)
        self.heads, self.qkv, self.proj = heads, nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(approximate="tanh"), nn.Linear(4 * width, width))
        self.modulation = nn.Sequential(nn.SiLU(), nn.Linear(width, 6 * width))

    def forward(self, x: torch.Tensor, c: torch.Tensor) -> torch.Tensor:
        shift1, scale1, gate1, shift2, scale2, gate2 = self.modulation(c)[:, None].chunk(6, dim=-1)
        y = self.norm1(x) * (1 + scale1) + shift1
        q, k, v = self.qkv(y).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        y = functional.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
        x = x + gate1 * self.proj(y)
        return x + gate2 * self.mlp(self.norm2(x) * (1 + scale2) + shift2)


class DiT(nn.Module):
    """Diffusion transformer with adaLN-zero (Peebles and Xie), Xavier uniform elsewhere."""

    def __init__(self, width: int = 384, depth: int = 12, heads: int = 6) -> None:
        super().__init__()
        self.width = width
        self.patch = nn.Conv2d(4, width, 2, stride=2)
        self.places = nn.Parameter(torch.zeros(1, 64, width), requires_grad=False)
        self.time = nn.Sequential(nn.Linear(256, width), nn.SiLU(), nn.Linear(width, width))
        self.labels = nn.Embedding(1001, width)
        self.blocks = nn.ModuleList(DiTBlock(width, heads) for _ in range(depth))
        self.norm = nn.LayerNorm(width, elementwise_affine=False, eps=1e-6)
        self.modulation = nn.Sequential(nn.SiLU(), nn.Linear(width, 2 * width))
        self.out = nn.Linear(width, 32)
        self.apply(self._init)
        self.places.data.copy_(sine_embedding(torch.arange(64), width)[None])
        nn.init.xavier_uniform_(self.patch.weight.view(width, -1))
        for layer in (self.labels, self.time[0], self.time[2]):
            nn.init.normal_(layer.weight, std=0.02)
        for layer in (*(block.modulation[1] for block in self.blocks), self.modulation[1], self.out):
            zeroed(layer)
        self.example_inputs = (torch.zeros(2, 4, 16, 16), torch.zeros(2), torch.zeros(2, dtype=torch.long))

    @staticmethod
    def _init(module: nn.Module) -> None:
        if isinstance(module, nn.Linear):
            nn.init.xavier_uniform_(module.weight)
            nn.init.zeros_(module.bias)

    def forward(self, x: torch.Tensor, t: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        c = self.time(sine_embedding(t, 256)) + self.labels(y)
        x = self.patch(x).flatten(2).transpose(1, 2) + self.places
        for block in self.blocks:
            x = block(x, c)
        shift, scale = self.modulation(c)[:, None].chunk(2, dim=-1)
        return self.out(self.norm(x) * (1 + scale) + shift)


class Coupling(nn.Module):
    """RealNVP's affine coupling, whose last layer starts at zero."""

    def __init__(self, width: int, *, swap: bool) -> None:
        super().__init__()
        self.swap = swap
        self.net = nn.Sequential(
            *(nn.Linear(width // 2, 256), nn.ReLU(), nn.Linear(256, 256), nn.ReLU()), zeroed(nn.Linear(256, width))
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        a, b = x.chunk(2, dim=1)
        a, b = (b, a) if self.swap else (a, b)
        scale, shift = self.net(a).chunk(2, dim=1)
        b = b * torch.exp(torch.tanh(scale)) + shift
        return torch.cat((b, a) if self.swap else (a, b), dim=1)


class NerfMlp(nn.Module):
    """Eight layers of 256 with a skip at the fifth, PyTorch's default, as the usual port to PyTorch has it."""

    def __init__(self) -> None:
        super().__init__()
        sizes = [63, *([256] * 7)]
        sizes[5] += 63
        self.layers = nn.ModuleList(nn.Linear(size, 256) for size in sizes)
        self.feature, self.alpha = nn.Linear(256, 256), nn.Linear(256, 1)
        self.view, self.rgb = nn.Linear(256 + 27, 128), nn.Linear(128, 3)
        self.example_inputs = (torch.zeros(8, 63), torch.zeros(8, 27))

    def forward(self, points: torch.Tensor, views: torch.Tensor) -> torch.Tensor:
        h = points
        for index, layer in enumerate(self.layers):
            h = functional.relu(layer(torch.cat([points, h], -1) if index == 5 else h))
        y = functional.relu(self.view(torch.cat([self.feature(h), views], -1)))
        return torch.cat([self.rgb(y), self.alpha(h)], -1)


class Sine(nn.Module):
    """A layer of SIREN with its own initialisation."""

    def __init__(self, inputs: int, outputs: int, *, first: bool, omega: float = 30.0) -> None:
        super().__init__()
        self.omega, self.linear = omega, nn.Linear(inputs, outputs)
        bound = 1 / inputs if first else math.sqrt(6 / inputs) / omega
        with torch.no_grad():
            self.linear.weight.uniform_(-bound, bound)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.sin(self.omega * self.linear(x))


def siren() -> nn.Module:
    last = nn.Linear(256, 1)
    with torch.no_grad():
        last.weight.uniform_(-math.sqrt(6 / 256) / 30, math.sqrt(6 / 256) / 30)
    hidden = (Sine(256, 256, first=False) for _ in range(3))
    return WithExample(Sine(2, 256, first=True), *hidden, last, shape=(64, 2))


GENERATIVE: dict[str, Callable[[], nn.Module]] = {
    "dcgan_generator": dcgan_generator,
    "dcgan_discriminator": dcgan_discriminator,
    "vae": Vae,
    "vq_vae": VectorQuantized,
    "unet": UNet,
    "ddpm_unet": DiffusionUNet,
    "controlnet": ControlNet,
    "dit_s_2": DiT,
    "real_nvp": lambda: WithExample(*(Coupling(8, swap=bool(k % 2)) for k in range(8)), shape=(16, 8)),
    "nerf": NerfMlp,
    "siren": siren,
}
"""Name -> factory."""
