"""Precision, recall, F1 and named failure modes of flags against one column of labels."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

COLUMNS = ("label", "label_sgd", "label_train", "label_adam")


@dataclass(frozen=True)
class Flag:
    """What a check says of one model: the failure modes it names, or none, and the codes to show."""

    flagged: bool
    modes: Collection[str] = ()
    codes: Collection[str] = ()


@dataclass(frozen=True)
class Score:
    """Counts of one check in one column.

    Attributes:
        hits, alarms, misses: Cases flagged and bad, flagged and good, not flagged and bad.
        named: Hits in which an accepted failure mode is among those named.
    """

    hits: Sequence[str] = field(default_factory=list)
    alarms: Sequence[str] = field(default_factory=list)
    misses: Sequence[str] = field(default_factory=list)
    named: int = 0

    def __str__(self) -> str:
        hits, alarms, misses = len(self.hits), len(self.alarms), len(self.misses)
        precision = _share(hits, hits + alarms)
        recall = _share(hits, hits + misses)
        harmonic = _share(2 * hits, 2 * hits + alarms + misses)
        return f"{precision} {recall} {harmonic} {_share(self.named, hits)}"


HEADING = "    P     R    F1 named"


def score(flags: Mapping[str, Flag], rows: Sequence[Mapping[str, Any]], column: str) -> Score:
    """Score flags; a case without one counts as not flagged, rows that are neither good nor bad are left out."""
    hits, alarms, misses = [], [], []
    named = 0
    for row in rows:
        flag = flags.get(row["id"], Flag(flagged=False))
        if row[column] == "bad":
            (hits if flag.flagged else misses).append(row["id"])
            named += flag.flagged and not set(flag.modes).isdisjoint(row["modes_accepted"] or ())
        elif row[column] == "good" and flag.flagged:
            alarms.append(row["id"])
    return Score(hits, alarms, misses, named)


def _share(part: int, whole: int) -> str:
    return f"{part / whole:5.3f}" if whole else "  -  "
