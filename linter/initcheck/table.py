"""The layer table and the numbers of a model in one line."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from initcheck.flow import is_weighted
from initcheck.graph import Op
from initcheck.report import LayerRow, Summary, WeightRow

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from initcheck.analysis import Analysis, Layer
    from initcheck.graph import Graph, Node
    from initcheck.signal.signal import Signal

__all__ = ["layer_rows", "row_values", "summary"]


def layer_rows(analysis: Analysis) -> tuple[LayerRow, ...]:
    """One row per weighted layer, normalisation and activation module, in order of the graph.

    A module that is called several times has the row of its first call; an activation spelled out in several operations
    has one row, with the values of the last. A function that a module calls on the side is no module and has no row.
    """
    layers = {layer.node.name: layer for layer in analysis.layers}
    poisoned = _poisoned(analysis.graph)
    return tuple(
        _row(analysis, node, last, layers.get(node.name), poisoned=last.name in poisoned)
        for node, last in _modules(analysis.graph)
    )


def row_values(graph: Graph) -> tuple[str, ...]:
    """Name of the value that each row of ``layer_rows`` shows, in their order."""
    return tuple(last.outputs[0] for _, last in _modules(graph))


def summary(analysis: Analysis) -> Summary:
    """The segment that is worst in each quantity."""
    segments = analysis.segments
    variance = max((segment.log_length_variance for segment in segments), default=None)
    return Summary(
        log10_signal_gain=_worst(segment.signal_gain for segment in segments),
        log10_length_gain=_worst(segment.length_gain for segment in segments),
        log10_residual_growth=_worst(segment.residual_growth for segment in segments),
        beta=None if variance is None or not math.isfinite(variance) else variance / 5.0,
        log10_gradient_ratio=analysis.gradient_path[0].log10_energy if analysis.gradient_path else None,
        residual_blocks=len(analysis.structure.residuals),
        segments=len(segments),
    )


def _modules(graph: Graph) -> Iterator[tuple[Node, Node]]:
    """(node that names the row, node whose output it shows), first calls only."""
    paths = {node.path for node in graph.nodes}
    containers = {path[:end] for path in paths for end, character in enumerate(path) if character == "."}
    seen: set[tuple[str, str]] = set()
    for at, node in enumerate(graph.nodes):
        last = node
        if is_weighted(graph, node):
            weight = next(name for name in node.inputs if name in graph.parameters)
            key = (_path(node), weight)
        elif node.op is Op.NORMALIZE:
            key = (_path(node), "")
        elif node.op is Op.ELEMENTWISE and node.path not in containers:
            key = (_path(node), "")
            last = _end_of_call(graph, at)
        else:
            continue
        if key not in seen:
            seen.add(key)
            yield node, last


def _end_of_call(graph: Graph, start: int) -> Node:
    """Last node of an activation's path that comes right after it."""
    path = graph.nodes[start].path
    end = start
    while path and end + 1 < len(graph.nodes) and graph.nodes[end + 1].path == path:
        end += 1
    return graph.nodes[end]


def _poisoned(graph: Graph) -> frozenset[str]:
    """Nodes whose output is computed from a parameter that is not finite everywhere."""
    values: set[str] = {name for name, parameter in graph.parameters.items() if parameter.distribution.nonfinite}
    nodes: set[str] = set()
    for node in graph.nodes:
        if any(name in values for name in node.inputs):
            nodes.add(node.name)
            values.update(node.outputs)
    return frozenset(nodes)


def _row(analysis: Analysis, node: Node, last: Node, layer: Layer | None, *, poisoned: bool) -> LayerRow:
    signal = analysis.typical.signals.get(last.outputs[0])
    expected = analysis.forward.signals.get(last.outputs[0])
    gradient = analysis.typical_backward.gradients.get(last.outputs[0])
    return LayerRow(
        path=_path(node),
        kind=node.kind or node.op.value,
        fan_in=layer.fan_in or None if layer else None,
        fan_out=layer.fan_out or None if layer else None,
        width=signal.units if signal else None,
        weight=_weight_row(layer) if layer else None,
        log10_mean_square=None if poisoned else _log10(signal.mean_square if signal else None),
        log10_mean_square_expected=None if poisoned else _log10(expected.mean_square if expected else None),
        log10_signal=None if poisoned else _log10(signal.gain if signal else None),
        log10_gradient_mean_square=None if poisoned else _log10(gradient.mean_square if gradient else None),
        log_length_variance=signal.log_length_variance() if signal else None,
        uncertainty=signal.uncertainty if signal else None,
        state=_state(signal, poisoned=poisoned),
        assumed=signal.assumed if signal else False,
        location=node.location,
    )


def _weight_row(layer: Layer) -> WeightRow | None:
    if layer.weight is None:
        return None
    law = layer.weight.distribution
    return WeightRow(law.scheme, law.mean, law.std, law.kurtosis, law.exact)


def _state(signal: Signal | None, *, poisoned: bool) -> str:
    if poisoned or (signal is not None and not math.isfinite(signal.mean_square)):
        return "nonfinite"
    if signal is None:
        return "unknown"
    return "ok" if signal.mean_square > 0.0 else "zero"


def _path(node: Node) -> str:
    return node.path or node.name


def _log10(value: float | None) -> float | None:
    return math.log10(value) if value is not None and 0.0 < value < math.inf else None


def _worst(values: Iterable[float]) -> float | None:
    """The value farthest from zero; None where it is none or infinite."""
    worst = max(values, key=abs, default=None)
    return worst if worst is not None and math.isfinite(worst) else None
