"""The forward fold: one signal per value, one contribution per step (interface; the fold follows)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from initcheck.graph import Graph
    from initcheck.signal.signal import Signal
    from initcheck.structure import Structure

__all__ = ["Contribution", "Forward", "Quantity", "Segment", "propagate"]


class Quantity(StrEnum):
    """What a contribution adds to."""

    SIGNAL = "signal"
    """log10 of the mean-square gain of a small perturbation."""
    LENGTH = "length"
    """log10 of the change of the mean square."""
    RESIDUAL = "residual"
    """log10 of the growth of the mean square at a residual addition."""
    FLUCTUATION = "fluctuation"
    """Var[ln M] newly injected (nats squared, not a logarithm)."""


@dataclass(frozen=True, slots=True)
class Contribution:
    """What one node adds to a quantity of its segment.

    Attributes:
        node: Name of the node.
        path: Layer path of the node.
        quantity: What it adds to.
        amount: Decades, or nats squared for ``FLUCTUATION``.
        reason: Why, in words people use (``kaiming_uniform(a=√5)``, ``relu``, ``zero padding``).
        segment: Segment of the node's output.
    """

    node: str
    path: str
    quantity: Quantity
    amount: float
    reason: str
    segment: int


@dataclass(frozen=True, slots=True)
class Segment:
    """A stretch of the main path between two normalisations (residual branches left out).

    Attributes:
        index: Number, in order of the graph; matches ``Contribution.segment``.
        start: Name of the node that opens it (a normalisation or a joining of segments), empty at the graph's input.
        end: Name of the node that closes it (a normalisation, the head, or the node of the main output).
        first_layer: Path of the first weighted layer in it, empty if none.
        signal_gain: log10 of the mean-square small-perturbation gain from its start to the input of ``end`` (to the
            output of the head for the last segment when that is larger: a head may be zero, but must not explode).
        length_gain: log10 of the mean square at its end over that at its start.
        residual_growth: log10, summed over the residual additions in it.
        log_length_variance: Largest Var[ln M] (nats squared) of a hidden value in it.
        uncertainty: Decades, half-width of the interval of ``signal_gain`` and ``residual_growth``.
        assumed: Whether it rests on an operation that was not understood.
    """

    index: int
    start: str
    end: str
    first_layer: str
    signal_gain: float
    length_gain: float
    residual_growth: float
    log_length_variance: float
    uncertainty: float
    assumed: bool


@dataclass(frozen=True, slots=True)
class Forward:
    """Result of the fold.

    Attributes:
        signals: Value name -> signal; None where nothing is known.
        ledger: Contributions in order of the graph.
        segments: Segments of the main path.
    """

    signals: Mapping[str, Signal | None]
    ledger: tuple[Contribution, ...]
    segments: tuple[Segment, ...]


def propagate(graph: Graph, structure: Structure, *, typical: bool) -> Forward:
    """Fold the laws over a graph."""
    raise AssertionError((graph, structure, typical))
