"""The word a user probably meant."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["did_you_mean"]


def did_you_mean(word: str, candidates: Iterable[str]) -> str:
    """``did you mean X?`` for the nearest candidate, empty when none is near.

    ``difflib`` is imported here, since only a mistake needs it.
    """
    from difflib import get_close_matches

    spelled = {candidate.casefold(): candidate for candidate in candidates}
    near = get_close_matches(word.casefold(), spelled, n=1, cutoff=0.6)
    return f"did you mean {spelled[near[0]]}?" if near else ""
