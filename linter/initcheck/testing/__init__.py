"""Runs a rule's own examples: for this repository's rules and for those of plugin authors.

One test file is all that a bundle of rules needs::

    import pytest

    from initcheck.testing import rule_cases
    from my_rules import RULES


    @pytest.mark.parametrize("case", rule_cases(RULES))
    def test_rule(case):
        case()

Each case is one demand on one rule (``TEAM101-bad-example-fires``); one that is not met raises AssertionError, which
says what is wrong, where, and what to do. Neither pytest nor onnx is imported before a case asks for it.
"""

from __future__ import annotations

from initcheck.testing.cases import RuleCase, check_rule, rule_cases
from initcheck.testing.demands import HEADINGS
from initcheck.testing.onnx import through_onnx, write_onnx
from initcheck.testing.trial import run_rule, run_rules

__all__ = ["HEADINGS", "RuleCase", "check_rule", "rule_cases", "run_rule", "run_rules", "through_onnx", "write_onnx"]
