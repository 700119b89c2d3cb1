"""The JSON format, version 1: the same input gives the same bytes (no timings, no absolute times, fixed key order)."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from initcheck.graph import Location
    from initcheck.report import LayerRow, ModelReport, Report, ReportedFinding, Summary, TargetError, WeightRow
    from initcheck.reports.style import Style

__all__ = ["VERSION", "dump", "error_of", "render", "weight_of"]

VERSION = 1
BUILT_IN = "INI"


def render(report: Report, style: Style) -> str:  # noqa: ARG001 - every format has this signature
    """One JSON document; ``initcheck/reports/schema/report-v1.json`` is its schema."""
    document = {
        "version": VERSION,
        "tool": {"name": "initcheck", "version": report.version},
        "models": [_model(model, report) for model in report.models],
        "findings": [_finding(item) for item in report.findings],
        "errors": [error_of(error) for error in report.errors],
    }
    return dump(document)


def dump(document: Mapping[str, Any]) -> str:
    """The text of a document, with null for what JSON cannot say."""
    return json.dumps(_plain(document), ensure_ascii=False, indent=2, allow_nan=False) + "\n"


def _model(model: ModelReport, report: Report) -> dict[str, Any]:
    failed = model.status == "failed"
    return {
        "target": model.target,
        "source": model.source,
        "status": model.status,
        "verdict": "error" if failed else report.verdict(model.target),
        "parameters": model.parameters,
        "weighted_layers": model.weighted_layers,
        "analysed_layers": model.analysed_layers,
        "summary": _summary(model.summary) if model.summary else None,
        "layers": [_layer(row) for row in model.layers],
        "assumptions": list(model.assumptions),
        "notes": list(model.notes),
        "skipped_rules": dict(model.skipped_rules),
    }


def _summary(summary: Summary) -> dict[str, Any]:
    return {
        "log10_signal_gain": summary.log10_signal_gain,
        "log10_length_gain": summary.log10_length_gain,
        "log10_residual_growth": summary.log10_residual_growth,
        "beta": summary.beta,
        "log10_gradient_ratio": summary.log10_gradient_ratio,
        "residual_blocks": summary.residual_blocks,
        "segments": summary.segments,
    }


def _layer(row: LayerRow) -> dict[str, Any]:
    return {
        "path": row.path,
        "kind": row.kind,
        "fan_in": row.fan_in,
        "fan_out": row.fan_out,
        "width": row.width,
        "weight": weight_of(row.weight),
        "log10_mean_square": row.log10_mean_square,
        "log10_mean_square_expected": row.log10_mean_square_expected,
        "log10_signal": row.log10_signal,
        "log10_gradient_mean_square": row.log10_gradient_mean_square,
        "log_length_variance": row.log_length_variance,
        "uncertainty": row.uncertainty,
        "state": row.state,
        "assumed": row.assumed,
        "location": {"file": row.location.file, "line": row.location.line} if row.location else None,
    }


def weight_of(weight: WeightRow | None) -> dict[str, Any] | None:
    """Distribution of a layer's weight."""
    if weight is None:
        return None
    return {
        "scheme": weight.scheme,
        "mean": weight.mean,
        "std": weight.std,
        "kurtosis": weight.kurtosis,
        "exact": weight.exact,
    }


def _finding(item: ReportedFinding) -> dict[str, Any]:
    finding = item.finding
    return {
        "target": item.target,
        "code": finding.code,
        "name": finding.name,
        "severity": finding.severity.value,
        "failure_mode": finding.failure_mode.value,
        "message": finding.message,
        "cause": finding.cause,
        "help": finding.help,
        "layers": list(finding.layers),
        "location": _location(finding.location),
        "evidence": dict(finding.evidence),
        "url": f"docs/rules/{finding.code}.md" if finding.code.startswith(BUILT_IN) else "",
        "segment": finding.segment,
        "assumed": finding.assumed,
        "related": list(finding.related),
    }


def error_of(error: TargetError) -> dict[str, Any]:
    """Why a target gave nothing."""
    return {"target": error.target, "kind": error.kind, "message": error.message, "hint": error.hint}


def _location(location: Location | None) -> dict[str, Any] | None:
    return {"file": location.file, "line": location.line, "confidence": location.confidence} if location else None


def _plain(value: Any) -> Any:
    """Replace what JSON cannot say: nan and infinities become null, subclasses of float and int their plain value."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    return value
