"""What the pages of rules say, in each format."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from enum import Enum
from importlib.resources import files
from typing import TYPE_CHECKING, Any, ClassVar

import jsonschema
import pytest

from initcheck import Bounds, FailureMode, Need, Optimizer, Severity
from initcheck.pages import FORMATS, render
from initcheck.pages.page import page_of
from initcheck.reports.style import Style
from initcheck_rules import RULES

if TYPE_CHECKING:
    from collections.abc import Mapping

PAGES = [page_of(rule()) for rule in RULES]
SCHEMA = json.loads((files("initcheck.reports") / "schema" / "rules-v1.json").read_text(encoding="utf-8"))


class Mode(Enum):
    FAST = "fast"


@dataclass(frozen=True, slots=True)
class Optioned:
    """A rule with options of every kind.

    It has a second paragraph
    of two lines.

    What it checks:
        First paragraph.

        - an item
        - another | one

    Example:
        Text first:

            code(1)

    Limits

        None.
    """

    code: ClassVar[str] = "TEAM801"
    name: ClassVar[str] = "optioned"
    failure_mode: ClassVar[FailureMode] = FailureMode.DEAD
    severity: ClassVar[Severity] = Severity.NOTE
    needs: ClassVar[frozenset[Need]] = frozenset({Need.SIGNAL, Need.GRAPH})
    subsumes: ClassVar[frozenset[str]] = frozenset({"INI102", "INI101"})

    everywhere: Bounds = field(default=Bounds(2.0, float("inf")), metadata={"doc": "layers in a row"})
    by_trainer: Mapping[Optimizer, Bounds] = field(default_factory=lambda: {Optimizer.SGD: Bounds(1.0, 2.5)})
    count: int = field(default=3, metadata={"doc": "how many"})
    ceiling: float = float("inf")
    mode: Mode = Mode.FAST
    names: tuple[str, ...] = ("b", "a")
    chosen: frozenset[str] = frozenset({"y", "x"})
    table: Mapping[str, int] = field(default_factory=dict)
    kind: type = int
    check = bad = good = staticmethod(lambda *_: None)


class Plain(Optioned):
    """A rule whose bounds are an attribute of its class."""

    fixed: ClassVar[Bounds] = Bounds(1.0, 3.0)

    @property
    def asked(self) -> Bounds:
        raise RuntimeError("a property must not be asked")


PAGE = page_of(Optioned())


def test_a_docstring_is_split_at_its_headings() -> None:
    assert PAGE.summary == "A rule with options of every kind."
    assert PAGE.lead == "It has a second paragraph\nof two lines."
    assert PAGE.sections == {
        "What it checks": "First paragraph.\n\n- an item\n- another | one",
        "Example": "Text first:\n\n    code(1)",
        "Limits": "None.",
    }


def test_options_are_found_whatever_they_are_called() -> None:
    assert [(option.name, option.quantity, dict(option.bounds)) for option in PAGE.bounds] == [
        ("everywhere", "layers in a row", {"any": Bounds(2.0, float("inf"))}),
        ("by_trainer", "", {"sgd": Bounds(1.0, 2.5)}),
    ]
    assert [option.name for option in PAGE.options] == ["count", "ceiling", "mode", "names", "chosen", "table", "kind"]
    assert [option.name for option in page_of(Plain()).bounds] == ["everywhere", "by_trainer", "fixed"]


def test_an_instance_shows_its_own_options() -> None:
    page = page_of(Optioned(everywhere=Bounds(7.0, 8.0), count=9))
    assert page.bounds[0].bounds["any"] == Bounds(7.0, 8.0)
    assert page.options[0].default == 9


def test_json_says_all_of_it() -> None:
    document = json.loads(render("json", [PAGE], Style(), brief=False))
    jsonschema.validate(document, SCHEMA, cls=jsonschema.Draft202012Validator)
    (rule,) = document["rules"]
    assert rule["needs"] == ["graph", "signal"]
    assert rule["subsumes"] == ["INI101", "INI102"]
    assert rule["summary"] == f"{PAGE.summary}\n\n{PAGE.lead}"
    assert rule["sections"] == PAGE.sections
    assert rule["bounds"] == {
        "everywhere": {"quantity": "layers in a row", "optimizers": {"any": {"warning": 2.0, "error": None}}},
        "by_trainer": {"quantity": "", "optimizers": {"sgd": {"warning": 1.0, "error": 2.5}}},
    }
    assert {name: option["default"] for name, option in rule["options"].items()} == {
        "count": 3,
        "ceiling": None,
        "mode": "fast",
        "names": ["b", "a"],
        "chosen": ["x", "y"],
        "table": {},
        "kind": "<class 'int'>",
    }


FACTS = "ote at most; failure mode dead; needs graph, signal; explains INI101, INI102"


def test_markdown_says_it_in_words() -> None:
    text = render("markdown", [PAGE], Style(), brief=False)
    assert text.startswith(
        f"# optioned (TEAM801)\n\nN{FACTS}.\n\n{PAGE.summary}\n\n{PAGE.lead}\n\n## What it checks\n\n"
    )
    assert "\n`everywhere`: layers in a row\n\n- any: warning from 2\n\n" in text
    assert "\n`by_trainer`\n\n- sgd: warning from 1, error from 2.5\n\n" in text
    assert "\n- `count` = `3`: how many\n- `ceiling` = `inf`\n" in text


def test_plain_text_says_it_in_words() -> None:
    text = render("plain", [PAGE], Style(), brief=False)
    assert text.startswith(f"TEAM801 optioned\nn{FACTS}\n\n{PAGE.summary}\n\n{PAGE.lead}\n\nWhat it checks:\n    ")
    assert "\nExample:\n    Text first:\n\n        code(1)\n" in text
    assert "\nBounds:\n    everywhere (layers in a row): any warning from 2\n" in text
    assert "\n    by_trainer: sgd warning from 1, error from 2.5\n" in text
    assert "\n    count = 3 (how many)\n" in text


def test_a_cell_of_the_index_is_not_ended_by_its_text() -> None:
    class Barred(Optioned):
        """Weights | biases."""

    text = render("markdown", [page_of(Barred())], Style(), brief=True)
    assert text.endswith(r"| Weights \| biases. |" + "\n")


@pytest.mark.parametrize("brief", [True, False])
@pytest.mark.parametrize("width", [60, 100])
def test_rich_keeps_to_the_width_and_has_no_escapes_without_color(width: int, brief: bool) -> None:
    text = render("rich", [*PAGES, PAGE], Style(width=width), brief=brief)
    assert "\x1b" not in text
    assert max(map(len, text.splitlines())) <= width
    for page in [*PAGES, PAGE]:
        assert page.code in text
        # A narrow table folds the longest names.
        assert page.name[:24] in text


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.code)
def test_rich_loses_no_word_of_a_page(page: Any) -> None:
    """Markdown takes some signs for its own, such as stars and brackets; a docstring must not lose any."""
    plain = re.split(r"\n(?:Bounds|Options):", render("plain", [page], Style(), brief=False))[0].replace("``", "")
    shown = render("rich", [page], Style(width=60), brief=False)
    words = re.sub(r"\s", "", plain.partition("\n\n")[2])
    for title in page.sections:
        words = words.replace(f"{title.replace(' ', '')}:", title.replace(" ", ""), 1)
    assert words in re.sub(r"\s", "", shown)


def test_code_and_headings_have_colors() -> None:
    (page,) = (page for page in PAGES if page.code == "INI101")
    text = render("rich", [page], Style(color=True), brief=False)
    assert "\x1b[1mvanishing-signal (INI101)\x1b[0m" in text
    assert "\x1b[1;36mWhat it checks\x1b[0m" in text
    # A keyword within code has a colour of its own.
    assert re.search(r"\x1b\[36mnn\.Sequential.*\x1b\[\d+(;\d+)*mfor\x1b", text)
    assert "[1;31merror" in render("rich", [page], Style(color=True), brief=True)


@pytest.mark.parametrize("name", FORMATS)
def test_a_list_names_every_rule(name: str) -> None:
    text = render(name, PAGES, Style(width=120), brief=True)
    for page in PAGES:
        assert page.code in text
        # A narrow table folds the longest names.
        assert page.name[:24] in text
        assert page.severity in text
        assert page.failure_mode in text
        assert page.summary in re.sub(r"\s+", " ", text) or name == "rich"
