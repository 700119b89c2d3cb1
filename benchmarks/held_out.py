"""Bounds fitted without the family that they are then scored on.

A model is flagged when a rule without a bound warns, or when one of its quantities reaches its fitted bound. Each
bound is first put in the middle between the highest value of the healthy models and the lowest of the sick ones that no
other quantity sets apart from them. Where the two overlap it goes where fewest training models are misjudged, of equal
places to the one with fewer false alarms, then to the widest gap between two values. What is still misjudged after that
moves one bound at a time, if that leaves fewer errors. Where no sick model needs a bound, the training families do not
determine it: the shipped one stays (or none, to see what depends on that).
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

ROUNDS = 10
"""Times that all bounds are visited at most; they settle after one or two."""


@dataclass(frozen=True)
class Example:
    """One labelled model.

    Attributes:
        name: Of the case.
        family: What is left out together.
        sick: The label.
        values: Quantity -> what is compared with its bound.
        certain: Whether something without a bound flags it.
    """

    name: str
    family: str
    sick: bool
    values: Mapping[str, float]
    certain: bool

    def reached(self, bounds: Mapping[str, float]) -> tuple[str, ...]:
        return tuple(name for name, bound in bounds.items() if self.values.get(name, 0.0) >= bound)

    def flagged(self, bounds: Mapping[str, float]) -> bool:
        return self.certain or bool(self.reached(bounds))


@dataclass(frozen=True)
class Fit:
    """Bounds, and the names of those that the examples did not determine."""

    bounds: Mapping[str, float]
    undetermined: frozenset[str]


def held_out(examples: Sequence[Example], fallback: Mapping[str, float]) -> dict[str, Fit]:
    """Family -> bounds fitted on the other families."""
    families = sorted({example.family for example in examples})
    return {family: fit([example for example in examples if example.family != family], fallback) for family in families}


def fit(examples: Sequence[Example], fallback: Mapping[str, float]) -> Fit:
    """Bounds for the quantities that ``fallback`` names."""
    healthy = [example for example in examples if not example.sick]
    bounds = {
        name: math.nextafter(max((example.values.get(name, 0.0) for example in healthy), default=0.0), math.inf)
        for name in fallback
    }
    bounds = {name: _best(name, _undecided(name, examples, bounds)) for name in bounds}
    for _ in range(ROUNDS):
        before = dict(bounds)
        for name in bounds:
            undecided = _undecided(name, examples, bounds)
            moved = _best(name, undecided)
            if _errors(name, undecided, moved) < _errors(name, undecided, bounds[name]):
                bounds[name] = moved
        if bounds == before:
            break
    undetermined = frozenset(name for name, bound in bounds.items() if math.isinf(bound))
    return Fit(
        {name: fallback[name] if name in undetermined else bound for name, bound in bounds.items()}, undetermined
    )


def _undecided(name: str, examples: Sequence[Example], bounds: Mapping[str, float]) -> list[Example]:
    """The examples that nothing but one quantity could flag."""
    others = {other: bound for other, bound in bounds.items() if other != name}
    return [example for example in examples if not example.flagged(others)]


def _errors(name: str, undecided: Sequence[Example], bound: float) -> tuple[int, int]:
    """Models that a bound misjudges, and the false alarms among them."""
    above = [example.values.get(name, 0.0) >= bound for example in undecided]
    alarms = sum(is_above and not example.sick for is_above, example in zip(above, undecided, strict=True))
    misses = sum(example.sick and not is_above for is_above, example in zip(above, undecided, strict=True))
    return alarms + misses, alarms


def _best(name: str, undecided: Sequence[Example]) -> float:
    """The bound that parts the models that nothing else flags, infinite where none needs one."""
    values = sorted({example.values.get(name, 0.0) for example in undecided} - {math.inf})
    gaps = [*itertools.pairwise(values), (values[-1] if values else 0.0, math.inf)]
    low, high = min(gaps, key=lambda gap: (*_errors(name, undecided, gap[1]), gap[0] - gap[1]))
    return (low + high) / 2
