"""Segments of the main path: what lies between two normalisations, and how much it gains."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from initcheck.graph import WEIGHTED, Graph, Node, Op
from initcheck.signal.ledger import Contribution, Quantity, decades

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from initcheck.signal.law import Segments
    from initcheck.signal.signal import Signal
    from initcheck.structure import Structure

__all__ = ["Segment", "find_segments", "widened"]


@dataclass(frozen=True, slots=True)
class Segment:
    """A stretch of the main path between two normalisations (residual branches left out).

    Attributes:
        index: Number, in order of the graph; matches ``Contribution.segment``.
        start: Name of the node that opens it (a normalisation or a joining of segments), empty for the one that begins
            where the first layer reads its input.
        end: Name of the node that closes it (a normalisation, the head, or the node of the main output).
        first_layer: Path of the first weighted layer in it, empty if none.
        closed: Whether a normalisation ends it.
        signal_gain: log10 of the mean-square small-perturbation gain from its start to the input of ``end`` (to the
            output of the head when that is larger: a head may be zero, but must not explode). In a closed segment it is
            relative to length: a normalisation makes the scale of the weights before it free.
        largest_attenuation: Most negative part of ``signal_gain`` that one weight contributes (zero or less). The
            gradient of that weight does not contain it, so alone it does not stop training.
        lookup_scale: log10 of the mean square of the smallest embedding in it, zero where none is below one. What is
            lost for the size of a table alone comes back as it grows: its gradient does not contain it.
        length_gain: log10 of the mean square at its end over that at its start.
        residual_growth: log10, summed over the residual additions in it; at most what the mean square rises by between
            any two of them, since a stream that is scaled down as fast (x = (x + f(x))/√2) does not grow.
        log_length_variance: Largest Var[ln M] (nats squared) of a hidden value in it.
        uncertainty: Decades, half-width of the interval of ``signal_gain`` and ``residual_growth``.
        assumed: Whether it rests on an operation that was not understood.
    """

    index: int
    start: str
    end: str
    first_layer: str
    closed: bool
    signal_gain: float
    largest_attenuation: float
    lookup_scale: float
    length_gain: float
    residual_growth: float
    log_length_variance: float
    uncertainty: float
    assumed: bool


@dataclass(frozen=True, slots=True)
class _End:
    """A place where a segment ends on the main path."""

    node: Node
    signal: Signal
    gain: float
    closed: bool


def find_segments(
    graph: Graph,
    structure: Structure,
    signals: Mapping[str, Signal | None],
    opened: Segments,
    ledger: Sequence[Contribution],
) -> tuple[Segment, ...]:
    """Segments that end on the main path, in order.

    Of several ends of one segment the one with the largest gain counts.
    """
    main = [node for node in graph.nodes if node.name in structure.active and node.name not in structure.on_branch]
    weighted = {node.name for node in main if node.op in WEIGHTED}
    ends = _ends(graph, structure, signals, opened)
    first_layers: dict[int, str] = {}
    lookups: dict[int, float] = {}
    variances: dict[int, float] = {}
    for node in main:
        x = signals.get(node.inputs[0]) if node.inputs else None
        y = signals.get(node.outputs[0]) if node.outputs else None
        if node.name in weighted and y is not None:
            first_layers.setdefault(y.segment, node.path or node.name)
            if node.op is Op.EMBEDDING and y.mean_square > 0.0:
                lookups[y.segment] = min(lookups.get(y.segment, 0.0), decades(y.mean_square))
        if x is not None and (node.name in weighted or node.name in opened.closings):
            variances[x.segment] = max(variances.get(x.segment, 0.0), x.log_length_variance())
    rises = _rises(main, structure, signals)
    attenuation: dict[int, float] = {}
    for entry in ledger:
        if entry.quantity is Quantity.SIGNAL and entry.node in weighted:
            attenuation[entry.segment] = min(attenuation.get(entry.segment, 0.0), entry.amount)
    return tuple(
        _segment(
            candidates,
            index=index,
            start=opened.starts[index],
            first_layer=first_layers.get(index, ""),
            variance=variances.get(index, 0.0),
            attenuation=attenuation.get(index, 0.0),
            lookup=lookups.get(index, 0.0),
            rise=rises.get(index, 0.0),
        )
        for index, candidates in sorted(ends.items())
    )


def _rises(main: Sequence[Node], structure: Structure, signals: Mapping[str, Signal | None]) -> dict[int, float]:
    """Segment -> the most that the mean square rises by from one value of its residual stream to a later one."""
    lowest: dict[int, float] = {}
    rises: dict[int, float] = {}
    for node in main:
        residual = structure.residuals.get(node.name)
        if residual is None:
            continue
        skip, total = signals.get(residual.skip), signals.get(node.outputs[0])
        if skip is None or total is None:
            continue
        before, after = decades(skip.mean_square), decades(total.mean_square)
        lowest[total.segment] = min(lowest.get(total.segment, before), before)
        rises[total.segment] = max(rises.get(total.segment, 0.0), after - lowest[total.segment])
    return rises


def widened(
    expected: Sequence[Segment], typical: Sequence[Segment], ledger: Sequence[Contribution]
) -> tuple[Segment, ...]:
    """Segments of the mean-field fold, with the interval that finite width leaves.

    The typical length lies below the expected one by half the variance that the layers inject, unless later layers
    amplify it. What they add to the distance says how far the expectation speaks for a network of finite width.

    Args:
        expected: Segments of the mean-field fold.
        typical: Those of the typical path.
        ledger: Of the mean-field fold.
    """
    injected: dict[int, float] = {}
    for entry in ledger:
        if entry.quantity is Quantity.FLUCTUATION:
            injected[entry.segment] = injected.get(entry.segment, 0.0) + entry.amount
    lengths = {segment.index: segment.length_gain for segment in typical}
    result = []
    for segment in expected:
        apart = segment.length_gain - lengths.get(segment.index, segment.length_gain)
        beyond = apart - 0.5 * injected.get(segment.index, 0.0) / math.log(10.0)
        known = math.isfinite(beyond) and beyond > 0.0
        result.append(replace(segment, uncertainty=math.hypot(segment.uncertainty, beyond)) if known else segment)
    return tuple(result)


def _ends(
    graph: Graph, structure: Structure, signals: Mapping[str, Signal | None], opened: Segments
) -> dict[int, list[_End]]:
    """Segment -> where it ends: normalisations off the residual branches, heads, or else the main output."""
    ends: dict[int, list[_End]] = {}
    # What is computed from parameters alone has no input to lose.
    dependent = set(graph.inputs)
    for node in graph.nodes:
        if dependent.isdisjoint(node.inputs):
            continue
        # An integer read as a number (a time) is no data that could get lost.
        if node.op is not Op.REAL:
            dependent.update(node.outputs)
        if node.inputs[0] not in dependent:
            continue
        x = signals.get(node.inputs[0]) if node.inputs and node.name in structure.active else None
        if x is None:
            continue
        y = signals.get(node.outputs[0]) if node.outputs else None
        if node.name in opened.closings and node.name not in structure.on_branch:
            ends.setdefault(x.segment, []).append(_End(node, x, opened.closings[node.name], closed=True))
        elif node.name in structure.heads:
            last = y if y is not None and y.segment_gain > x.segment_gain else x
            ends.setdefault(x.segment, []).append(_End(node, last, last.segment_gain, closed=False))
    output = signals.get(graph.main_output)
    producer = structure.producer.get(graph.main_output)
    if not ends and output is not None and producer is not None:
        ends[output.segment] = [_End(producer, output, output.segment_gain, closed=False)]
    return ends


def _segment(
    candidates: list[_End],
    *,
    index: int,
    start: str,
    first_layer: str,
    variance: float,
    attenuation: float,
    lookup: float,
    rise: float,
) -> Segment:
    end = max(candidates, key=lambda item: abs(decades(item.gain)))
    signal = end.signal
    return Segment(
        index=index,
        start=start,
        end=end.node.name,
        first_layer=first_layer,
        closed=end.closed,
        signal_gain=decades(end.gain),
        largest_attenuation=attenuation,
        lookup_scale=lookup,
        length_gain=decades(signal.mean_square / signal.start_mean_square) if signal.start_mean_square > 0.0 else 0.0,
        residual_growth=min(max(item.signal.growth for item in candidates), rise),
        log_length_variance=variance,
        uncertainty=signal.uncertainty,
        assumed=any(item.signal.assumed for item in candidates),
    )
