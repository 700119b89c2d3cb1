"""Tables of the accuracy benchmark."""

from __future__ import annotations

import math
from collections import defaultdict
from typing import TYPE_CHECKING

import numpy as np
from accuracy_compare import ALLOWED, Quantity, Row, Status

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["model_line", "print_kinds", "print_pooled", "print_worst"]

BOUND = {
    quantity: "factor 1.5" if quantity is Quantity.VARIANCE else f"{allowed:g} decades"
    for quantity, allowed in ALLOWED.items()
}
SHORT = {
    Quantity.LENGTH: "length",
    Quantity.GAIN: "gain",
    Quantity.GRADIENT: "grad",
    Quantity.GRADIENT_QK: "grad qk",
    Quantity.PARAMETER: "param",
    Quantity.VARIANCE: "var",
}
VARIANCES = (0.1, 10.0)
"""Range of Var[ln M] that is judged: below it nothing fluctuates, above it 200 networks do not suffice."""


def judged(rows: Sequence[Row], quantity: Quantity) -> list[Row]:
    """Rows of a quantity on which the engine stands by its prediction."""
    found = [row for row in rows if row.quantity is quantity and row.status is Status.KNOWN]
    if quantity is Quantity.VARIANCE:
        low, high = map(math.log10, VARIANCES)
        found = [row for row in found if low < row.measured < high]
    return found


def model_line(model: str, rows: Sequence[Row], *, header: bool) -> str:
    """Hits and 95th percentile per quantity of one model."""
    lines = []
    if header:
        titles = "".join(f"{SHORT[quantity]:>18}" for quantity in Quantity)
        lines += [
            f"{'model':40}{'ops':>5}{titles}{'not known':>11}",
            f"{'':45}" + f"{'hits     p95':>18}" * len(Quantity),
        ]
    cells = []
    for quantity in Quantity:
        known = judged(rows, quantity)
        misses = [row.miss for row in known]
        hits = sum(row.is_hit for row in known)
        high = np.percentile(misses, 95, method="lower") if misses else math.nan
        cells.append(f"{hits:>5}/{len(known):<4}{high:7.3f}" if misses else f"{'-':>16}")
    lengths = [row for row in rows if row.quantity is Quantity.LENGTH]
    unknown = sum(row.status is not Status.KNOWN for row in lengths)
    return "\n".join([*lines, f"{model:40}{len(lengths):>5}" + "".join(f"{c:>18}" for c in cells) + f"{unknown:>11}"])


def print_pooled(rows: Sequence[Row], models: int, repeats: int, seconds: float) -> None:
    """All models together as a Markdown table, a line per quantity, plain mean field beside it."""
    print(f"\n{models} models, {repeats} networks each, {seconds:.0f} CPU s; misses in decades\n")
    titles = ("quantity", "a hit is within", "n", "hits", "<= 0.1", "<= 0.2", "median", "p95", "worst")
    beside = ("mean field: hits", "<= 0.1", "median", "p95", "assumed", "unknown")
    print_line(*titles, *beside)
    print_line(*("---",) * 2, *("---:",) * (len(titles) + len(beside) - 2))
    for quantity in Quantity:
        of_it = [row for row in rows if row.quantity is quantity]
        known = judged(rows, quantity)
        apart = [sum(row.status is status for row in of_it) for status in (Status.ASSUMED, Status.UNKNOWN)]
        typical = figures([row.miss for row in known], known)
        plain = figures([row.plain_miss for row in known], known)
        cells = [*typical, plain[0], plain[1], plain[3], plain[4]] if known else ["-"] * 10
        print_line(quantity.value, BOUND[quantity], len(known), *cells, *apart)
    apart_rows = [row for row in rows if row.quantity is Quantity.LENGTH and row.status is not Status.KNOWN]
    print()
    for row in apart_rows[:20]:
        print(f"{row.status.value}: {row.model} {row.value} ({row.op}) {row.path}")
    if len(apart_rows) > 20:
        print(f"... and {len(apart_rows) - 20} more")


def figures(misses: Sequence[float], rows: Sequence[Row]) -> list[str]:
    """Shares of hits, within 0.1 and within 0.2, then median, 95th percentile and largest miss."""
    if not misses:
        return []
    sizes = np.array([math.inf if math.isnan(miss) else miss for miss in misses])
    allowed = np.array([max(ALLOWED[row.quantity], 2.0 * row.error) for row in rows])
    shares = [float(np.mean(sizes <= bound)) for bound in (allowed, 0.1, 0.2)]
    # Percentiles that are no averages of two, of which one may be infinite.
    quantiles = [float(np.percentile(sizes, share, method="lower")) for share in (50, 95, 100)]
    return [*(f"{share:.1%}" for share in shares), *(f"{size:.3f}" for size in quantiles)]


def print_line(*cells: object) -> None:
    """A line of a Markdown table."""
    print("| " + " | ".join(str(cell) for cell in cells) + " |")


def print_kinds(rows: Sequence[Row]) -> None:
    """A line per quantity and kind of operation, the one with the most misses first."""
    for quantity in Quantity:
        groups: defaultdict[str, list[Row]] = defaultdict(list)
        for row in judged(rows, quantity):
            groups[row.op].append(row)
        if not groups:
            continue
        print(f"\n{quantity.value} by operation{'':16}{'n':>6}{'misses':>8}{'median':>8}{'p95':>8}{'bias':>8}")
        for op, found in sorted(groups.items(), key=lambda item: -sum(not row.is_hit for row in item[1])):
            misses = [row.miss for row in found]
            bias = np.median([row.excess for row in found if math.isfinite(row.miss)] or [0.0])
            missed = sum(not row.is_hit for row in found)
            middle, high = np.percentile(misses, (50, 95), method="lower")
            print(f"  {op:40}{len(found):>6}{missed:>8}{middle:8.3f}{high:8.3f}{bias:8.3f}")


def print_worst(rows: Sequence[Row], quantity: Quantity, count: int) -> None:
    """The operations that are furthest off, and that are no hit."""
    found = sorted((row for row in judged(rows, quantity) if not row.is_hit), key=lambda row: -row.miss)
    if not found:
        return
    print(f"\nworst of {len(found)}: {quantity.value}")
    print(f"  {'model':36}{'value':28}{'operation':28}{'predicted':>10}{'measured':>10}{'s.e.':>7}{'plain':>9}  layer")
    for row in found[:count]:
        plain = math.nan if row.plain is None else row.plain
        print(
            f"  {row.model:36}{row.value[:27]:28}{row.op[:27]:28}{row.predicted:10.3f}{row.measured:10.3f}"
            f"{row.error:7.3f}{plain:9.3f}  {row.path}"
        )
