"""Every rule meets what initcheck demands of rules, is installed, and speaks up on a file."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from initcheck import check
from initcheck.plugins import load_rules
from initcheck.testing import rule_cases, write_onnx
from team_rules import RULES

if TYPE_CHECKING:
    from pathlib import Path

    from initcheck import Rule
    from initcheck.testing import RuleCase


@pytest.mark.parametrize("case", rule_cases(RULES))
def test_rule(case: RuleCase) -> None:
    """One demand on one rule."""
    case()


def test_the_entry_point_finds_every_rule() -> None:
    """If not, install again: pip reads the entry points of pyproject.toml at that time only."""
    assert set(RULES) <= {type(rule) for rule in load_rules()}


@pytest.mark.parametrize("rule", RULES)
def test_a_run_reports_the_bad_example(rule: type[Rule], tmp_path: Path) -> None:
    """Through the whole of initcheck, beside the built-in rules."""
    write_onnx(rule.bad(), tmp_path / "bad.onnx")
    report = check(tmp_path / "bad.onnx")
    assert rule.code in {item.finding.code for item in report.findings}
