"""``initcheck rule``: explain one rule, or list them."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from initcheck.commands.parse import choice
from initcheck.commands.terminal import COLORS, style_of, write_stdout
from initcheck.errors import UsageError
from initcheck.near_miss import did_you_mean
from initcheck.pages import FORMATS, render

if TYPE_CHECKING:
    from initcheck.rule import Rule

__all__ = ["rule"]


def rule(
    name: Annotated[
        str | None, typer.Argument(metavar="[CODE|NAME]", help="The rule to explain.", show_default=False)
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="Explain every rule.")] = False,
    output: Annotated[
        str,
        typer.Option(
            "-f",
            "--format",
            metavar="FMT",
            help="rich (default on a terminal), plain (default otherwise), markdown or json.",
            show_default=False,
        ),
    ] = "",
    color: Annotated[str, typer.Option("--color", metavar="WHEN", help="auto, always or never.")] = "auto",
) -> int:
    """Explain one rule, or list all rules."""
    form = choice("--format", output or ("rich" if sys.stdout.isatty() else "plain"), FORMATS)
    choice("--color", color, COLORS)
    if everything and name:
        raise UsageError("rule: --all and a rule exclude each other", f"initcheck rule {name}")

    from initcheck.pages.page import page_of
    from initcheck.plugins import load_rules

    rules = load_rules()
    pages = [page_of(rule) for rule in ([_find(name, rules)] if name else rules)]
    text = render(form, pages, style_of(sys.stdout, color, verbose=False), brief=not (name or everything))
    write_stdout(text, utf8=form == "json")
    return 0


def _find(word: str, rules: tuple[Rule, ...]) -> Rule:
    for candidate in rules:
        if word.upper() == candidate.code or word.lower() == candidate.name:
            return candidate
    hint = did_you_mean(word, [known for rule in rules for known in (rule.code, rule.name)])
    raise UsageError(f"no rule has the code or name {word!r}", hint or "initcheck rule lists all rules")
