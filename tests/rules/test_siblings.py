"""INI405 and INI407: layers of one role that have another scale, or the same elements."""

from __future__ import annotations

import copy
import math
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from rule_networks import findings, reported
from torch import nn
from torch_networks import from_torch

from initcheck import Builder, Op, Severity, check
from initcheck.testing import write_onnx
from initcheck_rules import RULES

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from initcheck import Graph


def stack(special: dict[int, Any], *, width: int = 64, norm: str = "") -> Graph:
    b = Builder((32, width))
    x = b.x
    for k in range(8):
        x = b.linear(x, width, special.get(k, "kaiming_normal"), path=f"layers.{k}")
        x = b.activation(b.normalize(x, norm) if norm else x)
    return b.graph(b.linear(x, 10, path="head"))


def pre_norm(blocks: int, special: dict[int, str], *, width: int = 64) -> Graph:
    b = Builder()
    x = b.linear(b.x, width, path="embed")
    for k in range(blocks):
        hidden = b.activation(b.linear(b.normalize(x), width, "normal(0, 0.02)", path=f"h.{k}.fc"), "gelu")
        x = b.add(x, b.linear(hidden, width, special.get(k, "normal(0, 0.02)"), path=f"h.{k}.proj"))
    return b.graph(b.linear(b.normalize(x), 10, path="head"))


@pytest.mark.parametrize(
    ("special", "severity"),
    [
        ({}, None),
        ({5: "normal(0, 0.05)"}, None),
        ({5: "normal(0, 0.2)"}, Severity.NOTE),
        ({5: "normal(0, 4)"}, Severity.WARNING),
        ({5: "normal(0, 0.0002)"}, Severity.NOTE),
        ({5: "zeros"}, None),
        ({k: f"normal(0, {0.02 / math.sqrt(k + 1)})" for k in range(12)}, None),
        ({k: f"normal(0, {0.02 * 0.6**k})" for k in range(12)}, None),
    ],
)
def test_one_projection_stands_out(special: dict[int, str], severity: Severity | None) -> None:
    found = findings("INI405", pre_norm(12, special))
    assert [finding.severity for finding in found] == ([severity] if severity else [])
    for finding in found:
        assert finding.layers == ("h.5.proj",)
        assert "11 siblings h.*.proj" in finding.message


def test_a_loud_layer_of_a_plain_network_is_part_of_the_explosion() -> None:
    graph = stack({3: "normal(0, 1000)"})
    assert [finding.severity for finding in findings("INI405", graph)] == [Severity.WARNING]
    assert reported(graph) == ["error INI102"]


def test_what_a_norm_divides_away_is_no_outlier() -> None:
    for norm in ("layer", "batch"):
        assert findings("INI405", stack({3: "normal(0, 100)"}, norm=norm)) == ()
        # ε outweighs what is left of the variance.
        assert findings("INI405", stack({3: "normal(0, 1e-4)"}, norm=norm)) != ()


def test_sampling_error_is_no_deviation() -> None:
    # Sixteen elements per weight: the variance is known to a third, and one that is fourteen times too small is not
    # told from chance at five standard errors.
    rng = np.random.default_rng(0)
    weights = {k: rng.normal(0.0, 0.7 * (14.0**-0.5 if k == 3 else 1.0), (4, 4)) for k in range(8)}
    assert findings("INI405", stack(weights, width=4)) == ()
    larger = {k: rng.normal(0.0, 0.18 * (14.0**-0.5 if k == 3 else 1.0), (64, 64)) for k in range(8)}
    assert len(findings("INI405", stack(larger))) == 1


def swiglu(blocks: int, scaled: str) -> Graph:
    width, scale = 64, f"normal(0, {0.02 / math.sqrt(2 * blocks):.6f})"
    b = Builder((4, 8, width))
    x = b.linear(b.x, width, "normal(0, 1)", path="embed")

    def draw(x: str, out: int, path: str) -> str:
        init = scale if path.rpartition(".")[2] in {scaled, "wo"} else "normal(0, 0.02)"
        return b.linear(x, out, init, bias=None, path=path)

    for k in range(blocks):
        normed = b.normalize(x, "rms")
        query, key, value = (draw(normed, width, f"layers.{k}.attention.{n}") for n in ("wq", "wk", "wv"))
        mixed = b.node(Op.ATTENTION, (query, key, value), b.shape(x), {"scale": width**-0.5, "causal": True})
        x = b.add(x, draw(mixed, width, f"layers.{k}.attention.wo"))
        normed = b.normalize(x, "rms")
        gate = b.activation(draw(normed, 128, f"layers.{k}.feed_forward.w1"), "silu")
        hidden = b.combine(Op.MUL, gate, draw(normed, 128, f"layers.{k}.feed_forward.w3"))
        x = b.add(x, draw(hidden, width, f"layers.{k}.feed_forward.w2"))
    return b.graph(b.linear(b.normalize(x, "rms"), 50, "normal(0, 0.02)", path="output"))


def test_the_depth_scale_belongs_on_the_projection_that_writes_to_the_stream() -> None:
    (finding,) = findings("INI405", swiglu(6, "w3"))
    assert finding.severity is Severity.NOTE
    assert finding.layers == tuple(f"layers.{k}.feed_forward.w3" for k in range(6))
    assert "layers.0.feed_forward.w2 writes to the stream" in finding.message
    assert finding.evidence["ratio"] == pytest.approx(12, rel=1e-3)
    assert findings("INI405", swiglu(6, "w2")) == ()


def test_laws_by_fan_differ_without_being_misplaced() -> None:
    # Of a bottleneck the middle weights are smaller than the last by fan_in, here as many times as there are additions.
    b = Builder()
    x = b.linear(b.x, 64, "normal(0, 0.02)")
    for k in range(8):
        hidden = b.activation(b.linear(b.normalize(x), 8, path=f"h.{k}.down"))
        x = b.add(x, b.linear(hidden, 64, path=f"h.{k}.up"))
    assert findings("INI405", b.graph(b.linear(b.normalize(x), 10))) == ()


def encoder(change: Callable[[nn.Module], Any] = lambda module: None) -> nn.Module:
    module = nn.TransformerEncoder(nn.TransformerEncoderLayer(64, 4, 128, batch_first=True), 3)
    change(module)
    return module


def redraw(module: nn.Module) -> None:
    for parameter in module.parameters():
        if parameter.dim() > 1:
            nn.init.xavier_uniform_(parameter)


def test_layers_of_nn_transformer_encoder_are_copies() -> None:
    (finding,) = findings("INI407", from_torch(encoder, 2, 5, 64))
    assert finding.severity is Severity.NOTE
    assert "layers.1.self_attn" in finding.message
    assert {path.split(".")[1] for path in finding.layers} == {"1", "2"}
    assert findings("INI407", from_torch(lambda: encoder(redraw), 2, 5, 64)) == ()


class Stack(nn.Module):
    def __init__(self, change: Callable[[nn.ModuleList], Any]) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(64, 64) for _ in range(3))
        self.head = nn.Linear(64, 10)
        change(self.layers)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for layer in self.layers:
            x = torch.relu(layer(x))
        return self.head(x)


def deep_copies(layers: nn.ModuleList) -> None:
    layers[2] = copy.deepcopy(layers[0])


def loaded(layers: nn.ModuleList) -> None:
    layers[2].load_state_dict(layers[0].state_dict())


def tied(layers: nn.ModuleList) -> None:
    layers[2].weight = layers[0].weight


def one_module(layers: nn.ModuleList) -> None:
    layers[2] = layers[0]


def parts(layers: nn.ModuleList) -> None:
    drawn = torch.randn(2, 64, 64) * 0.1
    for k in range(2):
        layers[k].weight = nn.Parameter(drawn[k].clone())


def constants(layers: nn.ModuleList) -> None:
    for layer in layers:
        nn.init.eye_(layer.weight)


def halved(layers: nn.ModuleList) -> None:
    layers[2].weight.data = layers[0].weight.data * 0.5


@pytest.mark.parametrize(
    ("change", "copies"),
    [
        (deep_copies, ["layers.2"]),
        (loaded, ["layers.2"]),
        (tied, []),
        (one_module, []),
        (parts, []),
        (constants, []),
        (halved, []),
    ],
)
def test_copies_in_pytorch(change: Callable[[nn.ModuleList], Any], copies: list[str]) -> None:
    found = findings("INI407", from_torch(lambda: Stack(change), 4, 64))
    assert [path for finding in found for path in finding.layers] == copies


def test_a_copied_network_has_a_role_of_its_own() -> None:
    class Twin(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.online = nn.Linear(64, 64)
            self.target = copy.deepcopy(self.online)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.online(x) * self.target(x)

    assert findings("INI407", from_torch(Twin, 4, 64)) == ()


@pytest.mark.parametrize("same", [True, False])
def test_copies_in_a_file_are_known_by_their_bytes(same: bool, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    first = rng.normal(0.0, 0.177, (64, 64)).astype(np.float32)
    second = first if same else np.ascontiguousarray(first[::-1])
    b = Builder()
    x = b.activation(b.linear(b.x, 64, first, path="layers.0"))
    x = b.activation(b.linear(x, 64, second, path="layers.1"))
    write_onnx(b.graph(b.linear(x, 10, path="head")), tmp_path / "model.onnx")
    report = check(tmp_path / "model.onnx", rules=[rule() for rule in RULES])
    assert [item.finding.code for item in report.findings] == (["INI407"] if same else [])
