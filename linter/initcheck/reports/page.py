"""A page for people: rich renderables as text that fits the place it is written to."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from rich.console import Console, RenderableType

if TYPE_CHECKING:
    from collections.abc import Iterable

    from initcheck.reports.style import Style

__all__ = ["draw"]


def draw(parts: Iterable[RenderableType], style: Style) -> str:
    """The parts one below the other, in the width and colours of a style, without blanks at the ends of lines."""
    page = io.StringIO()
    console = Console(
        file=page,
        width=style.width,
        force_terminal=style.color,
        color_system="standard" if style.color else None,
        no_color=not style.color,
        force_jupyter=False,
        legacy_windows=False,
        highlight=False,
        markup=False,
        emoji=False,
    )
    for part in parts:
        console.print(part)
    return "".join(f"{line.rstrip()}\n" for line in page.getvalue().splitlines())
