"""Rules as plain text, the same whatever the terminal: lines are those of the docstring."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

from initcheck.pages.wording import bounds_sentence, option_sentence

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from initcheck.pages.page import RulePage
    from initcheck.reports.style import Style

__all__ = ["explain", "listing"]


def explain(pages: Sequence[RulePage], style: Style) -> str:  # noqa: ARG001 - every format has this signature
    """The pages one after the other, sections indented below their headings."""
    return "\n".join("\n\n".join(_paragraphs(page)) + "\n" for page in pages)


def listing(pages: Sequence[RulePage], style: Style) -> str:  # noqa: ARG001
    """One line per rule: code, name, severity, failure mode and first sentence in columns."""
    rows = [(page.code, page.name, page.severity, page.failure_mode) for page in pages]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    starts = ["  ".join(word.ljust(width) for word, width in zip(row, widths, strict=True)) for row in rows]
    return "".join(f"{start}  {page.summary}\n" for start, page in zip(starts, pages, strict=True))


def _paragraphs(page: RulePage) -> Iterator[str]:
    yield f"{page.code} {page.name}\n{page.facts}"
    yield page.summary
    if page.lead:
        yield page.lead
    sections = dict(page.sections)
    sections |= {"Bounds": "\n".join(map(bounds_sentence, page.bounds))} if page.bounds else {}
    sections |= {"Options": "\n".join(map(option_sentence, page.options))} if page.options else {}
    for title, text in sections.items():
        yield f"{title}:\n{textwrap.indent(text, '    ')}"
