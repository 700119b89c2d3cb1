"""Predictions beside measurements: which values count as operations, what is compared, what is a hit."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from accuracy_measure import LN10, Logs, Measured
from scipy import special

from initcheck.graph import Graph, Node, Op
from initcheck.signal.quadrature import expectation

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from initcheck.analysis import Analysis
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
    def plain_miss(self) -> float:
        """The same of plain mean field."""
        return distance(self.plain, self.measured)

    @property
    def is_hit(self) -> bool:
        """Whether the prediction is as good as was asked for."""
        return self.miss <= max(ALLOWED[self.quantity], 2.0 * self.error)

    def as_json(self) -> dict[str, Any]:
        """Fields and verdict; numbers that are not finite as text."""
        fields = {name: getattr(self, name) for name in self.__slots__} if hasattr(self, "__slots__") else vars(self)
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
        status = _status(typical)
        for quantity, logs, predict in (
            (Quantity.LENGTH, measured.lengths.get(name), length),
            (Quantity.GAIN, measured.gains.get(name), gain),
        ):
            if logs is None or name in masked:
                continue
            first = None if typical is None else predict(typical)
            second = None if plain is None else _log10(plain.mean_square if predict is length else plain.gain)
            yield _row(model, quantity, name, node, status, first, second, logs)
        logs = measured.gradients.get(name)
        if logs is not None and not logs.infinite:
            quantity = Quantity.GRADIENT if name in main_path else Quantity.GRADIENT_QK
            first, second = (_gradient(analysis, fold, name) for fold in ("typical_backward", "backward"))
            yield _row(model, quantity, name, node, _gradient_status(status, first), first, second, logs)
    users = {name: node for node in reversed(analysis.graph.nodes) for name in node.inputs}
    for name, logs in measured.parameters.items():
        if name in users and not logs.infinite:
            first, second = (_parameter(analysis, fold, name) for fold in ("typical_backward", "backward"))
            status = Status.UNKNOWN if first is None else Status.KNOWN
            yield _row(model, Quantity.PARAMETER, name, users[name], status, first, second, logs)


def length(signal: Signal) -> float:
    """Log10 of the typical mean square, of as many units and positions as the value has."""
    return _log10(signal.mean_square) + signal.drift() / math.log(10.0)


def gain(signal: Signal) -> float:
    """Log10 of the typical response, of as many units and positions likewise.

    The response of one unit is slope(z) ξ, ξ standard normal and independent over units and positions, so that its
    mean square over n of them has relative variance c² = (3 E[slope⁴]/E[slope²]² - 1)/n.
    """
    squares = signal.slope * signal.slope
    power = expectation(squares)
    if power <= 0.0 or signal.gain <= 0.0:
        return -math.inf
    relative = (3.0 * expectation(squares * squares) / power**2 - 1.0) / max(signal.units * signal.positions, 1)
    return _log10(signal.gain) + _narrowed(float(special.polygamma(1, max(1.0 / relative, 0.5))))


def _narrowed(variance: float) -> float:
    """Mean of log10 of a mean over few units, less log10 of its expectation.

    A gamma variable of shape k and mean 1 has Var[ln] = ψ'(k), by which the engine states it, and E[ln] = ψ(k) - ln k:
    -ψ'(k)/2 for many units, exact for normal ones however few.
    """
    if variance <= 0.0:
        return 0.0
    low, high = 1e-3, 1e12
    for _ in range(100):
        middle = math.sqrt(low * high)
        low, high = (middle, high) if special.polygamma(1, middle) > variance else (low, middle)
    return float(special.digamma(low) - math.log(low)) / LN10


def last_layer_input(analysis: Analysis) -> str:
    """What the last weighted layer on the way to the main output reads; empty where it has none."""
    heads = [node for node in analysis.graph.nodes if node.name in analysis.structure.heads]
    return heads[-1].inputs[0] if heads else ""


def variance_row(model: str, analysis: Analysis, value: str, measured: tuple[float, float]) -> Row:
    """Var[ln M] of one value."""
    typical, plain = analysis.typical.signals.get(value), analysis.forward.signals.get(value)
    node = analysis.structure.producer[value]
    first, second = (None if x is None else _log10(x.log_length_variance()) for x in (typical, plain))
    variance, error = measured
    return Row(
        *(model, Quantity.VARIANCE, value, label(node), node.path, _status(typical), first, second),
        measured=_log10(variance),
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


def _status(signal: Signal | None) -> Status:
    if signal is None:
        return Status.UNKNOWN
    return Status.ASSUMED if signal.assumed else Status.KNOWN


def _gradient_status(forward: Status, predicted: float | None) -> Status:
    return Status.UNKNOWN if predicted is None else forward


def _gradient(analysis: Analysis, fold: str, name: str) -> float | None:
    """Log10 of a value's predicted gradient mean square."""
    gradients: Mapping[str, Any] = getattr(getattr(analysis, fold, None), "gradients", {})
    gradient = gradients.get(name)
    return None if gradient is None else _log10(gradient.mean_square)


def _parameter(analysis: Analysis, fold: str, name: str) -> float | None:
    """Log10 of a parameter's predicted gradient mean square."""
    parameters: Mapping[str, float | None] = getattr(getattr(analysis, fold, None), "parameters", {})
    square = parameters.get(name)
    return None if square is None else _log10(square)


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


def _log10(square: float) -> float:
    return math.log10(square) if square > 0.0 else -math.inf
