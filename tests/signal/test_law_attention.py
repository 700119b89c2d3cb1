"""Attention, whole and in parts, with and without masks, against sampled networks."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from sampling import assert_agreement
from torch import nn

from initcheck.analysis import Analysis
from initcheck.builder import Builder
from initcheck.graph import Axis, Op
from initcheck.signal.law import Context, Moments
from initcheck.sources.torch.load import load

WIDTH, HEADS, TOKENS, BATCH = 128, 4, 12, 8
PART = WIDTH // HEADS


def heads(b: Builder, x: str, scheme: str, bias: str | None = None) -> str:
    """(batch, head, position, part) of a projection."""
    y = b.node(Op.RESHAPE, (b.linear(x, WIDTH, scheme, bias=bias),), (BATCH, TOKENS, HEADS, PART))
    return b.node(Op.TRANSPOSE, (y,), (BATCH, HEADS, TOKENS, PART), {"permutation": (0, 2, 1, 3)})


def merged(b: Builder, x: str) -> str:
    y = b.node(Op.TRANSPOSE, (x,), (BATCH, TOKENS, HEADS, PART), {"permutation": (0, 2, 1, 3)})
    return b.linear(b.node(Op.RESHAPE, (y,), (BATCH, TOKENS, WIDTH)), WIDTH, "lecun_normal")


def attended(b: Builder, query: str, key: str, value: str, mask: str = "", *, causal: bool = False) -> str:
    inputs = (query, key, value, mask) if mask else (query, key, value)
    return b.node(Op.ATTENTION, inputs, (BATCH, HEADS, TOKENS, PART), {"scale": PART**-0.5, "causal": causal})


def decomposed(b: Builder, query: str, key: str, value: str, mask: str = "") -> tuple[str, str]:
    """Logits before the mask, and the output."""
    turned = b.node(Op.TRANSPOSE, (key,), (BATCH, HEADS, PART, TOKENS), {"permutation": (0, 1, 3, 2)})
    square = (BATCH, HEADS, TOKENS, TOKENS)
    raw = b.node(Op.MATMUL, (query, turned), square)
    logits = b.combine(Op.DIV, raw, b.constant("root", np.array(math.sqrt(PART))))
    shifted = b.combine(Op.ADD, logits, mask) if mask else logits
    weights = b.node(Op.SOFTMAX, (shifted,), square, {"axis": -1})
    return logits, b.node(Op.MATMUL, (weights, value), (BATCH, HEADS, TOKENS, PART))


def windowed() -> np.ndarray:
    """Every token sees the three before it and itself."""
    distance = np.subtract.outer(np.arange(TOKENS), np.arange(TOKENS))
    return np.where((distance >= 0) & (distance < 4), 0.0, -np.inf)


def tokens(b: Builder, *, shared: bool) -> str:
    """Normalised tokens, with a part that all of them share or without."""
    x = b.linear(b.x, WIDTH, bias="normal(0, 1)" if shared else None)
    return b.normalize(x, "layer")


@pytest.mark.parametrize("scheme", ["normal(0, 0.02)", "lecun_normal", "kaiming_normal"])
@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("mask", ["none", "causal", "window"])
def test_one_operation(scheme: str, shared: bool, mask: str) -> None:
    b = Builder((BATCH, TOKENS, 64))
    x = tokens(b, shared=shared)
    query, key, value = (heads(b, x, kind) for kind in (scheme, scheme, "lecun_normal"))
    window = b.constant("window", windowed()) if mask == "window" else ""
    y = attended(b, query, key, value, window, causal=mask == "causal")
    z = merged(b, y)
    assert_agreement(b.graph(z), y, z, repeats=32, decades=0.08, correlation=0.08)


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("scheme", ["normal(0, 0.02)", "lecun_normal"])
def test_in_parts(masked: bool, shared: bool, scheme: str) -> None:
    b = Builder((BATCH, TOKENS, 64))
    x = tokens(b, shared=shared)
    query, key, value = (heads(b, x, kind) for kind in (scheme, scheme, "lecun_normal"))
    mask = b.constant("mask", windowed()) if masked else ""
    logits, y = decomposed(b, query, key, value, mask)
    z = merged(b, y)
    graph = b.graph(z)
    assert_agreement(graph, logits, repeats=32, decades=0.06, quantities=("mean_square", "mean"))
    assert_agreement(graph, y, z, repeats=32, decades=0.08, correlation=0.08)


@pytest.mark.parametrize("grown", [0.5, 2.0])
def test_sharp_attention(grown: float) -> None:
    b = Builder((BATCH, TOKENS, 64))
    x = tokens(b, shared=False)
    scheme = f"lecun_normal(gain={grown})"
    y = attended(b, heads(b, x, scheme), heads(b, x, scheme), heads(b, x, "lecun_normal"))
    z = merged(b, y)
    assert_agreement(b.graph(z), y, z, repeats=32, decades=0.1, correlation=0.1)


def test_biased_projections() -> None:
    b = Builder((BATCH, TOKENS, 64))
    x = tokens(b, shared=False)
    query, key, value = (heads(b, x, "lecun_normal", "normal(0, 0.7)") for _ in range(3))
    y = attended(b, query, key, value)
    z = merged(b, y)
    assert_agreement(b.graph(z), y, z, repeats=48, decades=0.08, correlation=0.08)


def test_learned_position_bias() -> None:
    b = Builder((BATCH, TOKENS, 64))
    x = tokens(b, shared=False)
    bias = b.parameter("bias", (1, HEADS, TOKENS, TOKENS), "normal(0, 1)")
    _, y = decomposed(b, *(heads(b, x, "lecun_normal") for _ in range(3)), bias)
    z = merged(b, y)
    assert_agreement(b.graph(z), y, z, repeats=48, decades=0.08, correlation=0.08)


def test_softmax_of_features() -> None:
    b = Builder((32, 128))
    x = b.linear(b.x, 64, "lecun_normal")
    y = b.node(Op.SOFTMAX, (x,), (32, 64), {"axis": -1})
    assert_agreement(b.graph(y), repeats=48, decades=0.06, quantities=("mean_square", "mean"))


@pytest.mark.parametrize("post", [False, True])
def test_block(post: bool) -> None:
    b = Builder((BATCH, TOKENS, 128))
    x = b.linear(b.x, WIDTH, "lecun_normal")
    values = []
    for _ in range(2):
        inner = x if post else b.normalize(x, "layer")
        branch = merged(b, attended(b, *(heads(b, inner, "lecun_normal") for _ in range(3)), causal=True))
        x = b.add(x, branch)
        x = b.normalize(x, "layer") if post else x
        inner = x if post else b.normalize(x, "layer")
        hidden = b.activation(b.linear(inner, 256), "gelu")
        x = b.add(x, b.linear(hidden, WIDTH, "lecun_normal"))
        x = b.normalize(x, "layer") if post else x
        values.append(x)
    assert_agreement(b.graph(x), *values, repeats=24, decades=0.1, correlation=0.1)


def test_values_that_sum_to_zero_over_positions() -> None:
    """Uniform attention averages them to nothing, not to less: circular convolutions keep the sum."""
    graph = load(lambda: (Centred(), torch.randn(2, 96, 7)), root=Path())
    forward = Analysis(graph).forward
    (mixed,) = (node for node in graph.nodes if node.op is Op.ATTENTION)
    value, signal = forward.signals[mixed.inputs[2]], forward.signals[mixed.outputs[0]]
    assert value is not None
    assert signal is not None
    assert value.source.rho_position < 0.0
    # Logits of variance 1/9 leave a little of every token beside the mean.
    assert 0.0 <= signal.mean_square < 0.05 * value.mean_square


class Centred(nn.Module):
    """A series less its mean over time, through a circular convolution, into attention."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Conv1d(7, 64, 3, padding=1, padding_mode="circular", bias=False)
        self.attention = nn.MultiheadAttention(64, 4, bias=False, batch_first=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = (x - x.mean(1, keepdim=True)) / (x.var(1, keepdim=True, unbiased=False) + 1e-5).sqrt()
        y = self.embed(x.transpose(1, 2)).transpose(1, 2)
        mixed: torch.Tensor = self.attention(y, y, y, need_weights=False)[0]
        return mixed


def test_no_two_of_many_positions_are_more_opposed_than_all_can_be() -> None:
    context = Context(values={}, typical=False, skip_index={})
    axes = (Axis.BATCH, Axis.POSITION, Axis.FEATURE)
    moments = Moments(1.0, 0.0, -0.5, 0.0, 1.0)
    for tokens, expected in ((2, -0.5), (11, -0.1), (96, -1.0 / 95.0)):
        signal = context.create(moments, context.root(1.0), shape=(2, tokens, 8), axes=axes)
        assert signal.pair_position == pytest.approx(expected)
