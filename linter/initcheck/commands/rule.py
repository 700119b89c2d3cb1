"""``initcheck rule``: explain one rule, or list them."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Annotated

import typer

from initcheck.commands.terminal import write_stdout
from initcheck.errors import UsageError
from initcheck.near_miss import did_you_mean

if TYPE_CHECKING:
    from initcheck.rule import Rule

__all__ = ["rule"]


def rule(
    name: Annotated[
        str | None, typer.Argument(metavar="[CODE|NAME]", help="The rule to explain.", show_default=False)
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="Explain every rule.")] = False,
) -> int:
    """Explain one rule, or list all rules."""
    from initcheck.plugins import load_rules

    rules = load_rules()
    if everything and name:
        raise UsageError("rule: --all and a rule exclude each other", f"initcheck rule {name}")
    if everything:
        write_stdout("\n".join(map(_explain, rules)))
    elif name:
        write_stdout(_explain(_find(name, rules)))
    else:
        widest = max(len(rule.name) for rule in rules)
        write_stdout("".join(f"{rule.code}  {rule.name:<{widest}}  {_first_sentence(rule)}\n" for rule in rules))
    return 0


def _find(word: str, rules: tuple[Rule, ...]) -> Rule:
    for candidate in rules:
        if word.upper() == candidate.code or word.lower() == candidate.name:
            return candidate
    hint = did_you_mean(word, [known for rule in rules for known in (rule.code, rule.name)])
    raise UsageError(f"no rule has the code or name {word!r}", hint or "initcheck rule lists all rules")


def _explain(rule: Rule) -> str:
    facts = f"{rule.severity} at most, failure mode: {rule.failure_mode}"
    needs = f"needs {', '.join(sorted(rule.needs))}" if rule.needs else ""
    explains = f"explains {', '.join(sorted(rule.subsumes))}" if rule.subsumes else ""
    head = [f"{rule.code} {rule.name}", "; ".join(filter(None, (facts, needs, explains)))]
    return "\n".join([*head, "", inspect.cleandoc(type(rule).__doc__ or ""), ""])


def _first_sentence(rule: Rule) -> str:
    return inspect.cleandoc(type(rule).__doc__ or "").partition("\n")[0]
