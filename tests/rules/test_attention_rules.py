"""INI504, INI505 and the facts on attention that they read: fused, spelled out and from a file."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from rule_networks import findings, reported
from torch import nn
from torch.nn import functional

from initcheck import Analysis, Builder, Graph, Op, Severity
from initcheck.sources.torch.load import load
from initcheck.testing import through_onnx

if TYPE_CHECKING:
    from collections.abc import Callable

KEYS = 32


class Block(nn.Module):
    """Pre-norm attention in several heads whose scores are spelled out or fused."""

    def __init__(self, std: float, *, fused: bool, scaled: bool = True, bias: float = 0.0, keys: int = KEYS) -> None:
        super().__init__()
        self.norm, self.head = nn.LayerNorm(64), nn.Linear(64, 10)
        self.query, self.key, self.value, self.out = (nn.Linear(64, 64) for _ in range(4))
        for layer in (self.query, self.key):
            nn.init.normal_(layer.weight, std=std)
            nn.init.zeros_(layer.bias)
        self.bias = nn.Parameter(bias * torch.randn(4, keys, keys)) if bias else None
        self.fused, self.scale = fused, 16**-0.5 if scaled else 1.0
        self.example_input = torch.randn(4, keys, 64)

    def scores(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        x = self.norm(x)
        query, key, value = (
            layer(x).unflatten(-1, (4, 16)).transpose(1, 2) for layer in (self.query, self.key, self.value)
        )
        return query, key, value

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        query, key, value = self.scores(x)
        if self.fused:
            y = functional.scaled_dot_product_attention(query, key, value, scale=self.scale)
        else:
            logits = query @ key.transpose(-2, -1) * self.scale
            y = torch.softmax(logits if self.bias is None else logits + self.bias, -1) @ value
        return self.head((x + self.out(y.transpose(1, 2).flatten(2))).mean(1))


def graph_of(make: Callable[[], nn.Module]) -> Graph:
    return load(make, root=Path(__file__).parent)


@pytest.mark.parametrize("fused", [False, True])
def test_facts_are_those_of_sampled_logits(fused: bool) -> None:
    variances, overlap = [], []
    for seed in range(8):
        torch.manual_seed(seed)
        block = Block(0.2, fused=fused)
        with torch.no_grad():
            query, key, _ = block.scores(torch.randn(16, KEYS, 64))
            logits = query @ key.transpose(-2, -1) * block.scale
        variances.append(logits.var(-1).mean().item())
        overlap.append((torch.softmax(logits, -1) ** 2).sum(-1).mean().item())
    (facts,) = Analysis(graph_of(lambda: Block(0.2, fused=fused))).attention
    assert facts.logit_variance == pytest.approx(np.mean(variances), rel=0.1)
    assert facts.same == pytest.approx(np.mean(overlap), rel=0.1)
    assert (facts.queries, facts.keys, facts.width) == (KEYS, KEYS, 16)
    assert facts.scale == pytest.approx(0.25, rel=1e-3)
    assert [node.path for node in (facts.query_layer, facts.key_layer) if node] == ["query", "key"]


@pytest.mark.parametrize("fused", [False, True])
@pytest.mark.parametrize(
    ("std", "severity"),
    [(0.02, None), (0.2, None), (0.3, Severity.NOTE), (0.6, Severity.NOTE), (1.0, Severity.WARNING)],
)
def test_severity_grows_with_the_logits(std: float, severity: Severity | None, fused: bool) -> None:
    graph = graph_of(lambda: Block(std, fused=fused))
    assert [finding.severity for finding in findings("INI504", graph)] == ([severity] if severity else [])


def test_a_learned_position_bias_counts() -> None:
    # Independent per key: a variance of 9 against 2 ln 32 = 6.9.
    (finding,) = findings("INI504", graph_of(lambda: Block(0.02, fused=False, bias=3.0)))
    assert finding.severity is Severity.NOTE
    assert finding.evidence["logit_variance"] == pytest.approx(9.0, rel=0.1)


@pytest.mark.parametrize(("std", "expected"), [(0.2, []), (0.25, [("note", 2.0)]), (1.0, [("warning", 200.0)])])
def test_few_keys_are_judged_as_many(std: float, expected: list[tuple[str, float]]) -> None:
    found = findings("INI504", graph_of(lambda: Block(std, fused=True, keys=4)))
    assert [str(finding.severity) for finding in found] == [severity for severity, _ in expected]
    for finding, (_, bound) in zip(found, expected, strict=True):
        assert finding.evidence["bound"] == pytest.approx(bound * math.log(1024))


def unscaled(scale: float, *, blocks: int = 1) -> Graph:
    width = 64
    b = Builder((4, KEYS, width))
    x = b.x
    for k in range(blocks):
        normed = b.normalize(x)
        query, key, value = (b.linear(normed, width, "lecun_normal", path=f"{k}.{name}") for name in "qkv")
        mixed = b.attention(query, key, value, scale=scale, path=f"{k}.attention")
        x = b.add(x, b.linear(mixed, width, "normal(0, 0.02)", path=f"{k}.out"))
    return b.graph(b.linear(b.normalize(x), 10, path="head"))


def test_a_missing_division_is_named_and_following_it_helps() -> None:
    (finding,) = findings("INI504", unscaled(1.0))
    assert finding.severity is Severity.NOTE
    assert finding.evidence["logit_variance"] == pytest.approx(64.0, rel=0.05)
    assert finding.help == "scores = q @ k.transpose(-2, -1) / 64 ** 0.5"
    assert findings("INI504", unscaled(64**-0.5)) == ()


def test_blocks_that_fail_alike_are_one_finding() -> None:
    assert [line for line in reported(unscaled(1.0, blocks=3)) if "INI504" in line] == ["note INI504"]


def test_a_file_tells_the_same() -> None:
    (finding,) = findings("INI504", through_onnx(unscaled(1.0)))
    assert finding.evidence["logit_variance"] == pytest.approx(64.0, rel=0.1)
    assert finding.evidence["bound"] == pytest.approx(2.0 * math.log(KEYS))


def stack(
    blocks: int,
    *,
    skips: bool,
    common: float = 0.0,
    embedded: bool = False,
    keys: int = KEYS,
    pre_norm: bool = True,
    init: str = "xavier_normal",
    pooled: bool = False,
) -> Graph:
    """Attention with or without skips; an offset that all tokens of all samples share; an answer for all of them."""
    width = 64
    b = Builder((4, keys), "int64") if embedded else Builder((4, keys, width))
    x = b.embedding(b.x, 1, width) if embedded else b.x
    if common:
        x = b.add(x, b.parameter("type", (width,), f"normal(0, {common})"))
    for k in range(blocks):
        normed = b.normalize(x) if skips and pre_norm else x
        query, key, value = (b.linear(normed, width, init, path=f"{k}.{name}") for name in ("q", "k", "v"))
        mixed = b.linear(b.attention(query, key, value, path=f"{k}.attention"), width, init, path=f"{k}.out")
        x = b.add(x, mixed) if skips else mixed
        x = x if skips and pre_norm else b.normalize(x)
    if pooled:
        x = b.node(Op.REDUCE, (x,), (4, width), {"function": "mean", "axes": (1,), "keepdims": False})
    return b.graph(b.linear(b.normalize(x), 10, "xavier_normal", path="head"))


def test_without_skips_tokens_become_alike() -> None:
    graph = stack(8, skips=False)
    (finding,) = findings("INI505", graph)
    assert finding.severity is Severity.ERROR
    assert finding.evidence["cosine"] == pytest.approx(1.0, abs=1e-3)
    assert finding.evidence["query_key_gradient"] < 1e-4
    assert finding.help == "x = x + attention(norm(x))"
    assert reported(graph) == ["error INI505"]
    assert len(findings("INI505", through_onnx(graph))) == 1


def test_one_answer_per_sample_needs_no_difference_between_tokens() -> None:
    (finding,) = findings("INI505", stack(8, skips=False, pooled=True))
    assert finding.severity is Severity.NOTE
    assert finding.evidence["cosine"] == pytest.approx(1.0, abs=1e-3)


def test_cosine_is_that_of_sampled_stacks() -> None:
    cosines = []
    for seed in range(12):
        rng = np.random.default_rng(seed)
        x = rng.standard_normal((KEYS, 64))
        for _ in range(2):
            query, key, value, out = (rng.normal(0.0, 0.125, (64, 64)) for _ in range(4))
            logits = (x @ query) @ (x @ key).T / 8.0
            weights = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
            x = weights @ x @ value @ out
            x = (x - x.mean(-1, keepdims=True)) / x.std(-1, keepdims=True)
        products = x @ x.T / 64.0
        cosines.append((products.sum() - np.trace(products)) / (KEYS * (KEYS - 1)))
    (_, _, last) = Analysis(stack(3, skips=False)).attention
    assert last.key_layer is not None
    signal = Analysis(stack(3, skips=False)).signal_into(last.key_layer)
    assert signal is not None
    # Width 64 leaves more of a difference than mean field has, by a factor of three here.
    apart = np.log10(1.0 - np.array(cosines)).mean()
    assert math.log10(1.0 - signal.pair_position) == pytest.approx(apart, abs=0.6)


@pytest.mark.parametrize(
    "graph",
    [
        stack(8, skips=True),
        stack(24, skips=True),
        stack(6, skips=True, pre_norm=False, init="pytorch_default"),
        # One token, or the same one everywhere: nothing was made alike.
        stack(8, skips=False, keys=1),
        stack(8, skips=False, embedded=True),
        # What a type embedding puts into every token of every sample.
        stack(4, skips=True, common=30.0),
    ],
)
def test_tokens_that_stay_apart_or_come_in_alike_are_no_collapse(graph: Graph) -> None:
    assert findings("INI505", graph) == ()
