"""The page of a rule in several formats: what ``initcheck rule`` shows and ``docs/rules`` holds.

Each format is a module with ``explain(pages, style)``, the pages in full, and ``listing(pages, style)``, one line each.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from initcheck.pages.page import RulePage
    from initcheck.reports.style import Style

__all__ = ["FORMATS", "render"]

FORMATS = ("rich", "plain", "markdown", "json")


def render(name: str, pages: Sequence[RulePage], style: Style, *, brief: bool) -> str:
    """Text of rules in one of ``FORMATS``; only here is the module of that format imported.

    Args:
        name: The format.
        pages: The rules, in the order to show them.
        style: What the place that it is written to can show.
        brief: Whether to list the rules rather than to explain them.
    """
    module = import_module(f"{__name__}.{name}")
    text: str = (module.listing if brief else module.explain)(pages, style)
    return text
