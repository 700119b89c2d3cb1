"""One target from its source to its findings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from initcheck.analysis import Analysis
from initcheck.consolidate import cap_assumed, consolidate
from initcheck.load import attempt, load_graph
from initcheck.report import ModelReport, TargetError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from initcheck.rule import Finding, Need, Rule
    from initcheck.selection import Selection
    from initcheck.settings import Settings
    from initcheck.targets import Target

__all__ = ["Check", "Outcome", "examine"]

Outcome = tuple[ModelReport, tuple["Finding", ...]] | TargetError
"""What became of a target: plain values, which can be sent from one process to another."""


@dataclass(frozen=True, slots=True)
class Check:
    """The task of a worker that judges its target.

    Attributes:
        selection: Which rules.
        rules: All that are installed.
    """

    selection: Selection
    rules: tuple[Rule, ...]

    @property
    def result(self) -> str:
        """What it gives."""
        return "verdict"

    @property
    def modules(self) -> tuple[str, ...]:
        """This module and those of the rules."""
        return (__name__, *{type(rule).__module__ for rule in self.rules})

    @property
    def is_bounded(self) -> bool:
        """Its memory is."""
        return True

    def __call__(self, target: Target, settings: Settings, _: Callable[[int, int], None]) -> Outcome:
        """Examine the target; there are no steps on the way."""
        return examine(target, settings, self.selection, self.rules)


def examine(target: Target, settings: Settings, selection: Selection, rules: Sequence[Rule]) -> Outcome:
    """Load, analyse and judge one model; its graph and analysis are dropped on return.

    Whatever it raises becomes an entry of the report, so that the verdicts of other targets are not lost.

    Args:
        target: The model. One of PyTorch runs the user's code, so it belongs into a process of its own.
        settings: How to judge.
        selection: Which rules.
        rules: All that are installed.

    Raises:
        UsageError: If settings name something that does not exist for any model.
    """
    return attempt(target, lambda: _examine(target, settings, selection, rules))


def _examine(
    target: Target, settings: Settings, selection: Selection, rules: Sequence[Rule]
) -> tuple[ModelReport, tuple[Finding, ...]]:
    graph = load_graph(target, settings)
    analysis = Analysis(graph, optimizer=settings.optimizer, assume_init=settings.assume_init, dtype=settings.dtype)
    found, skipped = _run(selection.needed(rules), analysis)
    findings = consolidate(map(cap_assumed, found), {rule.code: rule.subsumes for rule in rules})
    rows = analysis.layer_rows()
    place = {row.path: index for index, row in reversed(list(enumerate(rows)))}
    model = ModelReport(
        target=target.name,
        source=graph.source,
        status="ok",
        parameters=graph.parameter_count,
        weighted_layers=analysis.weighted_layers,
        analysed_layers=analysis.analysed_layers,
        summary=analysis.summary(),
        layers=rows,
        assumptions=graph.assumptions,
        notes=graph.notes,
        skipped_rules={code: reason for code, reason in skipped.items() if code in selection.codes},
    )
    ordered = sorted(
        selection.apply(findings),
        key=lambda finding: (
            -finding.severity.rank,
            place.get(finding.layers[0], 0) if finding.layers else 0,
            finding.code,
        ),
    )
    return model, tuple(ordered)


def _run(rules: Sequence[Rule], analysis: Analysis) -> tuple[list[Finding], dict[str, str]]:
    missing: Mapping[Need, str] = analysis.missing_needs()
    found: list[Finding] = []
    skipped: dict[str, str] = {}
    for rule in rules:
        reason = next((why for need, why in missing.items() if need in rule.needs), None)
        if reason is None:
            try:
                found.extend(rule.check(analysis))
            except Exception as error:
                error.add_note(f"in {rule.code}")
                raise
        else:
            skipped[rule.code] = reason
    return found, skipped
