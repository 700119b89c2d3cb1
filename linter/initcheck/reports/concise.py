"""One finding per line, never wrapped or cut; ``cause`` and ``help`` as lines of their own with -v."""

from __future__ import annotations

from typing import TYPE_CHECKING

from initcheck.reports.place import place, sentence

if TYPE_CHECKING:
    from collections.abc import Iterator

    from initcheck.report import Report, ReportedFinding
    from initcheck.reports.style import Style

__all__ = ["render"]

_COLORS = {"error": "\x1b[1;31m", "warning": "\x1b[1;33m", "note": "\x1b[1;36m"}
_RESET = "\x1b[0m"


def render(report: Report, style: Style) -> str:
    """``place: severity CODE message [name]`` for every finding."""
    return "".join(f"{line}\n" for item in report.findings for line in _lines(item, style))


def _lines(item: ReportedFinding, style: Style) -> Iterator[str]:
    finding = item.finding
    label = f"{finding.severity} {finding.code}"
    if style.color:
        label = f"{_COLORS[finding.severity]}{label}{_RESET}"
    yield f"{place(item)}: {label} {sentence(item)} [{finding.name}]"
    if style.verbose:
        if finding.cause:
            yield f"    cause: {' '.join(finding.cause.split())}"
        if finding.help:
            yield f"    help:  {' '.join(finding.help.split())}"
        for related in finding.related:
            yield f"    with:  {' '.join(related.split())}"
