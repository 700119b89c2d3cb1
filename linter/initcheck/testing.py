"""Runs a rule's own examples: for this repository's rules and for those of plugin authors.

from initcheck.testing import check_rule

def test_my_rule():
check_rule(MyRule)
"""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING

from initcheck.analysis import Analysis, Optimizer
from initcheck.rule import Rule, Severity

if TYPE_CHECKING:
    from initcheck.graph import Graph
    from initcheck.rule import Finding

__all__ = ["HEADINGS", "check_rule", "run_rule"]

HEADINGS = ("What it checks", "Why it fails", "Example", "Instead", "Limits", "References")
"""Headings that the docstring of a rule has, in this order, with a colon or without."""


def run_rule(rule: Rule, graph: Graph, *, optimizer: Optimizer = Optimizer.SGD) -> tuple[Finding, ...]:
    """Findings of one rule on one graph, before consolidation; none where its needs are not met.

    Args:
        rule: An instance.
        graph: The model.
        optimizer: Trainer whose bounds apply.
    """
    analysis = Analysis(graph, optimizer=optimizer)
    if rule.needs & analysis.missing_needs().keys():
        return ()
    return tuple(rule.check(analysis))


def check_rule(rule_class: type[Rule]) -> None:
    """Demand what every rule owes: the page, a bad example on which it fires, a good one on which it is silent.

    Raises:
        AssertionError: With what is missing, and where.
    """
    name = rule_class.__qualname__
    rule = rule_class()
    assert isinstance(rule, Rule), f"{name} lacks an attribute of initcheck.Rule"
    _check_page(rule_class)
    found = run_rule(rule, rule_class.bad())
    assert found, f"{name}.bad() gives no finding"
    for finding in found:
        _check_finding(rule, finding)
    left = run_rule(rule, rule_class.good())
    assert not left, f"{name}.good() gives a finding: {left[0].message}"


def _check_page(rule_class: type[Rule]) -> None:
    lines = inspect.cleandoc(rule_class.__doc__ or "").splitlines()
    titles = [line.removesuffix(":") for line in lines[1:] if line and not line.startswith(" ")]
    assert lines, f"{rule_class.__qualname__} has no docstring"
    assert lines[0].endswith("."), f"the docstring of {rule_class.__qualname__} does not begin with a sentence"
    wanted = list(HEADINGS)
    assert titles == wanted, f"the docstring of {rule_class.__qualname__} has the headings {titles}, not {wanted}"


def _check_finding(rule: Rule, finding: Finding) -> None:
    assert (finding.code, finding.name) == (rule.code, rule.name), f"{rule.code} yields a finding of {finding.code}"
    assert finding.severity is not Severity.OFF, f"{rule.code} yields a finding that is off"
    assert finding.severity.rank <= rule.severity.rank, (
        f"{rule.code} is {rule.severity} at most, not {finding.severity}"
    )
    assert finding.message, f"{rule.code} yields a finding without a message"
    assert "\n" not in finding.message, f"the message of {rule.code} has more than one line"
