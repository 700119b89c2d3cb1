"""Residual networks, transformers, recurrent and generative models that cannot start, as people write them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import torch
from attention_start import WordTagger
from healthy.generative import NerfMlp
from healthy.hub import TEXT, hub
from healthy.sequences import LowRank, NanoGpt, Tagger
from torch import nn
from torch.nn import functional

from sick.feedforward import example, expected, he, normal

if TYPE_CHECKING:
    from collections.abc import Callable

    from sick.feedforward import Sick


class Stream(nn.Module):
    """x + branch(x) over and over, no normalisation."""

    def __init__(self, branch: Callable[[], nn.Module], depth: int, width: int = 128, *, norm: bool = False) -> None:
        super().__init__()
        self.enter, self.head = nn.Linear(64, width), nn.Linear(width, 10)
        self.branches = nn.ModuleList(branch() for _ in range(depth))
        self.norm = nn.LayerNorm(width) if norm else nn.Identity()
        self.example_input = torch.zeros(16, 64)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.enter(x)
        for branch in self.branches:
            x = x + branch(x)
        return self.head(self.norm(x))


def he_linear(a: int, b: int) -> nn.Linear:
    layer = nn.Linear(a, b)
    he(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer


def positive_branch(width: int = 128) -> nn.Module:
    return nn.Sequential(he_linear(width, width), nn.ReLU())


def linear_branch(width: int = 128) -> nn.Module:
    return nn.Sequential(nn.ReLU(), he_linear(width, width), nn.ReLU(), he_linear(width, width))


class ConvStream(nn.Module):
    """A ResNet whose batch normalisation somebody took out."""

    def __init__(self, depth: int = 36) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 64, 3, padding=1)
        self.convs = nn.ModuleList(nn.Conv2d(64, 64, 3, padding=1) for _ in range(2 * depth))
        self.head = nn.Linear(64, 10)
        for conv in (self.stem, *self.convs):
            he(conv.weight)
        example(self, (4, 3, 32, 32))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = functional.relu(self.stem(x))
        for first, second in zip(self.convs[::2], self.convs[1::2], strict=True):
            x = functional.relu(x + second(functional.relu(first(x))))
        return self.head(x.mean((2, 3)))


class Attention(nn.Module):
    """Attention and a feed-forward net with residuals and no norm; or without residuals."""

    def __init__(self, width: int, std: float, *, residual: bool) -> None:
        super().__init__()
        self.residual = residual
        self.q, self.k, self.v, self.o = (nn.Linear(width, width) for _ in range(4))
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.normal_(module.weight, std=std)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        q, k, v = (layer(x).unflatten(-1, (4, -1)).transpose(1, 2) for layer in (self.q, self.k, self.v))
        y = self.o(functional.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))
        x = x + y if self.residual else y
        y = self.down(functional.gelu(self.up(x)))
        return x + y if self.residual else y


class PlainTransformer(nn.Module):
    def __init__(self, std: float, *, residual: bool, depth: int = 12, width: int = 128) -> None:
        super().__init__()
        self.tokens, self.head = nn.Embedding(500, width), nn.Linear(width, 500)
        self.blocks = nn.Sequential(*(Attention(width, std, residual=residual) for _ in range(depth)))
        self.example_input = torch.zeros(4, 32, dtype=torch.long)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        return self.head(self.blocks(self.tokens(ids)))


def gpt(std: float = 0.02, embedding: float | None = None, *, layers: int = 12, width: int = 192) -> nn.Module:
    """A tied GPT with other standard deviations; biases stay zero."""
    model = NanoGpt(width=width, layers=layers)
    for name, parameter in model.named_parameters():
        if parameter.dim() > 1:
            nn.init.normal_(parameter, std=embedding if embedding is not None and "wte" in name else std)
    return model


def dead_adapters() -> nn.Module:
    """Both factors of every adapter are zero: their product never moves, and the rest is frozen."""
    model = NanoGpt(width=96, layers=2)
    model.requires_grad_(requires_grad=False)
    for block in model.blocks:
        block.attn.qkv = LowRank(block.attn.qkv)
        nn.init.zeros_(block.attn.qkv.a.weight)
    return model


class GatedZero(nn.Module):
    """A product of two paths that are both zero."""

    def __init__(self) -> None:
        super().__init__()
        self.enter, self.gate, self.value, self.head = (nn.Linear(64, 64) for _ in range(4))
        for layer in (self.gate, self.value):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)
        self.example_input = torch.zeros(16, 64)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = functional.relu(self.enter(x))
        return self.head(self.gate(x) * self.value(x))


class Unrolled(nn.Module):
    """A recurrent network of ReLU, its recurrent weights drawn with a stated standard deviation."""

    def __init__(self, std: float, steps: int = 50, width: int = 128) -> None:
        super().__init__()
        self.enter, self.recur, self.head = nn.Linear(16, width), nn.Linear(width, width), nn.Linear(width, 10)
        nn.init.normal_(self.recur.weight, std=std)
        self.example_input = torch.zeros(4, steps, 16)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = x.new_zeros(x.shape[0], self.recur.in_features)
        for step in range(x.shape[1]):
            h = functional.relu(self.enter(x[:, step]) + self.recur(h))
        return self.head(h)


def rnn_layer(std: float, **options: Any) -> nn.Module:
    model = Tagger(nn.RNN, layers=1, **options)
    nn.init.normal_(model.rnn.weight_hh_l0, std=std)
    return model


def narrow_nerf() -> nn.Module:
    model = NerfMlp()
    for module in model.modules():
        if isinstance(module, nn.Linear):
            normal(0.01)(module.weight)
            nn.init.zeros_(module.bias)
    return model


def deep_siren() -> nn.Module:
    """Sines of frequency 30 with PyTorch's default: each layer multiplies a perturbation by hundreds."""

    class Sines(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layers = nn.ModuleList(nn.Linear(256 if k else 2, 256) for k in range(6))
            self.head = nn.Linear(256, 1)
            self.example_input = torch.zeros(64, 2)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            for layer in self.layers:
                x = torch.sin(30.0 * layer(x))
            return self.head(x)

    return Sines()


def generator_without_norm() -> nn.Module:
    """DCGAN's generator with its 0.02 but without batch normalisation."""
    layers: list[nn.Module] = []
    for index, (a, b) in enumerate(((100, 512), (512, 256), (256, 128), (128, 64), (64, 32))):
        stride, padding = (2, 1) if index else (1, 0)
        layers += [nn.ConvTranspose2d(a, b, 4, stride, padding, bias=False), nn.ReLU()]
    model = nn.Sequential(*layers, nn.ConvTranspose2d(32, 3, 4, 2, 1, bias=False), nn.Tanh())
    for module in model:
        if isinstance(module, nn.ConvTranspose2d):
            nn.init.normal_(module.weight, std=0.005)
    return example(model, (4, 100, 1, 1))


def relu_rnn_cell() -> nn.Module:
    return Unrolled(math.sqrt(4 / 128))


STRUCTURED: dict[str, Sick] = {
    "positive_branches_60": expected(lambda: Stream(positive_branch, 60), "residual", "exploding"),
    "linear_branches_50": expected(lambda: Stream(linear_branch, 50), "residual", "exploding"),
    "resnet_without_norm": expected(ConvStream, "residual", "exploding"),
    "plain_transformer_1.0": expected(lambda: PlainTransformer(1.0, residual=True), "residual", "exploding"),
    "transformer_without_skips": expected(lambda: PlainTransformer(0.02, residual=False), "vanishing", "collapse"),
    "gpt_1.0": expected(lambda: gpt(1.0), "exploding", "collapse", "saturation"),
    "gpt_tied_embedding_1.0": expected(lambda: gpt(0.02, 1.0), "exploding", "saturation"),
    "bert_1.0": expected(
        hub("BertConfig", "BertForMaskedLM", initializer_range=1.0, **TEXT), "exploding", "saturation"
    ),
    "gpt2_1.0": expected(
        hub("GPT2Config", "GPT2LMHeadModel", initializer_range=1.0, vocab_size=256, n_embd=64, n_layer=12, n_head=4),
        *("exploding", "saturation"),
    ),
    "tagger_without_skips": expected(lambda: WordTagger(6, skips=False), "collapse"),
    "dead_adapters": expected(dead_adapters, "dead"),
    "zero_times_zero": expected(GatedZero, "dead"),
    "unrolled_relu_large": expected(relu_rnn_cell, "exploding"),
    "rnn_relu_large": expected(lambda: rnn_layer(0.25, nonlinearity="relu"), "exploding"),
    "rnn_tanh_large": expected(lambda: rnn_layer(1.0), "exploding", "saturation"),
    "lstm_20_deep": expected(lambda: Tagger(nn.LSTM, layers=20), "vanishing"),
    "gru_20_deep": expected(lambda: Tagger(nn.GRU, layers=20), "vanishing"),
    "nerf_0.01": expected(narrow_nerf, "vanishing"),
    "siren_default_init": expected(deep_siren, "exploding"),
    "generator_without_norm": expected(generator_without_norm, "vanishing"),
}
"""Name -> (factory, failure modes)."""
