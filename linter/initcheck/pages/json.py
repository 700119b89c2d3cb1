"""Rules as JSON, version 1: the same shape for one rule, for all and for the list; additive changes only."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Set
from dataclasses import fields, is_dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any

from initcheck import __version__

if TYPE_CHECKING:
    from collections.abc import Sequence

    from initcheck.pages.page import RulePage
    from initcheck.reports.style import Style

__all__ = ["VERSION", "explain", "listing"]

VERSION = 1


def explain(pages: Sequence[RulePage], style: Style) -> str:  # noqa: ARG001 - every format has this signature
    """One JSON document; ``initcheck/reports/schema/rules-v1.json`` is its schema."""
    document = {
        "version": VERSION,
        "tool": {"name": "initcheck", "version": __version__},
        "rules": [_rule(page) for page in pages],
    }
    return json.dumps(document, ensure_ascii=False, indent=2, allow_nan=False) + "\n"


listing = explain


def _rule(page: RulePage) -> dict[str, Any]:
    return {
        "code": page.code,
        "name": page.name,
        "severity": page.severity,
        "failure_mode": page.failure_mode,
        "needs": list(page.needs),
        "subsumes": list(page.subsumes),
        "summary": "\n\n".join(filter(None, (page.summary, page.lead))),
        "sections": dict(page.sections),
        "bounds": {
            option.name: {"quantity": option.quantity, "optimizers": _plain(option.bounds)} for option in page.bounds
        },
        "options": {
            option.name: {"meaning": option.meaning, "default": _plain(option.default)} for option in page.options
        },
    }


def _plain(value: Any) -> Any:
    """A value of an option as JSON can say it: an infinite number is null, an object the mapping of its fields."""
    if isinstance(value, Enum):
        return _plain(value.value)
    if is_dataclass(value) and not isinstance(value, type):
        return {item.name: _plain(getattr(value, item.name)) for item in fields(value)}
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, Set):
        return sorted((_plain(item) for item in value), key=str)
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    return value if value is None or isinstance(value, str | int) else repr(value)
