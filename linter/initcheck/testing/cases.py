"""Demands on rules as cases for pytest."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from initcheck.testing.demands import DEMANDS, from_onnx
from initcheck.testing.trial import Trial

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Sequence

    from initcheck.rule import Rule

__all__ = ["RuleCase", "check_rule", "rule_cases"]


@dataclass(frozen=True, slots=True)
class RuleCase:
    """One demand, ready to be called.

    Attributes:
        title: Code and demand, as ``TEAM101-bad-example-fires``.
        body: What to run.
    """

    title: str
    body: Callable[[], None]

    def __call__(self) -> None:
        """Make the demand.

        Raises:
            AssertionError: If it is not met: what, where, and what to do.
        """
        self.body()

    @property
    def __name__(self) -> str:
        """What pytest shows as the id of a parameter."""
        return self.title


def check_rule(rule_class: type[Rule], *, built_in: bool = False) -> None:
    """Make all demands on one rule but the one that goes through an ONNX file.

    Args:
        rule_class: The class of the rule.
        built_in: Whether it comes with initcheck and may have a code of its letters.

    Raises:
        AssertionError: For the first demand that is not met: what, where, and what to do.
    """
    trial = Trial(rule_class, built_in=built_in)
    for demand in DEMANDS.values():
        demand(trial)


def rule_cases(
    rules: Sequence[type[Rule]], *, built_in: bool = False, without_onnx: Collection[str] = ()
) -> tuple[RuleCase, ...]:
    """All demands on a bundle of rules, as values for ``pytest.mark.parametrize``.

    Args:
        rules: What the entry point names.
        built_in: Whether they come with initcheck and may have codes of its letters.
        without_onnx: Codes of rules whose examples no ONNX file can hold.
    """
    return tuple(_cases(rules, built_in, without_onnx))


def _cases(rules: Sequence[type[Rule]], built_in: bool, without_onnx: Collection[str]) -> Iterator[RuleCase]:
    yield RuleCase("bundle-codes-and-names-are-unique", partial(_demand_unique, rules))
    for rule_class in rules:
        trial = Trial(rule_class, built_in=built_in)
        code = str(getattr(rule_class, "code", rule_class.__qualname__))
        demands = DEMANDS if code in without_onnx else {**DEMANDS, "examples-hold-as-onnx": from_onnx}
        for title, demand in demands.items():
            yield RuleCase(f"{code}-{title}", partial(demand, trial))


def _demand_unique(rules: Sequence[type[Rule]]) -> None:
    if not rules:
        raise AssertionError("the bundle holds no rule; RULES is a tuple of rule classes")
    for label in ("code", "name"):
        (word, count), *_ = Counter(getattr(rule_class, label, "") for rule_class in rules).most_common(1)
        if count > 1:
            raise AssertionError(f"{count} rules of the bundle have the {label} {word!r}; give each one of its own")
