from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from initcheck.reports.sparkline import ASCII, BLOCKS, sparkline


def test_low_to_high() -> None:
    assert sparkline([0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0], 20) == BLOCKS
    assert sparkline([7.0, 0.0], 20, unicode=False) == ASCII[-1] + ASCII[0]


def test_what_is_not_known_leaves_a_gap() -> None:
    assert sparkline([0.0, None, math.inf, math.nan, 1.0], 20) == f"{BLOCKS[0]}   {BLOCKS[-1]}"
    assert sparkline([None, None], 20) == "  "


@given(st.lists(st.none() | st.floats(-1e300, 1e300), max_size=50), st.integers(1, 20), st.booleans())
def test_at_most_the_width(values: list[float | None], width: int, unicode: bool) -> None:
    assert len(sparkline(values, width, unicode=unicode)) == min(len(values), width)
