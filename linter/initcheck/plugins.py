"""Rules come in by one door, the entry point group ``initcheck.rules``: the built-in ones too."""

from __future__ import annotations

import re
from collections.abc import Set
from importlib.metadata import EntryPoint, entry_points
from typing import TYPE_CHECKING

from initcheck.errors import PluginError
from initcheck.rule import FailureMode, Need, Rule, Severity

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

__all__ = ["GROUP", "flaw_of", "load_rules"]

GROUP = "initcheck.rules"
DISTRIBUTION = "initcheck"
RESERVED = "INI"
"""Letters of the built-in rules: a later version may have any code of them."""

_CODE = re.compile(r"[A-Z]{2,}\d{3}")
_NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")


def load_rules(bundles: Iterable[EntryPoint] | None = None) -> tuple[Rule, ...]:
    """Make one instance of every installed rule, in the order of their codes.

    Args:
        bundles: Entry points that each name a tuple of rule classes; those of the environment when left out.

    Raises:
        PluginError: If a bundle does not load, holds something that is not a rule, or two rules share a code or a name.
            A rule that vanished silently would turn a red run green.
    """
    rules: dict[str, Rule] = {}
    owners: dict[str, str] = {}
    for bundle in sorted(entry_points(group=GROUP) if bundles is None else bundles, key=_origin):
        for rule in _rules_of(bundle):
            for key in (rule.code, rule.name):
                if key in owners:
                    message = f"{_origin(bundle)} has a rule {key}, and so has {owners[key]}"
                    raise PluginError(message, "uninstall one of them, or rename its rule")
                owners[key] = _origin(bundle)
            rules[rule.code] = rule
    if not rules:
        raise PluginError("no rule is installed", "install initcheck again, so that its entry points are registered")
    return tuple(rules[code] for code in sorted(rules))


def flaw_of(rule: object, *, built_in: bool = False) -> str:
    """What keeps an instance from being a rule, and what to do about it; empty if it is one.

    Args:
        rule: The candidate.
        built_in: Whether it comes with initcheck and may have a code of its letters.
    """
    if not isinstance(rule, Rule):
        wanted = ("code", "name", "failure_mode", "severity", "needs", "subsumes", "check", "bad", "good")
        return f"it lacks {', '.join(name for name in wanted if not hasattr(rule, name))}, see initcheck.Rule"
    if not isinstance(rule.code, str) or not _CODE.fullmatch(rule.code):
        return f"code {rule.code!r} is not letters and three digits, write it as TEAM101"
    if rule.code.startswith(RESERVED) and not built_in:
        return f"code {rule.code} has the letters of the built-in rules, use letters of your own"
    if not isinstance(rule.name, str) or not _NAME.fullmatch(rule.name):
        return f"name {rule.name!r} is not kebab case, write it as deep-plain-stack"
    if not isinstance(rule.failure_mode, FailureMode):
        return f"failure_mode {rule.failure_mode!r} is not one of initcheck.FailureMode"
    if not isinstance(rule.severity, Severity) or rule.severity is Severity.OFF:
        return f"severity {rule.severity!r} is not Severity.ERROR, WARNING or NOTE"
    if not isinstance(rule.needs, Set) or not all(isinstance(need, Need) for need in rule.needs):
        return f"needs {rule.needs!r} is not a frozenset of initcheck.Need"
    if not isinstance(rule.subsumes, Set) or not all(isinstance(code, str) for code in rule.subsumes):
        return f"subsumes {rule.subsumes!r} is not a frozenset of codes"
    return ""


def _origin(bundle: EntryPoint) -> str:
    return f"{bundle.dist.name if bundle.dist else 'unknown distribution'} ({bundle.name} = {bundle.value})"


def _rules_of(bundle: EntryPoint) -> Iterator[Rule]:
    hint = "repair or uninstall that distribution"
    try:
        classes = tuple(bundle.load())
        candidates = [candidate() for candidate in classes]
    except (Exception, SystemExit) as error:
        # A module that ends the process would turn a red run into whatever exit code it likes.
        reason = f"{type(error).__name__}: {error}"
        raise PluginError(f"rules of {_origin(bundle)} do not load: {reason}", hint) from error
    built_in = bundle.dist is not None and bundle.dist.name == DISTRIBUTION
    for candidate in candidates:
        flaw = flaw_of(candidate, built_in=built_in)
        if flaw:
            name = type(candidate).__qualname__
            raise PluginError(f"{name} of {_origin(bundle)} is not a rule: {flaw}", hint)
        yield candidate
