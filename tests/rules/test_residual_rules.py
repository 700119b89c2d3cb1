"""INI202, INI203 and INI204: how branches join the stream."""

from __future__ import annotations

import math

import pytest
from rule_networks import findings, reported
from torch import nn
from torch_networks import from_torch

from initcheck import Analysis, Builder, Graph, Op, Optimizer, Severity
from initcheck.testing import through_onnx
from initcheck_rules.stream import additions_of


def pre_norm(
    blocks: int,
    last: str = "normal(0, 0.1)",
    *,
    inner: str = "normal(0, 0.1)",
    special: dict[int, str] | None = None,
    factor: float = 1.0,
    ending: str = "",
    start: str = "lecun_normal",
) -> Graph:
    b = Builder()
    x = b.linear(b.x, 64, start, path="embed")
    for k in range(blocks):
        hidden = b.activation(b.linear(b.normalize(x), 256, inner, path=f"h.{k}.fc"), "gelu")
        branch = b.linear(hidden, 64, (special or {}).get(k, last), path=f"h.{k}.proj")
        branch = b.normalize(branch, ending) if ending else branch
        x = b.add(x, b.scale(branch, factor) if factor != 1.0 else branch)
    return b.graph(b.linear(b.normalize(x), 10, "lecun_normal", path="head"))


DEFAULT, SMALL = "pytorch_default", "normal(0, 0.02)"


@pytest.mark.parametrize(
    ("graph", "count"),
    [
        (pre_norm(24), 1),
        (pre_norm(12), 0),
        (pre_norm(48), 1),
        (pre_norm(24, f"normal(0, {0.1 / math.sqrt(24):.4f})"), 0),
        # GPT-2: 1/√(2 blocks), and half of it where somebody counts blocks.
        (pre_norm(48, f"normal(0, {0.1 / math.sqrt(24):.4f})"), 0),
        (pre_norm(24, "zeros"), 0),
        (pre_norm(24, factor=1e-3), 0),
        (pre_norm(24, factor=1.0 / math.sqrt(24.0)), 0),
        (pre_norm(24, factor=0.5, start=SMALL), 1),
        (pre_norm(24, ending="layer"), 0),
        (pre_norm(24, DEFAULT, inner=DEFAULT, start=SMALL), 1),
        (pre_norm(24, "xavier_normal", inner="xavier_normal", start=SMALL), 1),
        # Small next to an embedding of length one: the stream stays what it was.
        (pre_norm(24, "normal(0, 0.02)", inner="normal(0, 0.02)"), 0),
    ],
)
def test_unscaled_projections_of_a_deep_stack(graph: Graph, count: int) -> None:
    found = findings("INI202", graph)
    assert len(found) == count
    assert all(finding.severity is Severity.NOTE for finding in found)


def test_the_stream_grows_by_what_is_said() -> None:
    graph = pre_norm(24)
    (finding,) = findings("INI202", graph)
    stack = list(additions_of(Analysis(graph)))
    total = 1.0 + math.fsum(addition.branch.mean_square for addition in stack) / stack[0].skip.mean_square
    assert finding.evidence["log10_growth"] == pytest.approx(math.log10(total), abs=0.02)
    assert finding.layers == tuple(f"h.{k}.proj" for k in range(24))


def test_a_file_tells_unscaled_projections() -> None:
    assert len(findings("INI202", through_onnx(pre_norm(24)))) == 1
    assert findings("INI202", through_onnx(pre_norm(24, f"normal(0, {0.1 / math.sqrt(24):.4f})"))) == ()


def encoder(layers: int, *, first: bool) -> Graph:
    def make() -> nn.Module:
        layer = nn.TransformerEncoderLayer(32, 4, 64, 0.0, batch_first=True, norm_first=first)
        module = nn.TransformerEncoder(layer, layers, enable_nested_tensor=False)
        for parameter in module.parameters():
            if parameter.dim() > 1:
                nn.init.xavier_uniform_(parameter)
        return module

    return from_torch(make, 2, 8, 32)


def test_post_norm_depth_of_torch_encoders() -> None:
    (finding,) = findings("INI203", encoder(16, first=False))
    assert finding.severity is Severity.NOTE
    assert finding.evidence["additions"] == 32
    assert findings("INI203", encoder(6, first=False)) == ()
    assert findings("INI203", encoder(16, first=True)) == ()


def post_norm(blocks: int, last: str, scale: float = 1.0) -> Graph:
    b = Builder()
    x = b.normalize(b.linear(b.x, 64, "lecun_normal"))
    for k in range(blocks):
        branch = b.linear(b.activation(b.linear(x, 64, path=f"{k}.up")), 64, last, path=f"{k}.down")
        x = b.normalize(b.add(b.scale(x, scale) if scale != 1.0 else x, branch))
    return b.graph(b.linear(x, 10, "lecun_normal"))


def test_what_the_skips_lose_is_the_product_over_the_additions() -> None:
    # He twice around one ReLU: r = 2 in every block, the norm leaves a third of the skip.
    (finding,) = findings("INI203", post_norm(30, "kaiming_normal"))
    assert finding.evidence["log10_skip_gradient"] == pytest.approx(-30 * math.log10(3.0), rel=0.05)
    assert findings("INI203", post_norm(30, "normal(0, 0.02)")) == ()
    # DeepNet: α = (2 N)^(1/4), branches by (8 N)^(-1/4).
    scaled = f"normal(0, {math.sqrt(2 / 64) * (8 * 30) ** -0.5:.5f})"
    assert findings("INI203", post_norm(30, scaled, 60**0.25)) == ()


def test_one_loud_branch_cuts_its_skip() -> None:
    graph = pre_norm(8, special={4: "normal(0, 30)"})
    (finding,) = findings("INI204", graph)
    assert finding.severity is Severity.WARNING
    assert finding.layers == ("h.4.proj",)
    assert findings("INI204", graph, Optimizer.ADAM) == ()
    assert "warning INI204" not in reported(graph)
    assert findings("INI204", pre_norm(8, special={4: "normal(0, 1)"})) == ()


@pytest.mark.parametrize("start", ["normal(0, 0.02)", "normal(0, 1e-4)", "zeros"])
def test_a_small_embedding_is_not_a_skip_that_is_cut(start: str) -> None:
    assert findings("INI204", pre_norm(8, start=start)) == ()


def test_residual_networks_with_batch_normalisation_are_quiet() -> None:
    b = Builder((32, 3, 16, 16))
    x = b.activation(b.normalize(b.conv(b.x, 16, bias=None), "batch"))
    for _ in range(30):
        y = b.activation(b.normalize(b.conv(x, 16, bias=None), "batch"))
        x = b.activation(b.add(x, b.normalize(b.conv(y, 16, bias=None), "batch")))
    graph = b.graph(b.linear(b.pool(x), 10))
    assert [finding for code in ("INI202", "INI203", "INI204") for finding in findings(code, graph)] == []


def test_the_first_branch_of_each_role_is_left_out() -> None:
    b = Builder((4, 16), "int64")
    x = b.embedding(b.x, 100, 64, "normal(0, 1e-4)")
    for k in range(4):
        normed = b.normalize(x)
        query, key, value = (b.linear(normed, 64, "normal(0, 0.02)", path=f"{k}.{name}") for name in "qkv")
        mixed = b.node(Op.ATTENTION, (query, key, value), b.shape(x), {"scale": 0.125})
        x = b.add(x, b.linear(mixed, 64, "normal(0, 0.001)", path=f"{k}.out"))
        hidden = b.activation(b.linear(b.normalize(x), 256, path=f"{k}.fc"), "gelu")
        x = b.add(x, b.linear(hidden, 64, path=f"{k}.proj"))
    graph = b.graph(b.linear(b.normalize(x), 10, path="head"))
    assert max(addition.ratio for addition in additions_of(Analysis(graph))) > 1e4
    assert findings("INI204", graph) == ()
