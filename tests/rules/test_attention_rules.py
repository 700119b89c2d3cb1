"""INI504 and the facts on attention that it reads: fused, spelled out and from a file."""

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
    ("std", "severity"), [(0.02, None), (0.15, None), (0.2, Severity.WARNING), (0.3, Severity.ERROR)]
)
def test_severity_grows_with_the_logits(std: float, severity: Severity | None, fused: bool) -> None:
    graph = graph_of(lambda: Block(std, fused=fused))
    assert [finding.severity for finding in findings("INI504", graph)] == ([severity] if severity else [])


def test_a_learned_position_bias_counts() -> None:
    # Independent per key: a variance of 9 against 2 ln 32 = 6.9.
    (finding,) = findings("INI504", graph_of(lambda: Block(0.02, fused=False, bias=3.0)))
    assert finding.severity is Severity.ERROR
    assert finding.evidence["logit_variance"] == pytest.approx(9.0, rel=0.1)


def test_few_keys_are_not_judged() -> None:
    assert findings("INI504", graph_of(lambda: Block(0.3, fused=True, keys=4))) == ()


def unscaled(scale: float, *, blocks: int = 1) -> Graph:
    width = 64
    b = Builder((4, KEYS, width))
    x = b.x
    for k in range(blocks):
        normed = b.normalize(x)
        query, key, value = (b.linear(normed, width, "lecun_normal", path=f"{k}.{name}") for name in "qkv")
        turned = b.node(Op.TRANSPOSE, (key,), (4, width, KEYS), {"permutation": (0, 2, 1)})
        logits = b.node(Op.MATMUL, (query, turned), (4, KEYS, KEYS), {"scale": 1.0})
        weights = b.node(Op.SOFTMAX, (b.scale(logits, scale),), (4, KEYS, KEYS), {"axis": -1}, path=f"{k}.softmax")
        mixed = b.node(Op.MATMUL, (weights, value), (4, KEYS, width), {"scale": 1.0})
        x = b.add(x, b.linear(mixed, width, "normal(0, 0.02)", path=f"{k}.out"))
    return b.graph(b.linear(b.normalize(x), 10, path="head"))


def test_a_missing_division_is_named_and_following_it_helps() -> None:
    (finding,) = findings("INI504", unscaled(1.0))
    assert finding.severity is Severity.ERROR
    assert finding.evidence["logit_variance"] == pytest.approx(64.0, rel=0.05)
    assert finding.help == "scores = q @ k.transpose(-2, -1) / 64 ** 0.5"
    assert findings("INI504", unscaled(64**-0.5)) == ()


def test_blocks_that_fail_alike_are_one_finding() -> None:
    assert [line for line in reported(unscaled(1.0, blocks=3)) if "INI504" in line] == ["error INI504"]


def test_a_file_tells_the_same() -> None:
    (finding,) = findings("INI504", through_onnx(unscaled(1.0)))
    assert finding.evidence["logit_variance"] == pytest.approx(64.0, rel=0.1)
    assert finding.evidence["bound"] == pytest.approx(2.0 * math.log(KEYS))
