"""Whether a finding is one that every report can show and every reader can act on."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from initcheck.rule import FailureMode, Severity

if TYPE_CHECKING:
    from initcheck.analysis import Analysis
    from initcheck.rule import Finding, Rule

__all__ = ["flaw_of_finding"]

CONFIDENCES = ("exact", "class", "factory", "file")


def flaw_of_finding(rule: Rule, finding: Finding, analysis: Analysis) -> tuple[str, str] | None:
    """(what is wrong, what to do); None if nothing is.

    Args:
        rule: The rule that found it.
        finding: What it found.
        analysis: Where.
    """
    return _flaw_of_words(rule, finding) or _flaw_of_place(finding, analysis) or _flaw_of_evidence(finding)


def _flaw_of_words(rule: Rule, finding: Finding) -> tuple[str, str] | None:
    if (finding.code, finding.name) != (rule.code, rule.name):
        return f"is one of {finding.code} {finding.name}", "pass code=self.code, name=self.name"
    if not isinstance(finding.failure_mode, FailureMode):
        return f"has the failure mode {finding.failure_mode!r}", "use a member of initcheck.FailureMode"
    if not isinstance(finding.severity, Severity) or finding.severity is Severity.OFF:
        return f"has the severity {finding.severity!r}", "yield nothing where nothing is wrong"
    if finding.severity.rank > rule.severity.rank:
        return f"is {finding.severity}, where the rule says {rule.severity} at most", "raise the severity of the class"
    for label in ("message", "cause", "help"):
        if "\n" in getattr(finding, label):
            return f"has a {label} of several lines", "write one line, details belong into the evidence"
    return None if finding.message else ("has no message", "write one sentence with the number and the bound")


def _flaw_of_place(finding: Finding, analysis: Analysis) -> tuple[str, str] | None:
    graph = analysis.graph
    known = {name for node in graph.nodes for name in (node.path, node.name)}
    known |= {owner for name in graph.unused for owner in (name, name.rpartition(".")[0])}
    strangers = [layer for layer in finding.layers if layer not in known]
    if not isinstance(finding.layers, tuple) or strangers:
        return f"names the layers {finding.layers!r}, not all of which exist", "give a tuple of layer.path or node.path"
    segments = {f"segment {signal.segment}" for signal in analysis.forward.signals.values() if signal is not None}
    if finding.segment and finding.segment not in segments:
        return f"names the segment {finding.segment!r}", 'write f"segment {segment.index}", or leave it out'
    place = finding.location
    if place is not None and (not place.file or place.line < 1 or place.confidence not in CONFIDENCES):
        return f"is at {place!r}, which is no place", "pass the location of a node"
    return None


def _flaw_of_evidence(finding: Finding) -> tuple[str, str] | None:
    try:
        kept = json.loads(json.dumps(finding.evidence, allow_nan=False))
    except (TypeError, ValueError) as error:
        remedy = "use numbers, strings, lists and dictionaries; None for what is not finite"
        return f"has evidence that JSON cannot hold ({error})", remedy
    if kept != finding.evidence:
        return f"has evidence that JSON changes, {finding.evidence!r}", "use lists for tuples and strings for keys"
    return None
