"""Write the page of every built-in rule from its docstring: ``python docs/make_rules.py``."""

from __future__ import annotations

import inspect
import re
from pathlib import Path
from typing import TYPE_CHECKING

from initcheck_rules import RULES

if TYPE_CHECKING:
    from initcheck.rule import Rule

FOLDER = Path(__file__).parent / "rules"

_HEADING = re.compile(r"^([A-Z][^\n]*):\n((?:    [^\n]*\n|\n)+)", re.MULTILINE)


def page(rule: type[Rule]) -> str:
    """Markdown of one rule: its facts, then its docstring with headings."""
    text = inspect.cleandoc(rule.__doc__ or "") + "\n"
    body = _HEADING.sub(lambda found: f"## {found[1]}\n\n{inspect.cleandoc(found[2])}\n\n", text).rstrip()
    facts = f"`{rule.code}`, {rule.severity.value} at most, failure mode {rule.failure_mode.value}"
    return f"# {rule.name}\n\n{facts}\n\n{body}\n"


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for rule in RULES:
        (FOLDER / f"{rule.code}.md").write_text(page(rule), encoding="utf-8")
