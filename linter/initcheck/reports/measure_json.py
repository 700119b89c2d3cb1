"""The JSON format of ``initcheck measure``, version 1: the same input gives the same bytes on one machine."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from initcheck.measurement import QUANTITIES
from initcheck.reports.json import dump, error_of, weight_of

if TYPE_CHECKING:
    from initcheck.measurement import MeasuredLayer, Measurement, MeasurementReport, Quantity
    from initcheck.reports.style import Style

__all__ = ["VERSION", "render"]

VERSION = 1

KEYS = {"length": "log10_mean_square", "signal": "log10_signal", "gradient": "log10_gradient_mean_square"}
"""Quantity -> its name in the report of ``check`` as well."""


def render(report: MeasurementReport, style: Style) -> str:  # noqa: ARG001 - every format has this signature
    """One JSON document; ``initcheck/reports/schema/measure-v1.json`` is its schema."""
    plan, measurement = report.plan, report.measurement
    failed = {"target": report.target, "source": report.source or None, "status": "failed"}
    return dump(
        {
            "version": VERSION,
            "tool": {"name": "initcheck", "version": report.version},
            "plan": {"repeats": plan.repeats, "seed": plan.seed, "device": plan.device},
            "models": [_model(measurement) if measurement else failed],
            "errors": [error_of(error) for error in report.errors],
        }
    )


def _model(measurement: Measurement) -> dict[str, Any]:
    return {
        "target": measurement.target,
        "source": measurement.source,
        "status": "ok",
        "parameters": measurement.parameters,
        "weighted_layers": measurement.weighted_layers,
        "initialisations": measurement.initialisations,
        "seeds": list(measurement.seeds),
        "samples": measurement.samples,
        "inputs": measurement.inputs,
        "disagreeing_layers": measurement.disagreeing,
        "layers": [_layer(layer) for layer in measurement.layers],
        "drawn": list(measurement.drawn),
        "kept": list(measurement.kept),
        "assumptions": list(measurement.assumptions),
        "notes": list(measurement.notes),
    }


def _layer(layer: MeasuredLayer) -> dict[str, Any]:
    location = layer.location
    return {
        "path": layer.path,
        "kind": layer.kind,
        "width": layer.width,
        "weight": weight_of(layer.weight),
        "predicted_state": layer.predicted_state,
        "state": layer.state,
        **{KEYS[name]: _quantity(getattr(layer, name)) for name in QUANTITIES},
        "disagreements": [KEYS[name] for name in layer.disagreements],
        "location": {"file": location.file, "line": location.line} if location else None,
    }


def _quantity(quantity: Quantity) -> dict[str, Any]:
    return {
        "predicted": quantity.predicted,
        "measured": quantity.measured,
        "standard_error": quantity.standard_error,
        "stored": quantity.stored,
        "zeros": quantity.zeros,
        "nonfinite": quantity.nonfinite,
        "disagrees": quantity.disagrees,
    }
