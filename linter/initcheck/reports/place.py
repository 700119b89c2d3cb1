"""Where a finding is, as people and editors read it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from initcheck.report import ReportedFinding

__all__ = ["place", "sentence"]


def place(item: ReportedFinding) -> str:
    """``file:line`` where the source is known, else the target: a binary file has no lines."""
    location = item.finding.location
    return f"{location.file}:{location.line}" if location else item.target


def sentence(item: ReportedFinding) -> str:
    """The message, with the target in front where the place does not name it."""
    message = " ".join(item.finding.message.split())
    location = item.finding.location
    # A line that only says which factory or class it is does not tell apart the targets of one file.
    exact = location is not None and location.confidence == "exact" and item.target.startswith(f"{location.file}:")
    named = location is None or item.target == location.file or exact
    return message if named else f"{item.target}: {message}"
