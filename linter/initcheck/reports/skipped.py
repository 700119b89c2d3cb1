"""Which rules could not run, in words."""

from __future__ import annotations

from typing import TYPE_CHECKING

from initcheck.report import FILE_HAS_NO_PAST

if TYPE_CHECKING:
    from initcheck.report import ModelReport

__all__ = ["skipped_sentences"]


def skipped_sentences(model: ModelReport) -> tuple[str, ...]:
    """One sentence for every reason, with all the rules it kept from running.

    That no file has a past is no news about this one.
    """
    codes: dict[str, list[str]] = {}
    for code, reason in model.skipped_rules.items():
        if reason != FILE_HAS_NO_PAST:
            codes.setdefault(reason, []).append(code)
    return tuple(f"{', '.join(names)} did not run: {reason}" for reason, names in codes.items())
