"""The pages under docs/rules, and their index, are those of the docstrings."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

from initcheck_rules import RULES

DOCS = Path(__file__).resolve().parent.parent / "docs"
DOCUMENTS: dict[str, str] = runpy.run_path(str(DOCS / "make_rules.py"))["documents"]()


@pytest.mark.parametrize("name", DOCUMENTS)
def test_the_page_is_current(name: str) -> None:
    assert (DOCS / "rules" / name).read_text(encoding="utf-8") == DOCUMENTS[name], "python docs/make_rules.py"


def test_every_rule_has_a_page_and_every_page_a_rule() -> None:
    assert {path.name for path in (DOCS / "rules").iterdir()} == {*(f"{rule.code}.md" for rule in RULES), "README.md"}
