"""INI506: the predicted loss is that of sampled models, and only language models are judged."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from rule_networks import findings, reported
from torch import nn
from torch.nn import functional

from initcheck import Analysis, Builder, Graph, Severity
from initcheck.sources.torch.load import load
from initcheck.testing import through_onnx
from initcheck_rules.first_loss import expected_loss, find_vocabulary


class Model(nn.Module):
    """A tied or untied language model of pre-norm blocks."""

    def __init__(self, std: float, *, tied: bool, width: int = 128, words: int = 300, factor: float = 1.0) -> None:
        super().__init__()
        self.tok, self.pos = nn.Embedding(words, width), nn.Embedding(12, width)
        self.up = nn.ModuleList(nn.Linear(width, width) for _ in range(3))
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(4))
        self.head = nn.Linear(width, words, bias=False)
        self.factor = factor
        nn.init.normal_(self.tok.weight, std=std)
        nn.init.normal_(self.pos.weight, std=std)
        nn.init.normal_(self.head.weight, std=std)
        if tied:
            self.head.weight = self.tok.weight
        self.example_input = torch.zeros(4, 12, dtype=torch.long)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        x = self.tok(ids) + self.pos(torch.arange(12))
        for up, norm in zip(self.up, self.norms, strict=False):
            x = x + functional.gelu(up(norm(x)))
        return self.factor * self.head(self.norms[-1](x))


def model_graph(std: float, *, tied: bool, factor: float = 1.0) -> Graph:
    return load(lambda: Model(std, tied=tied, factor=factor), root=Path(__file__).parent)


def predicted(graph: Graph) -> float:
    analysis = Analysis(graph)
    vocabulary = find_vocabulary(analysis)
    assert vocabulary is not None
    first = expected_loss(analysis, vocabulary, 0.0)
    assert first is not None
    return first.loss


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("std", [0.02, 0.2, 1.0])
def test_prediction_is_the_loss_of_sampled_models(std: float, tied: bool) -> None:
    losses = []
    for seed in range(8):
        torch.manual_seed(seed)
        model = Model(std, tied=tied)
        ids, labels = torch.randint(0, 300, (2, 32, 12))
        with torch.no_grad():
            losses.append(functional.cross_entropy(model(ids).flatten(0, 1), labels.flatten()).item())
    measured, error = float(np.mean(losses)), 3.0 * float(np.std(losses)) / math.sqrt(len(losses))
    assert predicted(model_graph(std, tied=tied)) == pytest.approx(measured, abs=error + 0.04 * measured)


@pytest.mark.parametrize(
    ("std", "tied", "severity"),
    [
        (0.02, True, None),
        (0.02, False, None),
        (0.3, False, None),
        (0.4, False, Severity.NOTE),
        (1.0, False, Severity.NOTE),
        (2.0, False, Severity.WARNING),
        (1.0, True, Severity.WARNING),
    ],
)
def test_severity_grows_with_the_scale(std: float, tied: bool, severity: Severity | None) -> None:
    graph = model_graph(std, tied=tied)
    assert [finding.severity for finding in findings("INI506", graph)] == ([severity] if severity else [])


def test_a_scaled_head_is_healthy() -> None:
    # T5 multiplies by d^-0.5 what a tied head of scale 1 gives.
    assert findings("INI506", model_graph(1.0, tied=True, factor=128**-0.5)) == ()


def head(std: float, outputs: int, *, embedded: bool, ending: str = "") -> Graph:
    b = Builder((4, 8), "int64") if embedded else Builder((4, 8, 64))
    x = b.embedding(b.x, 100, 64, "normal(0, 1)") if embedded else b.x
    x = b.linear(b.normalize(b.linear(x, 64)), outputs, f"normal(0, {std})", path="head")
    return b.graph(b.activation(x, ending) if ending else x)


def test_a_linear_map_to_numbers_is_not_judged() -> None:
    assert len(findings("INI506", head(2.0, 100, embedded=True))) == 1
    assert findings("INI506", head(2.0, 10, embedded=True)) == ()
    assert findings("INI506", head(2.0, 100, embedded=False)) == ()


def test_an_untied_head_is_read_from_a_file() -> None:
    (finding,) = findings("INI506", through_onnx(head(2.0, 100, embedded=True)))
    assert finding.evidence["logit_variance"] == pytest.approx(256.0, rel=0.05)
    assert not finding.evidence["tied"]


def test_an_exploding_stream_is_one_finding() -> None:
    b = Builder((4, 8), "int64")
    x = b.embedding(b.x, 100, 64)
    for _ in range(24):
        x = b.activation(b.linear(x, 64, "normal(0, 0.5)"))
    assert reported(b.graph(b.linear(x, 100))) == ["error INI102"]
