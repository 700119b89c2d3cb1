"""Models that cannot start: which are found, by which code, and whether an expected failure mode is named."""

from __future__ import annotations

from typing import TYPE_CHECKING

from judging import Judged, judge, load_torch
from sick import SICK

if TYPE_CHECKING:
    from collections.abc import Sequence


def run_sick(names: Sequence[str]) -> int:
    """Returns 1 if one is missed."""
    chosen = {name: model for name, model in SICK.items() if not names or name in names}
    missed: list[str] = []
    misnamed: list[str] = []
    print(f"{'model':28}{'CPU s':>6}  {'expected':34}  found")
    for name, (factory, modes) in chosen.items():
        loaded = load_torch(factory)
        judged = judge(loaded.analysis) if loaded.analysis is not None else Judged(failure=loaded.failure)
        loud = judged.loud()
        named = {str(finding.failure_mode) for finding in loud}
        words = [f"{finding.severity} {finding.code} ({finding.failure_mode})" for finding in loud]
        missed += [] if loud else [name]
        misnamed += [name] if loud and named.isdisjoint(modes) else []
        found = ", ".join(words) or (f"NO VERDICT {judged.failure}" if judged.failure else "MISSED")
        print(f"{name:28}{loaded.seconds:6.1f}  {' or '.join(sorted(modes)):34}  {found}", flush=True)
        for finding in loud:
            print(f"{'':72}{finding.message}", flush=True)
    print(f"\n{len(chosen) - len(missed)} of {len(chosen)} found; missed: {' '.join(missed) or 'none'}")
    print(f"found under another failure mode: {' '.join(misnamed) or 'none'}")
    return int(bool(missed))
