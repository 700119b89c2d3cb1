"""What each layer of a segment does to the signal, and which layers are to blame."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from initcheck import Quantity, critical_gain
from initcheck_rules.wording import activation_name, scheme_name

if TYPE_CHECKING:
    from collections.abc import Sequence

    from initcheck import Analysis, Contribution, Layer, Segment

__all__ = ["Step", "blamed", "cause_of", "steps_of", "worst_of"]

EXPLAINED = 0.9
"""Share of a change that the layers to blame account for at least."""

NAMED = 3
"""Reasons named in a cause."""

NEAR = 0.05
"""Relative distance up to which a variance is the one that an activation needs."""


@dataclass(frozen=True, slots=True)
class Step:
    """A weighted layer of the main path and all that follows it up to the next one.

    Attributes:
        path: Of the layer; of the first operation for what comes before any layer.
        layer: None before the first layer.
        amount: Decades.
        contributions: What the amount consists of.
    """

    path: str
    layer: Layer | None
    amount: float
    contributions: tuple[Contribution, ...]


def steps_of(
    analysis: Analysis, segment: Segment, *, with_head: bool, quantity: Quantity = Quantity.SIGNAL
) -> tuple[Step, ...]:
    """Contributions of a segment's main path to a quantity in decades, gathered by layer, in order.

    Args:
        analysis: The model.
        segment: One of its segments.
        with_head: Whether the head counts: it may shrink the signal, even to nothing, but must not blow it up.
        quantity: Signal or length.
    """
    layers = {layer.node.name: layer for layer in analysis.layers}
    structure = analysis.structure
    gathered: list[tuple[Layer | None, list[Contribution]]] = []
    for entry in analysis.explain(segment.index, quantity):
        if entry.node in structure.on_branch or entry.node not in structure.active:
            continue
        if entry.node in structure.heads and not with_head:
            break
        layer = layers.get(entry.node)
        if layer is not None or not gathered:
            gathered.append((layer, []))
        gathered[-1][1].append(entry)
    return tuple(
        Step(
            layer.path if layer else entries[0].path,
            layer,
            sum(entry.amount for entry in entries),
            tuple(entries),
        )
        for layer, entries in gathered
    )


def blamed(steps: Sequence[Step], sign: float) -> tuple[Step, ...]:
    """The steps to blame for a change in one direction: all not much smaller than those that explain nearly all of it.

    Args:
        steps: Of one segment.
        sign: -1 for shrinking, 1 for growing.
    """

    def size(step: Step) -> float:
        return sign * step.amount

    ranked = sorted((step for step in steps if size(step) > 0.0), key=size, reverse=True)
    if not ranked:
        return ()
    if math.isinf(size(ranked[0])):
        return tuple(step for step in steps if math.isinf(step.amount))[:1]
    total = math.fsum(size(step) for step in ranked)
    covered, least = 0.0, 0.0
    for step in ranked:
        covered, least = covered + size(step), size(step)
        if covered >= EXPLAINED * total:
            break
    return tuple(step for step in steps if size(step) >= 0.5 * least)


def worst_of(step: Step, sign: float) -> Contribution:
    """The operation of a step that changes the signal most."""
    return max(step.contributions, key=lambda entry: sign * entry.amount)


def cause_of(guilty: Sequence[Step], sign: float) -> str:
    """One clause per reason why these steps shrink or grow the signal, the commonest first."""
    reasons = Counter(_reason(step, sign) for step in guilty)
    clauses = []
    for reason, count in reasons.most_common(NAMED):
        gains = [_gain(step.layer) for step in guilty if _reason(step, sign) == reason and step.layer]
        who = f"{count} of {len(guilty)} layers" if len(guilty) > 1 else guilty[0].path
        clauses.append(f"{who}: {reason.text(gains)}")
    return "; ".join(clauses)


@dataclass(frozen=True, slots=True)
class _Reason:
    """Why a step changes the signal: weights of the wrong variance, or else an operation.

    Attributes:
        scheme: What drew the weights; empty when they are not to blame.
        activation: Name of what follows them.
        needed: fan_in · Var(w) that it needs.
        operation: What is to blame instead.
    """

    scheme: str = ""
    activation: str = ""
    needed: float = 0.0
    operation: str = ""

    def text(self, gains: Sequence[float]) -> str:
        if not self.scheme:
            return self.operation
        low, high = (f"{gain:.2g}" if gain < 100.0 else f"{gain:.0f}" for gain in (min(gains), max(gains)))
        actual = low if low == high else f"{low} to {high}"
        return f"{self.scheme} gives {actual}/fan_in, {self.activation} needs {self.needed:.2g}/fan_in"


def _reason(step: Step, sign: float) -> _Reason:
    worst = worst_of(step, sign)
    layer = step.layer
    if layer is None or layer.weight is None or not layer.fan_in or math.isinf(worst.amount):
        return _operation(worst, sign)
    function = str(layer.activation.attributes["function"]) if layer.activation else ""
    needed = critical_gain(function, layer.activation.attributes.get("arguments") if layer.activation else None)
    if math.isnan(needed) or sign * (_gain(layer) - needed) < NEAR * needed:
        return _operation(worst, sign)
    return _Reason(scheme_name(layer.weight.distribution), activation_name(function), needed)


def _gain(layer: Layer) -> float:
    return layer.fan_in * layer.weight.distribution.mean_square if layer.weight else math.nan


def _operation(entry: Contribution, sign: float) -> _Reason:
    if math.isinf(entry.amount):
        return _Reason(operation=f"nothing passes {entry.reason}")
    return _Reason(operation=f"{entry.reason} {'takes' if sign < 0 else 'adds'} {abs(entry.amount):.2g} decades")
