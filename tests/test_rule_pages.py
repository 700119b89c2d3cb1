"""The pages under docs/rules are those of the docstrings."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from initcheck_rules import RULES

DOCS = Path(__file__).resolve().parent.parent / "docs"


def _page(rule: type) -> str:
    spec = importlib.util.spec_from_file_location("make_rules", DOCS / "make_rules.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.page(rule)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.code)
def test_the_page_is_current(rule: type) -> None:
    assert (DOCS / "rules" / f"{rule.code}.md").read_text(encoding="utf-8") == _page(rule), "python docs/make_rules.py"


def test_there_is_no_page_without_a_rule() -> None:
    assert {path.stem for path in (DOCS / "rules").glob("*.md")} == {rule.code for rule in RULES}
