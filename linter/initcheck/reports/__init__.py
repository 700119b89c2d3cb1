"""One module per output format; each turns a report into text and nothing else."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from initcheck.measurement import MeasurementReport
    from initcheck.report import Report
    from initcheck.reports.style import Style

__all__ = ["FORMATS", "MEASUREMENT_FORMATS", "render", "render_measurement"]

FORMATS = ("rich", "concise", "json")
MEASUREMENT_FORMATS = ("rich", "concise", "json")


def render(name: str, report: Report, style: Style) -> str:
    """Text of a report in one of ``FORMATS``; only here is the module of that format imported."""
    module = import_module(f"{__name__}.{name}")
    text: str = module.render(report, style)
    return text


def render_measurement(name: str, report: MeasurementReport, style: Style) -> str:
    """The same for what ``initcheck measure`` found, in one of ``MEASUREMENT_FORMATS``."""
    module = import_module(f"{__name__}.measure_{name}")
    text: str = module.render(report, style)
    return text
