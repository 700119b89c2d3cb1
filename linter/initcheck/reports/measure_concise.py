"""One layer per line, never wrapped or cut: predicted and measured numbers by name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from initcheck.measurement import QUANTITIES

if TYPE_CHECKING:
    from initcheck.measurement import MeasuredLayer, MeasurementReport, Quantity
    from initcheck.reports.style import Style

__all__ = ["measured", "predicted", "render"]

_MARK = "\x1b[1;33m"
_RESET = "\x1b[0m"


def render(report: MeasurementReport, style: Style) -> str:
    """``target: layer: length PREDICTED MEASURED, signal ..., gradient ... [differs: NAMES]`` for every layer."""
    measurement = report.measurement
    layers = measurement.layers if measurement else ()
    return "".join(f"{report.target}: {_line(layer, style)}\n" for layer in layers)


def _line(layer: MeasuredLayer, style: Style) -> str:
    parts = []
    for name in QUANTITIES:
        quantity: Quantity = getattr(layer, name)
        state = layer.predicted_state if name == "length" else "unknown"
        told = f"{name} {predicted(quantity, state)} measured {measured(quantity, style.unicode)}"
        if quantity.stored is not None:
            told += f" stored {quantity.stored:z.2f}"
        parts.append(told)
    mark = f"differs: {', '.join(layer.disagreements)}" if layer.disagreements else ""
    if mark and style.color:
        mark = f"{_MARK}{mark}{_RESET}"
    return f"{layer.path}: {', '.join(parts)}{f' [{mark}]' if mark else ''}"


def predicted(quantity: Quantity, state: str, digits: int = 2) -> str:
    """The predicted number, else what stands for it."""
    if quantity.predicted is not None:
        return f"{quantity.predicted:z.{digits}f}"
    return "-" if state in {"ok", "unknown"} else state


def measured(quantity: Quantity, unicode: bool, digits: int = 2) -> str:
    """The measured number with its standard error, else what stands for it."""
    if quantity.measured is None:
        return "nonfinite" if quantity.nonfinite else "zero" if quantity.zeros else "-"
    error = quantity.standard_error
    spread = "" if error is None else f"{'±' if unicode else '+-'}{error:.{digits}f}"
    return f"{quantity.measured:z.{digits}f}{spread}"
