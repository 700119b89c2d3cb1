"""A series of numbers as one line of characters."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["sparkline"]

BLOCKS = "▁▂▃▄▅▆▇█"
ASCII = "_.-~=+*#"
GAP = " "


def sparkline(
    values: Sequence[float | None], width: int, *, unicode: bool = True, bounds: tuple[float, float] | None = None
) -> str:
    """One character per value, low to high; at most ``width`` characters, each then the value nearest to its place.

    None and non-finite values leave a gap. A series without spread is drawn low.

    Args:
        values: The series.
        width: Characters at most.
        unicode: Whether block characters may be used.
        bounds: Lowest and highest value of the scale, for series to be compared; those of the series when left out.
    """
    if len(values) > width:
        values = [values[round(at * (len(values) - 1) / max(width - 1, 1))] for at in range(width)]
    known = [value for value in values if value is not None and math.isfinite(value)]
    if not known:
        return GAP * len(values)
    levels = BLOCKS if unicode else ASCII
    low, high = bounds or (min(known), max(known))
    spread = high - low
    scale = (len(levels) - 1) / spread if spread > 0.0 else 0.0
    return "".join(
        levels[round((value - low) * scale)] if value is not None and math.isfinite(value) else GAP for value in values
    )
