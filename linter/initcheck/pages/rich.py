"""Rules for the terminal: their Markdown as Rich draws it, with Python in its colours."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from rich.markdown import Heading, Markdown
from rich.table import Table
from rich.text import Text

from initcheck.pages import markdown
from initcheck.reports.console import draw
from initcheck.reports.style import Style

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rich.console import Console, ConsoleOptions, RenderableType

    from initcheck.pages.page import RulePage

__all__ = ["explain", "listing"]

COLORS = {"note": "bold cyan", "warning": "bold yellow", "error": "bold red"}
ROOMY = 100
"""Columns from which a list has room for sentences."""

THEME = "ansi_dark"
"""Colours of code; those of the terminal, so that they suit its background."""

STYLES = {"markdown.h1": "bold", "markdown.h2": "bold cyan", "markdown.code": "cyan", "markdown.item.bullet": "none"}
"""Instead of Rich's own, which underline headings and put code on black."""


class _Heading(Heading):
    """A heading at the margin, without the frames of Rich."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Text]:
        yield self.text


class _Page(Markdown):
    elements: ClassVar[dict[str, Any]] = {**Markdown.elements, "heading_open": _Heading}


def explain(pages: Sequence[RulePage], style: Style) -> str:
    """The pages one after the other, wrapped at ``style.width``."""
    return draw(_pages(pages), style, STYLES)


def listing(pages: Sequence[RulePage], style: Style) -> str:
    """A table of codes, names, severities and failure modes; with the first sentences where there is room."""
    roomy = style.width >= ROOMY
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="dim")
    for title in ("code", "name", "at most", "failure mode"):
        table.add_column(title, no_wrap=title != "name", overflow="fold")
    if roomy:
        table.add_column("", overflow="fold")
    for page in pages:
        severity = Text(page.severity, COLORS.get(page.severity, ""))
        table.add_row(page.code, page.name, severity, page.failure_mode, *([page.summary] if roomy else []))
    return draw([table], style)


def _pages(pages: Sequence[RulePage]) -> Iterator[RenderableType]:
    for number, page in enumerate(pages):
        if number:
            yield Text()
        yield _Page(markdown.explain([page], Style()), code_theme=THEME, inline_code_lexer="python")
