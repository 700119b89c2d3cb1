"""Models that cannot start, as people write them, each with the failure modes of which one should be named.

Most were not trained; what is wrong is written in each docstring or name, and holds for SGD with momentum.
"""

from __future__ import annotations

from sick.feedforward import FEEDFORWARD, Sick
from sick.structured import STRUCTURED
from sick.unusual import UNUSUAL

__all__ = ["SICK", "Sick"]

SICK: dict[str, Sick] = {**FEEDFORWARD, **STRUCTURED, **UNUSUAL}
