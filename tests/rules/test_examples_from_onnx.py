"""Examples written as ONNX files with sampled weights give the same verdicts through the whole pipeline."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from rule_networks import reported

from initcheck import Need, check
from initcheck.reports.skipped import skipped_sentences
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
EXPLAINED = {"INI204": "INI405 names the layer that is to blame"}
FROM_A_FILE = [rule for rule in RULES if rule.code not in NOT_IN_A_FILE and Need.CONSTRUCTION not in rule.needs]


@pytest.mark.parametrize("rule", FROM_A_FILE, ids=lambda rule: rule.code)
def test_bad_fires_and_good_is_silent(rule: type[Rule], tmp_path: Path) -> None:
    bad = from_file(rule.bad(), tmp_path / "bad.onnx")
    assert sorted(bad) == sorted(reported(rule.bad()))
    assert bad
    assert rule.code in EXPLAINED or any(line.endswith(rule.code) for line in bad)
    assert from_file(rule.good(), tmp_path / "good.onnx") == []


def test_rules_on_the_past_of_a_model_skip_a_file(tmp_path: Path) -> None:
    write_onnx(RULES[0].good(), tmp_path / "good.onnx")
    report = check(tmp_path / "good.onnx", rules=[rule() for rule in RULES])
    past = {rule.code for rule in RULES if Need.CONSTRUCTION in rule.needs}
    assert set(report.models[0].skipped_rules) == past == {"INI601", "INI602", "INI603"}
    assert skipped_sentences(report.models[0]) == (), "which is no news"
