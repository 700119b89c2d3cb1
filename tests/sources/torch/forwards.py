"""Models in plain torch that run: a U-Net, a diffusion transformer, every layer family of ``torch.nn``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.nn import functional
from torch.nn.utils import parametrizations

Factory = Callable[[], Any]


class Between(nn.Module):
    """A layer between two linear maps of tokens."""

    def __init__(self, layer: nn.Module, width: int = 32, out: int | None = None) -> None:
        super().__init__()
        self.before = nn.Linear(16, width)
        self.layer = layer
        self.after = nn.Linear(out or width, 8)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.layer(self.before(x))
        return self.after(y[0] if isinstance(y, tuple) else y)


class Image(nn.Module):
    """A layer among convolutions."""

    def __init__(self, *layers: nn.Module, channels: int = 8) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1)
        self.layers = nn.Sequential(*layers)
        self.head = nn.Conv2d(channels, 4, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.layers(self.stem(x))).mean((2, 3))


class UNet(nn.Module):
    """Down, middle with a time embedding, up with skips."""

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        self.time = nn.Sequential(nn.Linear(32, width), nn.SiLU(), nn.Linear(width, 2 * width))
        self.stem = nn.Conv2d(3, width, 3, padding=1)
        self.down = nn.Conv2d(width, 2 * width, 3, stride=2, padding=1)
        self.norm = nn.GroupNorm(4, 2 * width)
        self.middle = nn.Conv2d(2 * width, 2 * width, 3, padding=1)
        self.attention = nn.MultiheadAttention(2 * width, 2, batch_first=True)
        self.up = nn.ConvTranspose2d(2 * width, width, 4, stride=2, padding=1)
        self.join = nn.Conv2d(2 * width, width, 3, padding=1)
        self.out = nn.Conv2d(width, 3, 1)
        nn.init.zeros_(self.out.weight)

    def forward(self, x: torch.Tensor, timesteps: torch.Tensor) -> torch.Tensor:
        frequencies = torch.exp(-torch.arange(16, device=x.device) / 2.0)
        angles = timesteps.float()[:, None] * frequencies[None]
        context = self.time(torch.cat((angles.sin(), angles.cos()), dim=-1))
        skip = self.stem(x)
        y = self.down(skip)
        y = y + self.middle(functional.silu(self.norm(y + context[:, :, None, None])))
        tokens = y.flatten(2).transpose(1, 2)
        y = y + self.attention(tokens, tokens, tokens)[0].transpose(1, 2).reshape(y.shape)
        return self.out(self.join(torch.cat((functional.interpolate(self.up(y), size=x.shape[2:]), skip), dim=1)))


class DiTBlock(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width, elementwise_affine=False)
        self.norm2 = nn.LayerNorm(width, elementwise_affine=False)
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(approximate="tanh"), nn.Linear(4 * width, width))
        self.modulation = nn.Linear(width, 6 * width)
        nn.init.zeros_(self.modulation.weight)
        nn.init.zeros_(self.modulation.bias)

    def forward(self, x: torch.Tensor, c: torch.Tensor) -> torch.Tensor:
        shift1, scale1, gate1, shift2, scale2, gate2 = self.modulation(functional.silu(c))[:, None].chunk(6, dim=-1)
        y = self.norm1(x) * (1 + scale1) + shift1
        q, k, v = self.qkv(y).unflatten(-1, (3, 4, -1)).permute(2, 0, 3, 1, 4)
        y = functional.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
        x = x + gate1 * self.proj(y)
        return x + gate2 * self.mlp(self.norm2(x) * (1 + scale2) + shift2)


class DiT(nn.Module):
    def __init__(self, width: int = 32) -> None:
        super().__init__()
        self.patch = nn.Conv2d(4, width, 2, stride=2)
        self.places = nn.Parameter(torch.randn(1, 64, width) * 0.02)
        self.time = nn.Sequential(nn.Linear(16, width), nn.SiLU(), nn.Linear(width, width))
        self.labels = nn.Embedding(11, width)
        self.blocks = nn.ModuleList(DiTBlock(width) for _ in range(2))
        self.norm = nn.LayerNorm(width, elementwise_affine=False)
        self.out = nn.Linear(width, 16)
        self.img_size = 16

    def forward(self, x: torch.Tensor, t: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        angles = t[:, None] * torch.arange(8, device=x.device)[None]
        c = self.time(torch.cat((angles.cos(), angles.sin()), dim=-1)) + self.labels(y)
        x = self.patch(x).flatten(2).transpose(1, 2) + self.places
        for block in self.blocks:
            x = block(x, c)
        x = self.out(self.norm(x)).reshape(-1, 8, 8, 2, 2, 4)
        return torch.einsum("nhwpqc->nchpwq", x).reshape(-1, 4, 16, 16)


class Recurrent(nn.Module):
    def __init__(self, layer: nn.Module, out: int) -> None:
        super().__init__()
        self.layer = layer
        self.head = nn.Linear(out, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.layer(x)[0][:, -1])


class Cells(nn.Module):
    def __init__(self, cell: nn.Module) -> None:
        super().__init__()
        self.cell = cell
        self.head = nn.Linear(16, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        state = None
        for step in x.unbind(1):
            state = self.cell(step, state)
        return self.head(state[0] if isinstance(state, tuple) else state)


class Branching(nn.Module):
    """What torch.export cannot follow."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c = nn.Linear(8, 8), nn.Linear(8, 8), nn.Linear(8, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.a(x) if x.sum() > 0 else self.b(x)
        return self.c(x + 1)


class Bags(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.bag = nn.EmbeddingBag(50, 16, mode="mean")
        self.head = nn.Linear(16, 4)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        return self.head(self.bag(ids))


class Encoder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.tokens = nn.Embedding(40, 32)
        self.encoder = nn.TransformerEncoder(nn.TransformerEncoderLayer(32, 4, 64, batch_first=True), 2)
        self.head = nn.Linear(32, 40)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        return self.head(self.encoder(self.tokens(ids)))


class Queries(nn.Module):
    """Learned queries that layers transform before any input meets them."""

    def __init__(self) -> None:
        super().__init__()
        self.latents = nn.Parameter(torch.randn(6, 32))
        self.norm = nn.LayerNorm(32)
        self.q, self.k, self.v = nn.Linear(32, 32), nn.Linear(16, 32), nn.Linear(16, 32)
        self.out = nn.Linear(32, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        q = self.q(self.norm(self.latents))
        return self.out(torch.softmax(q @ self.k(x).transpose(1, 2) / 32**0.5, dim=-1) @ self.v(x))


class Cross(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(32, 4, kdim=16, vdim=24, add_bias_kv=True, batch_first=True)

    def forward(self, x: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
        return x + self.attention(x, key, value)[0]


class Einsums(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.q = nn.Parameter(torch.randn(32, 4, 8) * 0.1)
        self.k = nn.Parameter(torch.randn(32, 4, 8) * 0.1)
        self.v = nn.Parameter(torch.randn(32, 4, 8) * 0.1)
        self.o = nn.Parameter(torch.randn(4, 8, 32) * 0.1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        q, k, v = (torch.einsum("btd,dhk->bthk", x, w) for w in (self.q, self.k, self.v))
        weights = torch.softmax(torch.einsum("bqhd,bkhd->bhqk", q, k) / 8**0.5, dim=-1)
        return torch.einsum("bthk,hkd->btd", torch.einsum("bhqk,bkhd->bqhd", weights, v), self.o)


class InPlace(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(16, 32), nn.Linear(32, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.a(x)
        y.mul_(2.0).relu_()
        y += 1.0
        y[:, :4] = 0.0
        return self.b(y)


def lstm_char() -> Any:
    return Recurrent(nn.LSTM(16, 32, 2, batch_first=True, dropout=0.1), 32)


FORWARDS: dict[str, Factory] = {
    "unet": UNet,
    "dit": DiT,
    "mlp": lambda: nn.Sequential(nn.Linear(20, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Dropout(0.1), nn.Linear(32, 3)),
    "lenet28": lambda: nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(8, 16, 3, padding=1),
        nn.ReLU(),
        nn.AvgPool2d(2),
        nn.Flatten(),
        nn.Linear(784, 10),
    ),
    "conv1d": lambda: nn.Sequential(nn.Conv1d(4, 8, 5, dilation=2), nn.ELU(), nn.ConvTranspose1d(8, 4, 4, stride=2)),
    "conv3d": lambda: nn.Sequential(nn.Conv3d(2, 8, 3), nn.BatchNorm3d(8), nn.SELU(), nn.AdaptiveAvgPool3d(1)),
    "transposed": lambda: Image(nn.ConvTranspose2d(8, 6, 3, stride=2, groups=2, output_padding=1), channels=6),
    "depthwise": lambda: Image(
        nn.Conv2d(8, 8, 3, groups=8, padding="same"), nn.Conv2d(8, 8, 3, padding_mode="reflect", padding=1)
    ),
    "norms": lambda: Image(
        nn.GroupNorm(2, 8), nn.InstanceNorm2d(8, affine=True), nn.BatchNorm2d(8), nn.LocalResponseNorm(3)
    ),
    "pools": lambda: Image(
        nn.MaxPool2d(3, 2, 1), nn.AvgPool2d(2), nn.AdaptiveAvgPool2d(4), nn.LPPool2d(2, 2), nn.AdaptiveMaxPool2d(1)
    ),
    "resizes": lambda: Image(
        nn.Upsample(scale_factor=2), nn.Upsample(size=16, mode="bilinear"), nn.PixelUnshuffle(2), channels=32
    ),
    "pads": lambda: Image(
        nn.ZeroPad2d(1), nn.ReflectionPad2d(1), nn.ReplicationPad2d(1), nn.Dropout2d(0.1), nn.ChannelShuffle(2)
    ),
    "activations": lambda: nn.Sequential(
        *(
            layer
            for function in (
                nn.ReLU(),
                nn.ReLU6(),
                nn.LeakyReLU(0.2),
                nn.PReLU(),
                nn.RReLU(),
                nn.ELU(),
                nn.CELU(0.5),
                nn.SELU(),
                nn.GELU(),
                nn.GELU(approximate="tanh"),
                nn.SiLU(),
                nn.Mish(),
                nn.Softplus(),
                nn.Softsign(),
                nn.Tanh(),
                nn.Tanhshrink(),
                nn.Sigmoid(),
                nn.LogSigmoid(),
                nn.Hardtanh(),
                nn.Hardsigmoid(),
                nn.Hardswish(),
                nn.Hardshrink(),
                nn.Softshrink(),
                nn.Threshold(0.1, 0.0),
                nn.Softmax(-1),
                nn.LogSoftmax(-1),
                nn.Identity(),
                nn.AlphaDropout(0.1),
                nn.Softmin(-1),
            )
            for layer in (nn.Linear(8, 8), function)
        )
    ),
    "glu": lambda: nn.Sequential(nn.Linear(8, 16), nn.GLU(), nn.Linear(8, 4)),
    "rms_norm": lambda: Between(nn.RMSNorm(32)),
    "encoder": Encoder,
    "transformer": lambda: (
        nn.Transformer(32, 4, 1, 1, 64, batch_first=True),
        (torch.randn(2, 5, 32), torch.randn(2, 6, 32)),
    ),
    "mha": lambda: (
        Cross(),
        (torch.randn(2, 5, 32), torch.randn(2, 6, 16), torch.randn(2, 6, 24)),
    ),
    "lstm": lstm_char,
    "gru": lambda: Recurrent(nn.GRU(16, 32, batch_first=True, bidirectional=True), 64),
    "rnn": lambda: Recurrent(nn.RNN(16, 32, batch_first=True, nonlinearity="relu"), 32),
    "lstm_cell": lambda: (Cells(nn.LSTMCell(8, 16)), torch.randn(2, 3, 8)),
    "gru_cell": lambda: (Cells(nn.GRUCell(8, 16)), torch.randn(2, 3, 8)),
    "embedding_bag": Bags,
    "bilinear": lambda: nn.Bilinear(8, 6, 4),
    "branching": Branching,
    "queries": Queries,
    "einsums": Einsums,
    "in_place": InPlace,
    "weight_norm": lambda: nn.Sequential(
        parametrizations.weight_norm(nn.Linear(16, 32)), nn.ReLU(), parametrizations.weight_norm(nn.Linear(32, 4))
    ),
    "spectral_norm": lambda: nn.Sequential(
        parametrizations.spectral_norm(nn.Linear(16, 32)), nn.ReLU(), parametrizations.spectral_norm(nn.Linear(32, 4))
    ),
    "orthogonal": lambda: nn.Sequential(parametrizations.orthogonal(nn.Linear(16, 16)), nn.ReLU(), nn.Linear(16, 4)),
    "half": lambda: nn.Sequential(nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 4)).bfloat16(),
}
"""Name -> factory of a model that runs, or of (model, example inputs)."""
