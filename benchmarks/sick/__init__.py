"""Models that cannot start, as people write them, each with the failure modes of which one should be named.

None of them was trained; what is wrong is written in each docstring or name, and holds for SGD with momentum.
"""

from __future__ import annotations

from sick.feedforward import FEEDFORWARD, Sick
from sick.structured import STRUCTURED

__all__ = ["SICK", "Sick"]

SICK: dict[str, Sick] = {**FEEDFORWARD, **STRUCTURED}
