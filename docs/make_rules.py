"""Write the page of every built-in rule and their index, as ``initcheck rule -f markdown`` shows them.

Run it from anywhere: ``python docs/make_rules.py``.
"""

from __future__ import annotations

from pathlib import Path

from initcheck.pages import render
from initcheck.pages.page import page_of
from initcheck.reports.style import Style
from initcheck_rules import RULES

FOLDER = Path(__file__).parent / "rules"


def documents() -> dict[str, str]:
    """Name of a file in ``docs/rules`` -> its text."""
    pages = [page_of(rule()) for rule in RULES]
    texts = {f"{page.code}.md": render("markdown", [page], Style(), brief=False) for page in pages}
    return {**texts, "README.md": render("markdown", pages, Style(), brief=True)}


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for name, text in documents().items():
        (FOLDER / name).write_text(text, encoding="utf-8")
