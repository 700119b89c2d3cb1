from __future__ import annotations

from typing import TYPE_CHECKING

from initcheck.plugins import load_rules

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import Run


def test_the_list_names_every_rule(run: Callable[..., Run]) -> None:
    result = run("rule")
    assert result.code == 0
    assert [tuple(line.split()[:2]) for line in result.stdout.splitlines()] == [
        (rule.code, rule.name) for rule in load_rules()
    ]


def test_a_rule_is_explained_by_code_and_by_name(run: Callable[..., Run]) -> None:
    by_code = run("rule", "ini101").stdout
    assert by_code == run("rule", "vanishing-signal").stdout
    assert by_code.startswith("INI101 vanishing-signal\n")
    for heading in ("What it checks", "Why it fails", "Example", "Instead", "Limits", "References"):
        assert heading in by_code


def test_all_explains_every_rule(run: Callable[..., Run]) -> None:
    text = run("rule", "--all").stdout
    assert all(f"{rule.code} {rule.name}\n" in text for rule in load_rules())


def test_a_near_miss_is_named(run: Callable[..., Run]) -> None:
    result = run("rule", "vanishing-singal")
    assert result.code == 2
    assert result.stderr == "error: no rule has the code or name 'vanishing-singal'; did you mean vanishing-signal?\n"
    assert run("rule", "--all", "INI101").code == 2
