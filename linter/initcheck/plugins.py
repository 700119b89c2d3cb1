"""Rules come in by one door, the entry point group ``initcheck.rules``: the built-in ones too."""

from __future__ import annotations

import re
from importlib.metadata import EntryPoint, entry_points
from typing import TYPE_CHECKING

from initcheck.errors import PluginError
from initcheck.rule import Rule

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

__all__ = ["GROUP", "load_rules"]

GROUP = "initcheck.rules"
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


def _origin(bundle: EntryPoint) -> str:
    return f"{bundle.dist.name if bundle.dist else 'unknown distribution'} ({bundle.name} = {bundle.value})"


def _rules_of(bundle: EntryPoint) -> Iterator[Rule]:
    hint = "repair or uninstall that distribution"
    try:
        classes = tuple(bundle.load())
        candidates = [candidate() for candidate in classes]
    except Exception as error:
        reason = f"{type(error).__name__}: {error}"
        raise PluginError(f"rules of {_origin(bundle)} do not load: {reason}", hint) from error
    for candidate in candidates:
        flaw = _flaw(candidate)
        if flaw:
            name = type(candidate).__qualname__
            raise PluginError(f"{name} of {_origin(bundle)} is not a rule: {flaw}", hint)
        yield candidate


def _flaw(candidate: object) -> str:
    if not isinstance(candidate, Rule):
        wanted = ("code", "name", "failure_mode", "severity", "needs", "subsumes", "check", "bad", "good")
        return f"it lacks {', '.join(name for name in wanted if not hasattr(candidate, name))}"
    if not isinstance(candidate.code, str) or not _CODE.fullmatch(candidate.code):
        return f"code {candidate.code!r} is not letters and three digits"
    if not isinstance(candidate.name, str) or not _NAME.fullmatch(candidate.name):
        return f"name {candidate.name!r} is not kebab case"
    return ""
