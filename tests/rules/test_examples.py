"""What every built-in rule owes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from initcheck.testing import rule_cases, run_rules
from initcheck_rules import RULES

if TYPE_CHECKING:
    from initcheck import Rule
    from initcheck.testing import RuleCase

NOT_IN_A_FILE = ("INI601", "INI602", "INI603", "INI904")
"""No exporter writes a parameter that nothing reads, and no file knows how its weights came about."""


@pytest.mark.parametrize("case", rule_cases(RULES, built_in=True, without_onnx=NOT_IN_A_FILE))
def test_rule(case: RuleCase) -> None:
    case()


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.code)
def test_findings_of_the_bad_example_give_a_number_a_cause_and_evidence(rule: type[Rule]) -> None:
    for finding in run_rules([rule()], rule.bad()):
        assert finding.cause
        assert any(character.isdigit() for character in finding.message) or "zero" in finding.message
        assert finding.evidence


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.code)
def test_good_examples_are_clean_under_every_rule(rule: type[Rule]) -> None:
    graph = rule.good()
    assert [finding.message for finding in run_rules([other() for other in RULES], graph)] == []


def test_codes_are_in_order() -> None:
    codes = [rule.code for rule in RULES]
    assert codes == sorted(codes)


def test_what_a_rule_explains_exists() -> None:
    assert {code for rule in RULES for code in rule.subsumes} <= {rule.code for rule in RULES}
