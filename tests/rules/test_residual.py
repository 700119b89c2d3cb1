"""INI201: the index, the scale that holds it, and what it explains."""

from __future__ import annotations

import math

import pytest
from rule_networks import findings, reported, residual

from initcheck import Optimizer


def test_linear_branches_grow_with_the_sum_of_squares() -> None:
    (finding,) = findings("INI201", residual(40, 1.0, positive=False))
    assert finding.evidence["blocks"] == 40
    assert finding.evidence["index_name"] == "Σ η² v"
    # He weights behind a ReLU keep the mean square, so every block doubles it; the first stream is all positive.
    assert finding.evidence["index"] == pytest.approx(40.0, rel=0.1)
    assert finding.evidence["log10_residual_growth"] == pytest.approx(40 * math.log10(2.0), rel=0.1)
    assert finding.layers == tuple(f"block{k}" for k in range(40))
    assert "starting at block0" in finding.message


def test_positive_branches_grow_with_the_sum() -> None:
    (finding,) = findings("INI201", residual(30, 0.5, positive=True))
    assert finding.evidence["index_name"] == "Σ η"
    assert finding.evidence["index"] == pytest.approx(15.0, rel=0.1)


@pytest.mark.parametrize(("positive", "scale"), [(False, 1.0), (True, 0.5)])
def test_the_scale_of_the_help_line_holds_the_growth(positive: bool, scale: float) -> None:
    (finding,) = findings("INI201", residual(40, scale, positive=positive))
    assert f"x = x + {finding.evidence['scale']:.2g} * branch(x)" in finding.help
    assert reported(residual(40, scale * finding.evidence["scale"], positive=positive)) == []


def test_growth_of_the_stream_is_one_finding() -> None:
    assert reported(residual(40, 1.0, positive=False)) == ["error INI201"]


def test_adam_has_wider_bounds() -> None:
    assert reported(residual(24, 1.0, positive=False)) == ["warning INI201"]
    assert reported(residual(24, 1.0, positive=False), Optimizer.ADAM) == []


def test_few_blocks_are_healthy() -> None:
    assert reported(residual(12, 1.0, positive=False)) == []
