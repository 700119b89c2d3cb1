"""What the place that a report is written to can show."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Style"]


@dataclass(frozen=True, slots=True)
class Style:
    """Abilities of a terminal or file, and how much to tell.

    Attributes:
        width: Columns that tables and paragraphs may use; the concise format never wraps.
        color: Whether escape sequences are understood.
        unicode: Whether block characters can be encoded.
        verbose: Whether to add what -v asks for.
    """

    width: int = 100
    color: bool = False
    unicode: bool = True
    verbose: bool = False
