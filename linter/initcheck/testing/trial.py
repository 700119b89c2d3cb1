"""One rule on trial: what its examples give, each worked out once."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Never

from initcheck.analysis import Analysis, Optimizer

if TYPE_CHECKING:
    from collections.abc import Iterable

    from initcheck.graph import Graph
    from initcheck.rule import Finding, Rule

__all__ = ["Trial", "run_rule", "run_rules"]


def run_rule(rule: Rule, graph: Graph, *, optimizer: Optimizer = Optimizer.SGD) -> tuple[Finding, ...]:
    """Findings of one rule on one graph, before consolidation; none where its needs are not met.

    Args:
        rule: An instance.
        graph: The model.
        optimizer: Trainer whose bounds apply.
    """
    return run_rules([rule], graph, optimizer=optimizer)


def run_rules(rules: Iterable[Rule], graph: Graph, *, optimizer: Optimizer = Optimizer.SGD) -> tuple[Finding, ...]:
    """Findings of several rules on one graph, which is analysed once, before consolidation.

    Args:
        rules: Instances; those whose needs are not met find nothing.
        graph: The model.
        optimizer: Trainer whose bounds apply.
    """
    analysis = Analysis(graph, optimizer=optimizer)
    missing = analysis.missing_needs().keys()
    return tuple(finding for rule in rules if not rule.needs & missing for finding in rule.check(analysis))


class Trial:
    """A rule and the results of its examples, for the demands to share.

    Args:
        rule_class: The class of the rule.
        built_in: Whether it comes with initcheck and may have a code of its letters.
    """

    def __init__(self, rule_class: type[Rule], *, built_in: bool) -> None:
        self.rule_class = rule_class
        self.built_in = built_in

    @property
    def where(self) -> str:
        """Module and name of the class."""
        return f"{self.rule_class.__module__}.{self.rule_class.__qualname__}"

    @cached_property
    def rule(self) -> Rule:
        """An instance with default options."""
        try:
            return self.rule_class()
        except TypeError as error:
            self.fail(f"cannot be made without arguments ({error})", "give every option a default")

    @cached_property
    def bad(self) -> Graph:
        """The bad example."""
        return self.rule_class.bad()

    @cached_property
    def good(self) -> Graph:
        """The good example."""
        return self.rule_class.good()

    @cached_property
    def found(self) -> tuple[Finding, ...]:
        """Findings in the bad example, with the bounds of SGD."""
        return run_rule(self.rule, self.bad)

    def fail(self, what: str, remedy: str) -> Never:
        """Say what is wrong with the rule, and what to do.

        Raises:
            AssertionError: Always.
        """
        raise AssertionError(f"{self.where}: {what}; {remedy}")
