"""Predictions beside measurements: which values count as operations, what is compared, what is a hit."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from accuracy_measure import LN10, Logs, Measured
from accuracy_predict import gain, gradient, length, log10, parameter_gradient

from initcheck.graph import Graph, Node, Op

if TYPE_CHECKING:
    from collections.abc import Iterator

    from initcheck.analysis import Analysis
    from initcheck.signal.gradient import Gradient
    from initcheck.signal.signal import Signal

__all__ = ["Quantity", "Row", "Status", "compare", "last_layer_input", "operations", "variance_row"]

MOVES = frozenset({Op.RESHAPE, Op.TRANSPOSE, Op.EXPAND, Op.IDENTITY, Op.SLICE, Op.SPLIT})
"""Operations that compute nothing: what they give is not compared a second time."""


class Quantity(StrEnum):
    """What is compared."""

    LENGTH = "forward length"
    GAIN = "gain"
    GRADIENT = "gradient"
    GRADIENT_QK = "gradient, queries and keys"
    PARAMETER = "parameter gradient"
    VARIANCE = "Var[ln M]"


ALLOWED = {
    Quantity.LENGTH: 0.1,
    Quantity.GAIN: 0.1,
    Quantity.GRADIENT: 0.3,
    Quantity.GRADIENT_QK: 1.0,
    Quantity.PARAMETER: 0.3,
    Quantity.VARIANCE: math.log10(1.5),
}
"""Decades between prediction and measurement that are a hit; two standard errors of the measurement are one as well."""


class Status(StrEnum):
    """Whether the engine stands by its prediction."""

    KNOWN = "known"
    ASSUMED = "assumed"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class Row:
    """One number, predicted and measured; all in log10.

    Attributes:
        model: Name in the zoo.
        quantity: What it is.
        value: Name of the value, or of the parameter.
        op: Operation that makes the value.
        path: Layer.
        status: Whether the engine understood every operation before it.
        predicted: Of the typical path, None where the engine says nothing.
        plain: Of plain mean field, likewise.
        measured: Mean over networks.
        error: Its standard error.
        zeros: Samples left out because they were zero.
    """

    model: str
    quantity: Quantity
    value: str
    op: str
    path: str
    status: Status
    predicted: float | None
    plain: float | None
    measured: float
    error: float
    zeros: int = 0

    @property
    def miss(self) -> float:
        """Decades between prediction and measurement."""
        return distance(self.predicted, self.measured)

    @property
    def excess(self) -> float:
        """Decades by which the prediction is too large."""
        return math.nan if self.predicted is None else self.predicted - self.measured

    @property
    def plain_miss(self) -> float:
        """The same of plain mean field."""
        return distance(self.plain, self.measured)

    @property
    def is_hit(self) -> bool:
        """Whether the prediction is as good as was asked for."""
        return self.miss <= max(ALLOWED[self.quantity], 2.0 * self.error)

    def as_json(self) -> dict[str, Any]:
        """Fields and verdict; numbers that are not finite as text."""
        fields = vars(self)
        return {**fields, "hit": self.is_hit} | {
            name: str(number)
            for name, number in fields.items()
            if isinstance(number, float) and not math.isfinite(number)
        }


def distance(predicted: float | None, measured: float) -> float:
    """Decades between two logarithms; zero and zero (both minus infinity) agree."""
    if predicted is None:
        return math.nan
    return 0.0 if predicted == measured else abs(predicted - measured)


def operations(graph: Graph) -> dict[str, Node]:
    """Real-valued values that an operation computes from the model's input -> the operation."""
    found: dict[str, Node] = {}
    reached = set(graph.inputs)
    for node in graph.nodes:
        if not reached.intersection(node.inputs):
            continue
        reached.update(node.outputs)
        if node.op not in MOVES:
            found.update((name, node) for name in node.outputs if graph.values[name].is_float)
    return found


def label(node: Node) -> str:
    """Operation with what distinguishes it: ``elementwise gelu``."""
    detail = next((str(node.attributes[k]) for k in ("function", "kind", "cell", "type") if k in node.attributes), "")
    return f"{node.op.value} {detail}".rstrip()


def compare(model: str, analysis: Analysis, measured: Measured) -> Iterator[Row]:
    """Rows of one model: lengths, gains, gradients of values and of parameters."""
    nodes = operations(analysis.graph)
    main_path = _main_path(analysis.graph)
    # Where a mask has put minus infinity, there is no length, and nothing of a response.
    masked = {name for name, logs in measured.lengths.items() if logs.infinite}
    for name, node in nodes.items():
        typical, plain = analysis.typical.signals.get(name), analysis.forward.signals.get(name)
        for quantity, logs, predict in (
            (Quantity.LENGTH, measured.lengths.get(name), length),
            (Quantity.GAIN, measured.gains.get(name), gain),
        ):
            if logs is None or name in masked:
                continue
            first = None if typical is None else predict(typical)
            second = None if plain is None else log10(plain.mean_square if predict is length else plain.gain)
            yield _row(model, quantity, name, node, _status(typical), first, second, logs)
        logs = measured.gradients.get(name)
        if logs is not None and not logs.infinite:
            quantity = Quantity.GRADIENT if name in main_path else Quantity.GRADIENT_QK
            found, mean_field = (back.gradients.get(name) for back in (analysis.typical_backward, analysis.backward))
            first = None if found is None or typical is None else gradient(found, typical)
            second = None if mean_field is None else log10(mean_field.mean_square)
            yield _row(model, quantity, name, node, _status(found), first, second, logs)
    yield from _parameters(model, analysis, measured)


def _parameters(model: str, analysis: Analysis, measured: Measured) -> Iterator[Row]:
    readers = {name: node for node in reversed(analysis.graph.nodes) for name in node.inputs}
    for name, logs in measured.parameters.items():
        if name not in readers or logs.infinite:
            continue
        square, plain = (back.parameters.get(name) for back in (analysis.typical_backward, analysis.backward))
        first = None if square is None else parameter_gradient(square, analysis.graph.parameters[name].size)
        second = None if plain is None else log10(plain)
        status = Status.UNKNOWN if square is None else Status.KNOWN
        yield _row(model, Quantity.PARAMETER, name, readers[name], status, first, second, logs)


def last_layer_input(analysis: Analysis) -> str:
    """What the last weighted layer on the way to the main output reads; empty where it has none."""
    heads = [node for node in analysis.graph.nodes if node.name in analysis.structure.heads]
    return heads[-1].inputs[0] if heads else ""


def variance_row(model: str, analysis: Analysis, value: str, measured: tuple[float, float]) -> Row:
    """Var[ln M] of one value."""
    typical, plain = analysis.typical.signals.get(value), analysis.forward.signals.get(value)
    node = analysis.structure.producer[value]
    first, second = (None if x is None else log10(x.log_length_variance()) for x in (typical, plain))
    variance, error = measured
    return Row(
        *(model, Quantity.VARIANCE, value, label(node), node.path, _status(typical), first, second),
        measured=log10(variance),
        error=error / variance / LN10,
    )


def _row(
    model: str,
    quantity: Quantity,
    name: str,
    node: Node,
    status: Status,
    predicted: float | None,
    plain: float | None,
    logs: Logs,
) -> Row:
    measured = logs.mean if logs.numbers else -math.inf
    return Row(
        *(model, quantity, name, label(node), node.path, status, predicted, plain),
        measured=measured,
        error=logs.error if len(logs.numbers) > 1 else 0.0,
        zeros=logs.zeros,
    )


def _status(found: Signal | Gradient | None) -> Status:
    if found is None:
        return Status.UNKNOWN
    return Status.ASSUMED if found.assumed else Status.KNOWN


def _main_path(graph: Graph) -> frozenset[str]:
    """Values that the main output hangs on by another way than through attention's scores."""
    reached = {graph.main_output}
    for node in reversed(graph.nodes):
        if not reached.intersection(node.outputs):
            continue
        if node.op is Op.ATTENTION:
            reached.update(node.inputs[2:])
        elif node.op is not Op.SOFTMAX or graph.main_output in node.outputs:
            reached.update(node.inputs)
    return frozenset(reached)
