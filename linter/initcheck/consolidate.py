"""One root cause, one finding: what another finding explains moves into that one.

This comes before severity and ignores, so that ignoring one code does not raise its shadow.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from initcheck.rule import Finding, Severity

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

__all__ = ["cap_assumed", "consolidate"]


def cap_assumed(finding: Finding) -> Finding:
    """Lower a finding that rests on an operation that was not understood to a warning, and say so."""
    if not finding.assumed or finding.severity is not Severity.ERROR:
        return finding
    reason = "an operation before it was not understood, so this is a warning at most"
    return replace(finding, severity=Severity.WARNING, cause=f"{finding.cause}; {reason}" if finding.cause else reason)


def consolidate(findings: Iterable[Finding], subsumes: Mapping[str, frozenset[str]]) -> tuple[Finding, ...]:
    """Move every finding that another one explains into the ``related`` of that one.

    Args:
        findings: Findings of one model.
        subsumes: Code of a rule -> codes that it explains where both have one root: a segment or a layer in common.

    Returns:
        The findings that stay, in their order, each as severe as the worst that it explains. What one rule finds in
        several segments with one remedy is one finding: the worst of them, which names the layers of all.
    """
    found = tuple(findings)
    roots = [_root(index, found, subsumes) for index in range(len(found))]
    return _merged(
        _absorb(finding, [other for at, other in enumerate(found) if roots[at] == index and at != index])
        for index, finding in enumerate(found)
        if roots[index] == index
    )


def _root(index: int, found: Sequence[Finding], subsumes: Mapping[str, frozenset[str]]) -> int:
    """Follow explanations to the last one; in a circle of them the first finding stays."""
    trail = [index]
    while True:
        here = found[trail[-1]]
        above = (at for at, other in enumerate(found) if at != trail[-1] and _explains(other, here, subsumes))
        explainer = next(above, None)
        if explainer is None:
            return trail[-1]
        if explainer in trail:
            return min(trail[trail.index(explainer) :])
        trail.append(explainer)


def _explains(one: Finding, other: Finding, subsumes: Mapping[str, frozenset[str]]) -> bool:
    if other.code not in subsumes.get(one.code, frozenset()):
        return False
    same_segment = bool(one.segment) and one.segment == other.segment
    return same_segment or not set(one.layers).isdisjoint(other.layers)


def _absorb(finding: Finding, explained: Sequence[Finding]) -> Finding:
    if not explained:
        return finding
    sentences = (f"{other.code} {other.message}" for other in explained)
    inherited = (sentence for other in explained for sentence in other.related)
    severity = max((finding, *explained), key=lambda item: item.severity.rank).severity
    return replace(finding, severity=severity, related=(*finding.related, *sentences, *inherited))


def _merged(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    groups: dict[tuple[str, ...], list[Finding]] = {}
    for index, finding in enumerate(findings):
        root = (finding.code, finding.failure_mode, finding.help) if finding.segment else (str(index),)
        groups.setdefault(root, []).append(finding)
    return tuple(_worst(group) for group in groups.values())


def _worst(group: Sequence[Finding]) -> Finding:
    if len(group) == 1:
        return group[0]
    worst = max(group, key=lambda finding: finding.severity.rank)
    others = [finding for finding in group if finding is not worst]
    return replace(
        worst,
        message=f"{worst.message}; the same in {len(others)} more {'stretch' if len(others) == 1 else 'stretches'}",
        layers=tuple(dict.fromkeys(layer for finding in (worst, *others) for layer in finding.layers)),
        related=(
            *worst.related,
            *(f"{finding.code} {finding.message}" for finding in others),
            *(sentence for finding in others for sentence in finding.related),
        ),
    )
