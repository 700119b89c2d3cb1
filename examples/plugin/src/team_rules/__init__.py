"""Rules of our team; ``RULES`` is what the entry point in pyproject.toml names."""

from __future__ import annotations

from team_rules.team101_deep_without_shortcut import DeepWithoutShortcut

__all__ = ["RULES"]

RULES = (DeepWithoutShortcut,)
