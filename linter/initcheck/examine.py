"""One target from its source to its findings."""

from __future__ import annotations

import traceback
from pathlib import Path
from typing import TYPE_CHECKING

from initcheck.analysis import Analysis
from initcheck.consolidate import cap_assumed, consolidate
from initcheck.errors import InitcheckError, ModelLoadError, UsageError
from initcheck.report import ModelReport, TargetError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from initcheck.graph import Graph
    from initcheck.rule import Finding, Need, Rule
    from initcheck.selection import Selection
    from initcheck.settings import Settings
    from initcheck.targets import Target

__all__ = ["Outcome", "examine"]

Outcome = tuple[ModelReport, tuple["Finding", ...]] | TargetError
"""What became of a target: plain values, which can be sent from one process to another."""


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


def _load(target: Target, settings: Settings) -> Graph:
    try:
        if target.path is None or target.source == "torch":
            return _load_torch(target, settings)
        return _load_onnx(target.path, settings)
    except UsageError as error:
        # A shape or size that does not fit this model may fit the others.
        raise ModelLoadError(error.message, error.hint or "see --input-shape and --dim", kind="usage") from error


def _load_onnx(path: Path, settings: Settings) -> Graph:
    from initcheck.sources.onnx import load

    if settings.dtypes:
        name = next(iter(settings.dtypes))
        message = f"--input-shape gives {name} an element type, and an ONNX file states its own"
        raise UsageError(message, "leave the type out")
    return load(path, shapes=settings.shapes, dims=settings.dims)


def _load_torch(target: Target, settings: Settings) -> Graph:
    try:
        from initcheck.sources.torch.target import load_target
    except ImportError as error:
        reason = f"{type(error).__name__}: {error}"
        hint = 'install initcheck[torch] here: pip install "initcheck[torch]"'
        raise ModelLoadError(f"PyTorch does not load ({reason})", hint, kind="no-torch") from error
    return load_target(target, settings, Path(settings.app_dir or ".").resolve())


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
