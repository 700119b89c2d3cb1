"""Rules as Markdown: the files of ``docs/rules``, and what the terminal draws."""

from __future__ import annotations

from typing import TYPE_CHECKING

from initcheck.pages.wording import bounds_words

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from initcheck.pages.page import RulePage
    from initcheck.reports.style import Style

__all__ = ["explain", "listing"]


def explain(pages: Sequence[RulePage], style: Style) -> str:  # noqa: ARG001 - every format has this signature
    """The pages one after the other."""
    return "\n".join("\n\n".join(_blocks(page)) + "\n" for page in pages)


def listing(pages: Sequence[RulePage], style: Style) -> str:  # noqa: ARG001
    """The index: a table with a link to each page."""
    rows = "".join(
        f"| [{page.code}]({page.code}.md) | {page.name} | {page.severity} | {page.failure_mode} | "
        f"{_cell(page.summary)} |\n"
        for page in pages
    )
    head = "| code | name | severity at most | failure mode | |\n|---|---|---|---|---|\n"
    return f"# Rules\n\n`initcheck rule CODE` shows a page in the terminal.\n\n{head}{rows}"


def _blocks(page: RulePage) -> Iterator[str]:
    yield f"# {page.name} ({page.code})"
    yield f"{page.facts[0].upper()}{page.facts[1:]}."
    yield page.summary
    if page.lead:
        yield page.lead
    for title, text in page.sections.items():
        yield f"## {title}"
        yield text
    if page.bounds:
        yield "## Bounds"
    for option in page.bounds:
        yield f"`{option.name}`: {option.quantity}" if option.quantity else f"`{option.name}`"
        yield "\n".join(f"- {optimizer}: {bounds_words(bounds)}" for optimizer, bounds in option.bounds.items())
    if page.options:
        yield "## Options"
        yield "\n".join(
            f"- `{option.name}` = `{option.default!r}`{f': {option.meaning}' if option.meaning else ''}"
            for option in page.options
        )


def _cell(text: str) -> str:
    """Text in which nothing ends the cell of a table."""
    return text.replace("|", "\\|")
