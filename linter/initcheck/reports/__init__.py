"""One module per output format; each turns a report into text and nothing else."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from initcheck.report import Report
    from initcheck.reports.style import Style

__all__ = ["FORMATS", "render"]

FORMATS = ("rich", "concise", "json")


def render(name: str, report: Report, style: Style) -> str:
    """Text of a report in one of ``FORMATS``; only here is the module of that format imported."""
    module = import_module(f"{__name__}.{name}")
    text: str = module.render(report, style)
    return text
