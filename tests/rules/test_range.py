"""INI106: activations at the ends of the number format."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from rule_networks import findings, mlp, reported
from torch import nn
from torch_networks import from_torch

from initcheck import Analysis, Builder, Finding, Graph, Op, Severity
from initcheck_rules.ini106_range_overflow import RangeOverflow


def before_norm(std: float, dtype: str = "float16", width: int = 64) -> Graph:
    b = Builder((32, width), dtype)
    x = b.normalize(b.linear(b.x, width, f"normal(0, {std})", path="wide"), path="norm")
    return b.graph(b.linear(b.activation(x), 10, path="head"))


def trained_in(dtype: str, graph: Graph) -> list[Finding]:
    return list(RangeOverflow().check(Analysis(graph, dtype=dtype)))


@pytest.mark.parametrize(
    ("peak", "expected"),
    [(6000.0, []), (7000.0, [Severity.WARNING]), (65000.0, [Severity.WARNING]), (66000.0, [Severity.ERROR])],
)
def test_five_root_mean_squares_decide(peak: float, expected: list[Severity]) -> None:
    # Inputs of mean square one: the root mean square is the square root of the width times the deviation.
    found = findings("INI106", before_norm(peak / 5.0 / 8.0))
    assert [finding.severity for finding in found] == expected
    for finding in found:
        assert finding.evidence["log10_root_mean_square"] == pytest.approx(math.log10(peak / 5.0), abs=0.01)
        assert finding.layers == ("wide",)
        assert "needs 1/fan_in" in finding.cause


def test_only_the_type_that_is_declared_counts() -> None:
    assert findings("INI106", before_norm(1e4, "bfloat16")) == ()
    assert findings("INI106", before_norm(1e4, "float32")) == ()
    assert [finding.severity for finding in trained_in("float16", before_norm(1e4, "float32"))] == [Severity.ERROR]
    assert trained_in("bfloat16", before_norm(1e4, "float16")) == []


@pytest.mark.parametrize(("dtype", "expected"), [("float32", []), ("float16", [Severity.ERROR])])
def test_a_sentinel_overflows_only_where_it_is_infinite(dtype: str, expected: list[Severity]) -> None:
    """The -10^38 with which a running maximum begins is within the range of float32, and never grows."""
    b = Builder((32, 64), dtype)
    floor = b.combine(
        Op.SUB, b.combine(Op.MUL, b.x, b.constant("zero", np.array(0.0))), b.constant("c", np.array(1e38))
    )
    graph = b.graph(b.linear(b.combine(Op.MAXIMUM, floor, b.linear(b.x, 64)), 10))
    assert [finding.severity for finding in findings("INI106", graph)] == expected


def test_float32_ends_as_well() -> None:
    (finding,) = findings("INI106", before_norm(1e38, "float32"))
    assert finding.severity is Severity.ERROR
    assert "float32 ends at 3.4e+38" in finding.message


def test_an_explosion_that_another_rule_names_is_one_finding() -> None:
    graph = mlp([100] * 50, "normal(0, 10)")
    assert len(findings("INI106", graph)) == 1
    assert reported(graph) == ["error INI102"]


def test_underflow_on_the_only_path() -> None:
    b = Builder(dtype="float16")
    x = b.linear(b.x, 64, "normal(0, 1e-9)", path="quiet")
    (finding,) = findings("INI106", b.graph(b.linear(b.activation(b.linear(x, 64)), 10)))
    assert finding.severity is Severity.ERROR
    assert "shrink to 10^-8.1, float16 begins at 6e-08" in finding.message
    assert finding.layers[0] == "quiet"


def test_a_quiet_branch_or_head_is_healthy() -> None:
    b = Builder(dtype="float16")
    x = b.linear(b.x, 64, "lecun_normal")
    for k in range(4):
        branch = b.activation(b.linear(b.normalize(x), 64, "lecun_normal"), "gelu")
        x = b.add(x, b.scale(b.linear(branch, 64, "lecun_normal"), b.parameter(f"gamma{k}", (64,), "constant(1e-07)")))
    assert findings("INI106", b.graph(b.linear(x, 10, "normal(0, 1e-9)"))) == ()


def test_a_number_that_stands_for_minus_infinity_is_as_large_as_it_is() -> None:
    b = Builder()
    x = b.linear(b.x, 64)
    low = b.constant("low", np.array(-1e38))
    running = b.combine(Op.MAXIMUM, b.combine(Op.ADD, b.activation(x, "sigmoid"), low), x)
    assert findings("INI106", b.graph(b.linear(running, 10))) == ()


class Halved(nn.Module):
    """A plain network in half precision whose scale a normalisation makes free."""

    def __init__(self, std: float) -> None:
        super().__init__()
        self.wide, self.norm, self.head = nn.Linear(64, 64), nn.LayerNorm(64), nn.Linear(64, 10)
        nn.init.normal_(self.wide.weight, std=std)
        self.half()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(torch.relu(self.norm(self.wide(x))))


def test_torch_models_in_half_precision() -> None:
    (finding,) = findings("INI106", from_torch(lambda: Halved(3e3), 32, 64, dtype=torch.float16))
    assert finding.severity is Severity.ERROR
    assert finding.layers == ("wide",)
    assert finding.location is not None
    assert findings("INI106", from_torch(lambda: Halved(0.1), 32, 64, dtype=torch.float16)) == ()
