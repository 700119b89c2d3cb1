from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from initcheck import FailureMode, Finding, Severity, UsageError
from initcheck.selection import select_rules


def _rule(code: str, name: str, *subsumes: str) -> Any:
    return SimpleNamespace(code=code, name=name, subsumes=frozenset(subsumes))


RULES = (
    _rule("INI101", "vanishing-signal"),
    _rule("INI102", "exploding-signal"),
    _rule("INI402", "zero-weight-cuts-signal", "INI101"),
    _rule("INI901", "unanalysed-layer"),
    _rule("ACME001", "house-rule", "INI402"),
)
CODES = frozenset(rule.code for rule in RULES)


def _finding(code: str, severity: Severity = Severity.WARNING) -> Finding:
    return Finding(code, "name", severity, FailureMode.VANISHING, "message")


def test_everything_is_selected_by_default() -> None:
    assert select_rules(RULES).codes == CODES


@pytest.mark.parametrize(
    ("select", "ignore", "expected"),
    [
        (["INI101"], [], {"INI101"}),
        (["ini1"], [], {"INI101", "INI102"}),
        (["INI"], [], CODES - {"ACME001"}),
        (["vanishing-signal"], [], {"INI101"}),
        (["ALL"], ["INI1"], CODES - {"INI101", "INI102"}),
        ([], ["all"], set()),
        (["INI101", "house-rule"], ["INI101"], {"ACME001"}),
    ],
)
def test_codes_prefixes_and_names(select: list[str], ignore: list[str], expected: set[str]) -> None:
    assert select_rules(RULES, select=select, ignore=ignore).codes == expected


@pytest.mark.parametrize(
    ("words", "option", "hint"),
    [
        ({"select": ["vanishing-singal"]}, "--select", "did you mean vanishing-signal?"),
        ({"ignore": ["INI9O1"]}, "--ignore", "did you mean INI901?"),
        ({"severity": {"unanalized-layer": Severity.NOTE}}, "--severity", "did you mean unanalysed-layer?"),
        ({"select": ["zzz"]}, "--select", "initcheck rule lists all rules"),
    ],
)
def test_unknown_word_names_the_near_miss(words: dict[str, Any], option: str, hint: str) -> None:
    with pytest.raises(UsageError) as caught:
        select_rules(RULES, **words)
    assert caught.value.message.startswith(option)
    assert caught.value.hint == hint


def test_apply_drops_what_is_not_selected_and_sets_the_users_severity() -> None:
    selection = select_rules(
        RULES, ignore=["INI102"], severity={"vanishing-signal": Severity.NOTE, "INI402": Severity.OFF}
    )
    kept = selection.apply([_finding("INI101", Severity.ERROR), _finding("INI102"), _finding("INI402")])
    assert [(finding.code, finding.severity) for finding in kept] == [("INI101", Severity.NOTE)]


def test_strict_raises_unanalysed_layers_to_errors_unless_their_severity_is_given() -> None:
    strict = select_rules(RULES, strict=True).apply([_finding("INI901"), _finding("INI101")])
    assert [finding.severity for finding in strict] == [Severity.ERROR, Severity.WARNING]
    given = select_rules(RULES, strict=True, severity={"INI901": Severity.NOTE}).apply([_finding("INI901")])
    assert given[0].severity is Severity.NOTE


def test_rules_that_explain_a_selected_one_run_too_also_when_they_are_ignored() -> None:
    selection = select_rules(RULES, select=["INI101"], ignore=["INI402"])
    assert [rule.code for rule in selection.needed(RULES)] == ["INI101", "INI402", "ACME001"]
