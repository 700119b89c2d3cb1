"""What every built-in rule owes."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from initcheck import Builder, FailureMode, Finding, Need, Severity
from initcheck.testing import HEADINGS, check_rule, run_rule
from initcheck_rules import RULES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from initcheck import Analysis, Graph, Rule


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.code)
def test_bad_fires_good_is_silent_and_the_page_is_complete(rule: type[Rule]) -> None:
    check_rule(rule)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.code)
def test_findings_of_the_bad_example_say_where_why_and_what_to_do(rule: type[Rule]) -> None:
    graph = rule.bad()
    paths = {node.path for node in graph.nodes} | {name.rpartition(".")[0] for name in graph.unused}
    for finding in run_rule(rule(), graph):
        assert finding.layers
        assert set(finding.layers) <= paths
        assert finding.cause
        assert finding.help
        assert any(character.isdigit() for character in finding.message) or "zero" in finding.message
        assert finding.evidence
        assert json.loads(json.dumps(finding.evidence)) == finding.evidence


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.code)
def test_good_examples_are_clean_under_every_rule(rule: type[Rule]) -> None:
    graph = rule.good()
    assert [finding.message for other in RULES for finding in run_rule(other(), graph)] == []


def test_codes_and_names_are_unique_and_in_order() -> None:
    codes = [rule.code for rule in RULES]
    assert codes == sorted(set(codes))
    assert len({rule.name for rule in RULES}) == len(RULES)


def test_what_a_rule_explains_exists() -> None:
    assert {code for rule in RULES for code in rule.subsumes} <= {rule.code for rule in RULES}


class Incomplete:
    """A rule without a page.

    Example
        None.
    """

    code = "XYZ001"
    name = "incomplete"
    failure_mode = FailureMode.RUN
    severity = Severity.NOTE
    needs: frozenset[Need] = frozenset()
    subsumes: frozenset[str] = frozenset()

    def check(self, analysis: Analysis) -> Iterator[Finding]:
        yield from ()

    @staticmethod
    def bad() -> Graph:
        b = Builder()
        return b.graph(b.linear(b.x, 8))

    good = bad


def test_a_rule_without_its_headings_is_refused() -> None:
    with pytest.raises(AssertionError, match="headings"):
        check_rule(Incomplete)


def test_a_rule_that_never_fires_is_refused() -> None:
    page = "\n\n".join(["A rule that never fires.", *(f"{heading}:\n    None." for heading in HEADINGS)])
    complete = type("Complete", (Incomplete,), {"__doc__": page})
    with pytest.raises(AssertionError, match="no finding"):
        check_rule(complete)
