"""Examples written as ONNX files with sampled weights give the same verdicts through the whole pipeline."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from rule_networks import reported

from initcheck import check
from initcheck.testing import write_onnx
from initcheck_rules import RULES

if TYPE_CHECKING:
    from pathlib import Path

    from initcheck import Graph, Rule


def from_file(graph: Graph, path: Path) -> list[str]:
    write_onnx(graph, path)
    report = check(path, rules=[rule() for rule in RULES])
    assert report.errors == ()
    return [f"{item.finding.severity} {item.finding.code}" for item in report.findings]


NOT_IN_A_FILE = {"INI904": "an exporter writes no parameter that nothing reads"}


@pytest.mark.parametrize("rule", [r for r in RULES if r.code not in NOT_IN_A_FILE], ids=lambda rule: rule.code)
def test_bad_fires_and_good_is_silent(rule: type[Rule], tmp_path: Path) -> None:
    bad = from_file(rule.bad(), tmp_path / "bad.onnx")
    assert sorted(bad) == sorted(reported(rule.bad()))
    assert any(line.endswith(rule.code) for line in bad)
    assert from_file(rule.good(), tmp_path / "good.onnx") == []
