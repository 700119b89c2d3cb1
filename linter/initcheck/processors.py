"""How many processors a program may use."""

from __future__ import annotations

import os

__all__ = ["threads", "usable_processors"]


def usable_processors() -> int:
    """Processors that this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def threads() -> int:
    """Threads for one large computation: what OMP_NUM_THREADS says for all such programs, else every processor."""
    asked = os.environ.get("OMP_NUM_THREADS", "")
    return int(asked) if asked.isdecimal() and int(asked) > 0 else usable_processors()
