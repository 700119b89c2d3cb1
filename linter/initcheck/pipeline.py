"""Targets in, report out: the only module that sees every stage."""

from __future__ import annotations

import traceback
from dataclasses import dataclass, field, replace
from os import PathLike, fspath
from typing import TYPE_CHECKING, Protocol

from initcheck import __version__
from initcheck.analysis import Analysis, Optimizer
from initcheck.consolidate import cap_assumed, consolidate
from initcheck.errors import InitcheckError, ModelLoadError, UsageError
from initcheck.plugins import load_rules
from initcheck.report import ModelReport, Report, ReportedFinding, TargetError
from initcheck.selection import Selection, select_rules
from initcheck.targets import Target, find_targets

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from initcheck.graph import Graph
    from initcheck.rule import Finding, Need, Rule, Severity

__all__ = ["Settings", "Watcher", "check"]


@dataclass(frozen=True, slots=True)
class Settings:
    """How to judge.

    Attributes:
        select: Codes, prefixes or names of rules to run; empty for all.
        ignore: The same, to leave out.
        severity: Code or name -> severity instead of the rule's own.
        optimizer: Trainer whose bounds apply.
        assume_init: Scheme to judge the architecture by instead of its own weights, empty for its own.
        strict: Whether a layer that could not be analysed is an error.
        shapes: Input name -> shape.
        dims: Symbolic dimension -> size.
    """

    select: tuple[str, ...] = ()
    ignore: tuple[str, ...] = ()
    severity: Mapping[str, Severity] = field(default_factory=dict)
    optimizer: Optimizer = Optimizer.SGD
    assume_init: str = ""
    strict: bool = False
    shapes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    dims: Mapping[str, int] = field(default_factory=dict)


class Watcher(Protocol):
    """Hears how far a run has come."""

    def started(self, target: str, index: int, total: int) -> None:
        """Target number ``index`` (from 0) of ``total`` begins."""
        ...


def check(
    targets: str | PathLike[str] | Iterable[str | PathLike[str]],
    settings: Settings | None = None,
    *,
    rules: Sequence[Rule] | None = None,
    watcher: Watcher | None = None,
) -> Report:
    """Lint models.

    Args:
        targets: Files, directories or patterns.
        settings: How to judge; the defaults of the command line when left out.
        rules: Rules to choose from; the installed ones when left out.
        watcher: Hears how far the run has come.

    Raises:
        UsageError: If settings name a rule or a scheme that does not exist.
        PluginError: If the installed rules do not load.

    A target that gives no verdict is an entry of ``Report.errors``; the others go on.
    """
    settings = settings or Settings()
    words = [targets] if isinstance(targets, str | PathLike) else list(targets)
    installed = load_rules() if rules is None else tuple(rules)
    selection = select_rules(
        installed, select=settings.select, ignore=settings.ignore, severity=settings.severity, strict=settings.strict
    )
    found = find_targets(fspath(word) for word in words)
    models: list[ModelReport] = []
    findings: list[ReportedFinding] = []
    errors: list[TargetError] = []
    for index, target in enumerate(found):
        if isinstance(target, TargetError):
            errors.append(target)
            continue
        if watcher:
            watcher.started(target.name, index, len(found))
        outcome = _examine_safely(target, settings, selection, installed)
        if isinstance(outcome, TargetError):
            errors.append(outcome)
            models.append(ModelReport(target.name, "onnx", "failed"))
        else:
            models.append(outcome[0])
            findings.extend(ReportedFinding(target.name, finding) for finding in outcome[1])
    errors.extend(_without_weights(models))
    return Report(__version__, tuple(models), tuple(findings), tuple(errors))


def _examine_safely(
    target: Target, settings: Settings, selection: Selection, rules: Sequence[Rule]
) -> tuple[ModelReport, tuple[Finding, ...]] | TargetError:
    """Turn whatever one target raises into an entry of the report, so that the verdicts of the others are not lost."""
    import numpy as np

    try:
        # What overflows is reported as not finite; numpy's warnings would say it a second time.
        with np.errstate(all="ignore"):
            return _examine(target, settings, selection, rules)
    except ModelLoadError as error:
        message = error.message.removeprefix(f"{target.path}: ")
        return TargetError(target.name, error.kind, message, error.hint, traceback.format_exc())
    except InitcheckError:
        raise
    except Exception as error:  # noqa: BLE001 - a bug met in one model must not hide the findings in the others
        where = "".join(f" {note}" for note in getattr(error, "__notes__", ()))
        message = f"internal error{where}: {type(error).__name__}: {error}"
        return TargetError(target.name, "internal", message, "a bug; -v shows where", traceback.format_exc())


def _examine(
    target: Target, settings: Settings, selection: Selection, rules: Sequence[Rule]
) -> tuple[ModelReport, tuple[Finding, ...]]:
    """Load, analyse and judge one model; its graph and analysis are dropped on return."""
    graph = _load(target, settings)
    analysis = Analysis(graph, optimizer=settings.optimizer, assume_init=settings.assume_init)
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
        assumptions=(*graph.assumptions, *graph.notes),
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


def _load(target: Target, settings: Settings) -> Graph:
    from initcheck.sources.onnx import load

    try:
        return load(target.path, shapes=settings.shapes, dims=settings.dims)
    except UsageError as error:
        # A shape or size that does not fit this model may fit the others.
        raise ModelLoadError(error.message, error.hint or "see --input-shape and --dim", kind="usage") from error


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


def _without_weights(models: list[ModelReport]) -> list[TargetError]:
    """Say where there was nothing to judge: an error when no target has a weighted layer, else a note on the model."""
    empty = [at for at, model in enumerate(models) if model.status == "ok" and model.weighted_layers == 0]
    if any(model.weighted_layers for model in models):
        for at in empty:
            note = "no weighted layer: nothing to judge"
            models[at] = replace(models[at], assumptions=(*models[at].assumptions, note))
        return []
    hint = "name a model that owns weights; a graph without weights has no initialisation"
    return [TargetError(models[at].target, "no-weights", "no weighted layer in this graph", hint) for at in empty]
