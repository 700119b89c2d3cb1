"""Which findings the user wants to see, and how severe they are to that user."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from initcheck.errors import UsageError
from initcheck.near_miss import did_you_mean
from initcheck.rule import Finding, Rule, Severity

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

__all__ = ["Selection", "select_rules"]

ALL = "ALL"
UNANALYSED_LAYER = "INI901"


@dataclass(frozen=True, slots=True)
class Selection:
    """What happens to a finding after the rules and consolidation are done with it.

    Attributes:
        codes: Codes whose findings are shown.
        severities: Code -> the user's severity.
    """

    codes: frozenset[str]
    severities: Mapping[str, Severity] = field(default_factory=dict)

    def apply(self, findings: Iterable[Finding]) -> tuple[Finding, ...]:
        """Findings that stay, with the user's severity."""
        kept = (replace(f, severity=self.severities.get(f.code, f.severity)) for f in findings if f.code in self.codes)
        return tuple(finding for finding in kept if finding.severity is not Severity.OFF)

    def needed(self, rules: Iterable[Rule]) -> tuple[Rule, ...]:
        """Rules that must run: the selected ones, and those that could explain a finding of theirs.

        A rule that is ignored still explains, so that ignoring one code does not raise its shadow.
        """
        rules = tuple(rules)
        wanted = set(self.codes)
        while True:
            more = {rule.code for rule in rules if rule.subsumes & wanted} - wanted
            if not more:
                return tuple(rule for rule in rules if rule.code in wanted)
            wanted |= more


def select_rules(
    rules: Sequence[Rule],
    *,
    select: Iterable[str] = (),
    ignore: Iterable[str] = (),
    severity: Mapping[str, Severity] | None = None,
    strict: bool = False,
) -> Selection:
    """Resolve codes, prefixes and names against the rules that are installed.

    Args:
        rules: The installed rules.
        select: Codes, prefixes of codes, names or ``ALL``; nothing means all.
        ignore: The same, taken away from what is selected.
        severity: Code or name -> severity.
        strict: Whether a layer that could not be analysed is an error; a severity for that very rule goes before.

    Raises:
        UsageError: If a word matches no rule.
    """
    severities = {UNANALYSED_LAYER: Severity.ERROR} if strict else {}
    for word, level in (severity or {}).items():
        severities.update(dict.fromkeys(_matching(word, rules, "--severity"), level))
    chosen = [code for word in select for code in _matching(word, rules, "--select")]
    dropped = {code for word in ignore for code in _matching(word, rules, "--ignore")}
    codes = frozenset(chosen or (rule.code for rule in rules)) - dropped
    return Selection(codes, severities)


def _matching(word: str, rules: Sequence[Rule], option: str) -> list[str]:
    if word.upper() == ALL:
        return [rule.code for rule in rules]
    codes = [rule.code for rule in rules if rule.name == word.lower() or rule.code.startswith(word.upper())]
    if not word or not codes:
        known = [name for rule in rules for name in (rule.code, rule.name)]
        hint = did_you_mean(word, known) or "initcheck rule lists all rules"
        raise UsageError(f"{option}: no rule has the code, prefix or name {word!r}", hint)
    return codes
