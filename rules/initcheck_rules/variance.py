"""What the rules on signal variance share: their bounds, and what caps them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from initcheck import Bounds, Op, Optimizer, Quantity, Severity

if TYPE_CHECKING:
    from collections.abc import Mapping

    from initcheck import Analysis, Node, Segment

__all__ = ["CHAOS", "SIGNAL_GAIN", "capped", "inference_norms", "segment_name", "signal_loss"]

SIGNAL_GAIN: Mapping[Optimizer, Bounds] = {Optimizer.SGD: Bounds(4.0, 6.0), Optimizer.ADAM: Bounds(11.0, 13.0)}
"""Decades that a signal may change by, as mean square.

Of 8 ReLU networks of 20 layers, plain SGD starts none at 10^-4 or 10^6, and all between 10^-0.9 and 10^0.8; Adam
starts all from 10^-6 to 10^4.1 and one at 10^-12. With momentum and the best of several rates SGD starts networks up
to 3.8 decades and fails from 5. Adam divides each gradient by its own size: at the best of two rates it starts networks
of 10^-10 and 10^8.4 and fails from 10^-13 and 10^14.8 (with exceptions on both sides: one of 10^-8.6 fails, one of
10^25 starts).
"""

CHAOS: Mapping[Optimizer, Bounds] = {Optimizer.SGD: Bounds(6.0, 8.0), Optimizer.ADAM: Bounds(8.0, 12.0)}
"""Decades that a perturbation may grow by while the length does not: two inputs part exponentially, gradients grow.

The logits stay in range, so that a smaller rate helps longer: a tanh network of 5.3 decades starts under SGD, chains of
batch normalisation start at 4.7 and not at 15.
"""


_PRODUCTS = frozenset({Op.MUL, Op.DIV, Op.MATMUL})


def inference_norms(analysis: Analysis) -> tuple[Node, ...]:
    """Batch normalisations that use stored statistics which no training has touched: mean 0, variance 1."""
    return tuple(node for node in analysis.graph.nodes if node.op is Op.NORMALIZE and _untouched(analysis, node))


def capped(analysis: Analysis, segment: Segment, severity: Severity) -> Severity:
    """At most a note where a normalisation of the training network does not act in the graph at hand.

    So it is where most of what is found comes from products of values of which one rests on an operation that was not
    understood: layers and functions act on a guess as they would on the value, products square what is wrong with it.
    """
    if severity is Severity.OFF:
        return severity
    if segment.assumed and 2.0 * abs(_by_products(analysis, segment)) > abs(segment.signal_gain):
        return Severity.NOTE
    norms = inference_norms(analysis)
    signals = (analysis.signal_out_of(node) for node in norms)
    inside = any(signal is not None and signal.segment == segment.index for signal in signals)
    return Severity.NOTE if inside or analysis.graph.folded_normalization else severity


def _by_products(analysis: Analysis, segment: Segment) -> float:
    """Decades that products and quotients of values add in a segment."""
    products = {node.name for node in analysis.graph.nodes if node.op in _PRODUCTS}
    return math.fsum(
        entry.amount
        for entry in analysis.forward.ledger
        if entry.segment == segment.index and entry.quantity is Quantity.SIGNAL and entry.node in products
    )


def signal_loss(segment: Segment) -> float:
    """Decades lost, without what the smallest weight alone takes away in a segment that no normalisation ends.

    The gradient of a weight is the product of all the others: one layer a thousand times too small gets a gradient as
    large as in a healthy network and grows at once; twenty layers each a little too small starve one another. So it is
    with an embedding that is small beside what it is added to, or beside the constant of the normalisation behind it.
    """
    if math.isinf(segment.signal_gain):
        return -segment.signal_gain
    if segment.closed:
        return -segment.signal_gain - min(max(-segment.signal_gain, 0.0), -segment.lookup_scale)
    return segment.largest_attenuation - segment.signal_gain


def segment_name(segment: Segment) -> str:
    """Root that findings of one segment share."""
    return f"segment {segment.index}"


def _untouched(analysis: Analysis, node: Node) -> bool:
    if node.attributes["kind"] != "batch" or node.attributes.get("training", True):
        return False
    statistics = [analysis.graph.parameters.get(name) for name in node.inputs[3:5]]
    if len(statistics) < 2 or statistics[0] is None or statistics[1] is None:
        return False
    mean, variance = statistics[0].distribution, statistics[1].distribution
    return mean.is_zero and variance.is_constant and variance.mean == 1.0
