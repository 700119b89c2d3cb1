"""The help lines of rules are run on graphs as PyTorch would run them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch
from torch import nn

from initcheck import Builder, Op
from initcheck.testing.initializers import run_initializers

if TYPE_CHECKING:
    from initcheck import Graph


def network() -> Graph:
    b = Builder()
    return b.graph(b.linear(b.activation(b.linear(b.x, 64, "normal(0, 3)")), 10))


INITIALIZERS = [
    ("kaiming_normal_(layer.weight, nonlinearity='relu')", "kaiming_normal"),
    ("kaiming_normal_(layer.weight, mode='fan_out', nonlinearity='linear')", "kaiming_normal(fan_out, gain=1)"),
    ("kaiming_uniform_(layer.weight, a=5 ** 0.5)", "pytorch_default"),
    ("xavier_uniform_(layer.weight, gain=2)", "xavier_uniform(gain=2)"),
    ("xavier_normal_(layer.weight)", "xavier_normal"),
    ("orthogonal_(layer.weight)", "orthogonal"),
    ("normal_(layer.weight, 0.5, 0.25)", "normal(0.5, 0.25)"),
    ("normal_(layer.weight, std=layer.weight[0].numel() ** -0.5)", "lecun_normal"),
    ("normal_(layer.weight, std=layer.weight.size(1) ** -0.5)", "lecun_normal"),
    ("uniform_(layer.weight, -0.5, 0.5)", "uniform(±0.5)"),
    ("constant_(layer.weight, 0.25)", "constant(0.25)"),
    ("ones_(layer.weight)", "ones"),
    ("zeros_(layer.weight)", "zeros"),
]


@pytest.mark.parametrize(("code", "scheme"), INITIALIZERS)
def test_initialisers_leave_the_law_that_pytorch_draws_by(code: str, scheme: str) -> None:
    b = Builder()
    wanted = b.graph(b.linear(b.x, 48, scheme, path="fc")).parameters["fc.weight"].distribution
    b = Builder()
    graph = run_initializers(f"nn.init.{code}", b.graph(b.linear(b.x, 48, "normal(0, 7)", path="fc")), ["fc"])
    assert graph is not None
    got = graph.parameters["fc.weight"].distribution
    assert (got.family, got.size, got.exact, got.zeros) == (wanted.family, wanted.size, True, wanted.zeros)
    assert (got.mean, got.variance) == pytest.approx((wanted.mean, wanted.variance))


@pytest.mark.parametrize("code", [code for code, _ in INITIALIZERS])
def test_initialisers_agree_with_those_of_pytorch(code: str) -> None:
    torch.manual_seed(0)
    layer = nn.Linear(128, 192)
    exec(f"nn.init.{code}", {"nn": nn, "layer": layer})
    b = Builder((32, 128))
    graph = run_initializers(f"nn.init.{code}", b.graph(b.linear(b.x, 192, path="fc")), ["fc"])
    assert graph is not None
    law = graph.parameters["fc.weight"].distribution
    size = layer.weight.numel()
    # Five standard errors; the spread of a variance is that of a normal at most.
    assert layer.weight.mean().item() == pytest.approx(law.mean, abs=5.0 * law.std / size**0.5 + 1e-6)
    assert layer.weight.var().item() == pytest.approx(law.variance, rel=5.0 * (2.0 / size) ** 0.5, abs=1e-9)


@pytest.mark.parametrize(
    "code",
    ["", "make it wider", "import os", "nn.init.sparse_(layer.weight, 0.1)", "print(1)", "x = nn.init.zeros_(x)"],
)
def test_other_code_is_not_run(code: str) -> None:
    assert run_initializers(code, network(), ["0"]) is None


def test_only_the_layers_that_are_named_change() -> None:
    before = network()
    first = next(node.path for node in before.nodes if node.op is Op.LINEAR)
    after = run_initializers("nn.init.ones_(layer.weight)", before, [first])
    assert after is not None
    changed_parameters = [name for name in before.parameters if before.parameters[name] != after.parameters[name]]
    assert changed_parameters == [f"{first}.weight"]
