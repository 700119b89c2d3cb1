"""What Rich draws, as text."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from rich.console import Console
from rich.theme import Theme

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from rich.console import RenderableType

    from initcheck.reports.style import Style

__all__ = ["draw"]


def draw(parts: Iterable[RenderableType], style: Style, styles: Mapping[str, str] | None = None) -> str:
    """Text of the parts one below the other, wrapped at ``style.width``, without blanks at the ends of lines.

    Args:
        parts: What to draw.
        style: What the place that it is written to can show.
        styles: Name of one of Rich's styles -> what to draw it in instead.
    """
    page = io.StringIO()
    console = Console(
        file=page,
        theme=Theme(styles),
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
