from __future__ import annotations

import json
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

import jsonschema
import pytest
from terminals import COMMAND, in_terminal

from initcheck.plugins import load_rules

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import Run

DOCS = Path(__file__).resolve().parents[2] / "docs" / "rules"
HEADINGS = ("What it checks", "Why it fails", "Example", "Instead", "Limits", "References", "Bounds")


def test_the_list_names_every_rule_with_its_severity_and_failure_mode(run: Callable[..., Run]) -> None:
    result = run("rule")
    assert result.code == 0
    assert [tuple(line.split()[:4]) for line in result.stdout.splitlines()] == [
        (rule.code, rule.name, rule.severity, rule.failure_mode) for rule in load_rules()
    ]


def test_a_rule_is_explained_by_code_and_by_name_in_any_case(run: Callable[..., Run]) -> None:
    by_code = run("rule", "INI101").stdout
    for word in ("ini101", "vanishing-signal", "Vanishing-Signal"):
        assert run("rule", word).stdout == by_code
    assert by_code.startswith("INI101 vanishing-signal\nerror at most; failure mode vanishing; needs ")
    for heading in HEADINGS:
        assert f"\n{heading}:\n    " in by_code
    assert "sgd warning from 4, error from 6; adam warning from 11, error from 13\n" in by_code


def test_all_explains_every_rule(run: Callable[..., Run]) -> None:
    text = run("rule", "--all").stdout
    assert all(f"{rule.code} {rule.name}\n" in text for rule in load_rules())


def test_a_near_miss_is_named(run: Callable[..., Run]) -> None:
    result = run("rule", "vanishing-singal")
    assert result.code == 2
    assert result.stderr == "error: no rule has the code or name 'vanishing-singal'; did you mean vanishing-signal?\n"
    near = "error: no rule has the code or name 'vanishing-signa'; did you mean vanishing-signal?\n"
    assert run("rule", "vanishing-signa").stderr == near
    assert run("rule", "--all", "INI101").code == 2


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["INI101", "-f", "markdwon"], "--format: 'markdwon' is not one of rich, plain, markdown, json; did you mean"),
        (["INI101", "--color", "blue"], "--color: 'blue' is not one of"),
        (["INI101", "--no-such"], "No such option: --no-such; see initcheck rule --help"),
    ],
)
def test_a_wrong_option_is_one_line(arguments: list[str], words: str, run: Callable[..., Run]) -> None:
    result = run("rule", *arguments)
    assert (result.code, result.stdout, result.stderr.count("\n")) == (2, "", 1)
    assert words in result.stderr


def test_markdown_is_the_page_in_the_documentation(run: Callable[..., Run]) -> None:
    assert run("rule", "INI301", "-f", "markdown").stdout == (DOCS / "INI301.md").read_text(encoding="utf-8")
    index = (DOCS / "README.md").read_text(encoding="utf-8").splitlines()
    # Rules of other distributions may be installed beside the built-in ones.
    assert set(index) <= set(run("rule", "-f", "markdown").stdout.splitlines())


def test_json_has_one_shape_for_one_rule_and_for_all(run: Callable[..., Run]) -> None:
    schema = json.loads((files("initcheck.reports") / "schema" / "rules-v1.json").read_text(encoding="utf-8"))
    one, every = (json.loads(run("rule", word, "-f", "json").stdout) for word in ("ini102", "--all"))
    for document in (one, every):
        jsonschema.validate(document, schema, cls=jsonschema.Draft202012Validator)
    assert json.loads(run("rule", "--format", "json").stdout) == every
    assert [rule["code"] for rule in every["rules"]] == [rule.code for rule in load_rules()]
    (rule,) = one["rules"]
    assert rule in every["rules"]
    assert list(rule["bounds"]) == ["bounds", "chaos"]
    assert rule["bounds"]["chaos"]["optimizers"]["adam"] == {"warning": 8.0, "error": 12.0}


def test_a_page_keeps_to_sixty_columns(run: Callable[..., Run], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    for arguments in (["INI301"], ["--all"], []):
        text = run("rule", *arguments, "-f", "rich").stdout
        assert max(map(len, text.splitlines())) <= 60
    assert max(map(len, run("rule", "INI301").stdout.splitlines())) > 60


@pytest.mark.parametrize(
    ("variables", "option", "colored"),
    [
        ({}, "auto", False),
        ({"FORCE_COLOR": "1"}, "auto", True),
        ({"FORCE_COLOR": "1", "NO_COLOR": "1"}, "auto", False),
        ({"NO_COLOR": "1"}, "always", True),
    ],
)
def test_color(
    variables: dict[str, str], option: str, colored: bool, run: Callable[..., Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    for key, value in variables.items():
        monkeypatch.setenv(key, value)
    assert ("\x1b[" in run("rule", "INI301", "-f", "rich", "--color", option).stdout) is colored
    assert "\x1b" not in run("rule", "INI301", "-f", "json", "--color", option).stdout


def test_a_terminal_gets_the_page_in_color() -> None:
    code, text = in_terminal([*COMMAND, "rule", "INI101"], stream="stdout")
    assert code == 0
    assert "\x1b[1mvanishing-signal (INI101)\x1b[0m" in text
    assert "\x1b[1;36mInstead\x1b[0m" in text
