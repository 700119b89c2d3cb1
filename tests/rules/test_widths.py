"""INI301: β against the paper's sum, and the width it asks for."""

from __future__ import annotations

import re

import pytest
from rule_networks import findings, mlp, reported

from initcheck import Builder, Op, Optimizer, Severity


@pytest.mark.parametrize(("width", "depth"), [(24, 120), (18, 90)])
def test_beta_is_the_sum_of_reciprocal_widths(width: int, depth: int) -> None:
    (finding,) = findings("INI301", mlp([width] * depth))
    # n Var[ln M] of one layer is 6.1 at 24 and 6.5 at 18 units where the first order says 5.
    assert finding.evidence["beta"] == pytest.approx(1.25 * depth / width, rel=0.08)
    assert finding.severity in {Severity.WARNING, Severity.ERROR}
    assert f"over {depth} layers" in finding.message


def test_the_width_of_the_help_line_brings_it_under_the_bound() -> None:
    (finding,) = findings("INI301", mlp([8] * 60))
    match = re.search(r"at least (\d+) wide", finding.help)
    assert match is not None
    width = int(match[1])
    assert 10 <= width <= 30
    assert findings("INI301", mlp([width] * 60)) == ()
    assert findings("INI301", mlp([width // 2] * 60)) != ()


def test_narrow_layers_are_named() -> None:
    widths = [16] * 60
    widths[7] = widths[13] = 1
    (finding,) = findings("INI301", mlp(widths))
    assert "fc7" in finding.cause
    assert "fc13" in finding.cause
    assert "fc3 " not in finding.cause


@pytest.mark.parametrize("norm", ["layer", "batch"])
def test_normalization_resets(norm: str) -> None:
    assert findings("INI301", mlp([10] * 100, norm=norm)) == ()


def test_adam_has_wider_bounds() -> None:
    assert [f.severity for f in findings("INI301", mlp([20] * 120))] == [Severity.ERROR]
    assert [f.severity for f in findings("INI301", mlp([20] * 120), Optimizer.ADAM)] == [Severity.WARNING]


def test_width_growing_with_depth_is_clean() -> None:
    for depth in (20, 60, 100):
        assert reported(mlp([depth] * depth)) == []


@pytest.mark.parametrize("understood", [True, False])
def test_what_products_make_of_widths_is_not_judged_on_a_guess(understood: bool) -> None:
    b = Builder((32, 8))
    first = b.linear(b.x, 8, "kaiming_normal")
    if not understood:
        first = b.node(Op.OPAQUE, (first,), b.shape(first), {"type": "example.Warp"})
    x = first
    for _ in range(10):
        # Each factor brings the fluctuation of the first layer's length with it, once more.
        x = b.linear(b.combine(Op.MUL, x, first), 8, "kaiming_normal")
    graph = b.graph(b.linear(x, 10))
    assert bool(findings("INI301", graph)) is understood
