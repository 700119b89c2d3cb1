"""What there is to tell about a rule: its attributes, its options and the sections of its docstring."""

from __future__ import annotations

import inspect
import textwrap
from collections.abc import Mapping
from dataclasses import Field, dataclass, fields, is_dataclass
from typing import TYPE_CHECKING, Any

from initcheck.rule import Bounds

if TYPE_CHECKING:
    from initcheck.rule import Rule

__all__ = ["EVERY_OPTIMIZER", "BoundsOption", "Option", "RulePage", "option_fields", "page_of"]

EVERY_OPTIMIZER = "any"
"""Key of bounds that do not depend on the optimizer."""


@dataclass(frozen=True, slots=True)
class BoundsOption:
    """Bounds of one quantity.

    Attributes:
        name: Name of the rule's attribute.
        quantity: What is bounded and in which unit: ``doc`` in the metadata of the field, may be empty.
        bounds: Optimizer -> bounds; ``EVERY_OPTIMIZER`` alone where they are the same for all.
    """

    name: str
    quantity: str
    bounds: Mapping[str, Bounds]


@dataclass(frozen=True, slots=True)
class Option:
    """Another option.

    Attributes:
        name: Name of the rule's field.
        meaning: ``doc`` in the metadata of the field, may be empty.
        default: Its value when nothing else is asked for.
    """

    name: str
    meaning: str
    default: Any


@dataclass(frozen=True, slots=True)
class RulePage:
    """A rule as its readers see it.

    Attributes:
        code: Its code.
        name: Its name.
        severity: The worst it reports.
        failure_mode: What would go wrong.
        needs: What it must have to run, sorted.
        subsumes: Codes that it explains, sorted.
        summary: First sentence of the docstring.
        lead: What follows it before the first heading, usually nothing.
        sections: Heading without its colon -> text, in the order of the docstring.
        bounds: Attributes that are bounds.
        options: All other fields.
    """

    code: str
    name: str
    severity: str
    failure_mode: str
    needs: tuple[str, ...]
    subsumes: tuple[str, ...]
    summary: str
    lead: str
    sections: Mapping[str, str]
    bounds: tuple[BoundsOption, ...]
    options: tuple[Option, ...]

    @property
    def facts(self) -> str:
        """Severity, failure mode, needs and what it explains in one line."""
        parts = [f"{self.severity} at most", f"failure mode {self.failure_mode}"]
        parts += [f"needs {', '.join(self.needs)}"] if self.needs else []
        parts += [f"explains {', '.join(self.subsumes)}"] if self.subsumes else []
        return "; ".join(parts)


def page_of(rule: Rule) -> RulePage:
    """The page of a rule, with the values that this instance has for its options."""
    summary, lead, sections = _split(inspect.cleandoc(type(rule).__doc__ or ""))
    docs = {item.name: str(item.metadata.get("doc", "")) for item in option_fields(rule)}
    names = dict.fromkeys([*docs, *(name for name in dir(rule) if not name.startswith("_"))])
    bounds = {name: found for name in names if (found := _bounds(rule, name, is_field=name in docs))}
    return RulePage(
        code=rule.code,
        name=rule.name,
        severity=rule.severity.value,
        failure_mode=rule.failure_mode.value,
        needs=tuple(sorted(rule.needs)),
        subsumes=tuple(sorted(rule.subsumes)),
        summary=summary,
        lead=lead,
        sections=sections,
        bounds=tuple(BoundsOption(name, docs.get(name, ""), found) for name, found in bounds.items()),
        options=tuple(Option(name, doc, getattr(rule, name)) for name, doc in docs.items() if name not in bounds),
    )


def _split(text: str) -> tuple[str, str, Mapping[str, str]]:
    """(first sentence, what follows it, sections); a heading is a line at the margin above an indented one."""
    summary, _, rest = text.partition("\n")
    lines = rest.splitlines()
    lead: list[str] = []
    sections: dict[str, list[str]] = {}
    current = lead
    for at, line in enumerate(lines):
        following = next((later for later in lines[at + 1 :] if later), "")
        if line and not line.startswith(" ") and following.startswith(" "):
            current = sections.setdefault(line.removesuffix(":"), [])
        else:
            current.append(line)
    texts = {title: textwrap.dedent("\n".join(body)).strip("\n") for title, body in sections.items()}
    return summary, "\n".join(lead).strip("\n"), texts


def option_fields(rule: Rule) -> tuple[Field[Any], ...]:
    """The options of a rule: the fields of its dataclass, none if it is no dataclass."""
    return fields(rule) if is_dataclass(rule) else ()


def _bounds(rule: Rule, name: str, *, is_field: bool) -> Mapping[str, Bounds]:
    """Bounds that an attribute holds, nothing if it holds something else; a property is not asked."""
    value = getattr(rule, name) if is_field else inspect.getattr_static(rule, name)
    if isinstance(value, Bounds):
        return {EVERY_OPTIMIZER: value}
    if isinstance(value, Mapping) and value and all(isinstance(item, Bounds) for item in value.values()):
        return {str(key): item for key, item in value.items()}
    return {}
