"""INI301: layers so narrow for the depth that the length of the signal is a lottery."""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

from initcheck import Bounds, Builder, FailureMode, Finding, Need, Optimizer, Quantity, Severity
from initcheck_rules.variance import segment_name
from initcheck_rules.wording import count_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from initcheck import Analysis, Graph, Segment

__all__ = ["WidthReciprocalSum"]

BETA: Mapping[Optimizer, Bounds] = {Optimizer.SGD: Bounds(4.5, 6.0), Optimizer.ADAM: Bounds(5.0, 8.0)}
"""Bounds of β = Var[ln M]/5, which is Σ 1/n over the hidden layers of a plain Gaussian ReLU network.

At β = 4.2 two standard deviations of log10 M are four decades, the bound of the mean. With momentum and the best of
several rates SGD starts networks of 4.2 in most draws (Σ 1/n = 2.35, the excess is due to layers of width 4) and none
from 5.1 on; plain SGD at one rate already fails from 1 (8 ReLU networks each), Adam from 2.
"""

VARIANCE_PER_BETA = 5.0
"""Var[ln M] of a layer of n Gaussian ReLU units is 5/n (Hanin and Nica 2018)."""

NAMED = 3
"""Layers named in the cause."""


@dataclass(frozen=True, slots=True)
class WidthReciprocalSum:
    """Layers so narrow for the depth that the length of the signal is a lottery.

    What it checks:
        β, the sum of reciprocal widths Σ 1/n of the hidden layers since the last normalisation, in its general form
        Var[ln M]/5, where M is the normalised squared length: it accounts for the activation, for skip connections, for
        convolutions (positions count only while decorrelated) and for the law of the weights. It warns from 4.5 and is
        an error from 6 (Adam: 5 and 8).

    Why it fails:
        Even with the right variance the length of one network is a product of random factors, one per layer, each
        with variance 5/n in its logarithm. E[M²]/E[M]² grows like exp(5 Σ 1/n): some layers are so quiet that they do
        not learn, others so loud that they are re-randomised at each step (Hanin and Rolnick 2018, failure mode 2).

    Example:
        A ReLU network of 100 layers of width 10: β = 9.9, the standard deviation of log10 M is 3.

    Instead:
        Let the width grow about linearly with depth, avoid bottlenecks (equal widths minimise Σ 1/n for a given
        number of units), or add skip connections or normalisation, which dilute or end the product.

    Limits:
        Close to exact for plain layers down to a few units, within a factor of two for convolutions, residual networks
        and weights that are used many times. Recurrent layers are not unrolled.

    References:
        Hanin and Rolnick, How to Start Training (arXiv 1803.01719), theorem on FM2. Hanin and Nica, Products of Many
        Large Random Matrices (arXiv 1812.05994): ln M is asymptotically normal with variance 5 Σ 1/n.
    """

    code: ClassVar[str] = "INI301"
    name: ClassVar[str] = "width-reciprocal-sum"
    failure_mode: ClassVar[FailureMode] = FailureMode.FLUCTUATION
    severity: ClassVar[Severity] = Severity.ERROR
    needs: ClassVar[frozenset[Need]] = frozenset({Need.GRAPH, Need.SIGNAL})
    subsumes: ClassVar[frozenset[str]] = frozenset({"INI302"})

    bounds: Mapping[Optimizer, Bounds] = field(
        default_factory=lambda: BETA, metadata={"doc": "β, the sum of reciprocal widths"}
    )

    def check(self, analysis: Analysis) -> Iterator[Finding]:
        """One finding per segment whose widths are too small for its depth."""
        bounds = self.bounds[analysis.optimizer]
        for segment in analysis.typical.segments:
            # What products make of widths is not known where one of their operands was not understood.
            variance = segment.log_length_variance
            known = sum(_shares(analysis, segment).values()) if segment.assumed else variance
            variance = min(variance, known)
            if bounds.judge(variance / VARIANCE_PER_BETA) is not Severity.OFF:
                yield self._finding(analysis, segment, variance, bounds)

    def _finding(self, analysis: Analysis, segment: Segment, variance: float, bounds: Bounds) -> Finding:
        beta = variance / VARIANCE_PER_BETA
        deviation = math.sqrt(variance) / math.log(10.0)
        shares = _shares(analysis, segment)
        reached = bounds.error if beta >= bounds.error else bounds.warning
        layers = [layer for layer in analysis.layers if layer.path in shares]
        start = layers[0].path if layers else segment.first_layer
        return Finding(
            code=self.code,
            name=self.name,
            severity=bounds.judge(beta),
            failure_mode=self.failure_mode,
            message=(
                f"widths give a sum of reciprocals β = {beta:.1f} over {count_of(len(shares), 'layer')} "
                f"(bound {reached:g}), starting at {start}: log10 length varies by ±{deviation:.1f} between draws"
            ),
            cause=_cause(shares),
            help=_help(analysis, shares, bounds.warning),
            layers=tuple(dict.fromkeys(layer.path for layer in layers)) or (segment.first_layer,),
            location=layers[0].node.location if layers else None,
            evidence={"beta": beta, "bound": reached, "log10_length_deviation": deviation, "layers": len(shares)},
            segment=segment_name(segment),
            assumed=segment.assumed,
        )

    @staticmethod
    def bad() -> Graph:
        """A hundred layers of width 10."""
        return _relu_network(10)

    @staticmethod
    def good() -> Graph:
        """The same depth with width 200."""
        return _relu_network(200)


def _shares(analysis: Analysis, segment: Segment) -> dict[str, float]:
    """Layer path -> part of Var[ln M] that its width injects."""
    shares: defaultdict[str, float] = defaultdict(float)
    for entry in analysis.typical.ledger:
        if entry.quantity is Quantity.FLUCTUATION and entry.segment == segment.index:
            shares[entry.path] += entry.amount
    return dict(shares)


def _cause(shares: Mapping[str, float]) -> str:
    total = sum(shares.values())
    largest = sorted(shares.items(), key=lambda item: item[1], reverse=True)[:NAMED]
    if not largest or total <= 0.0:
        return ""
    if largest[0][1] < 2.0 * total / len(shares):
        return f"every layer adds about {total / len(shares) / VARIANCE_PER_BETA:.2g}"
    return "most come from " + ", ".join(f"{path} ({amount / total:.0%})" for path, amount in largest)


def _help(analysis: Analysis, shares: Mapping[str, float], bound: float) -> str:
    """The common width at which β would be at the bound: a layer adds in inverse proportion to its width."""
    units = {layer.path: _width(analysis, layer.path) for layer in analysis.layers if layer.path in shares}
    needed = sum(shares[path] * width for path, width in units.items()) / (VARIANCE_PER_BETA * bound)
    if needed <= 0.0:
        return "make these layers wider, or add skip connections or normalisation"
    return f"make these layers at least {math.ceil(needed)} wide, or add skip connections or normalisation between them"


def _width(analysis: Analysis, path: str) -> int:
    layer = next(layer for layer in analysis.layers if layer.path == path)
    signal = analysis.signal_out_of(layer.node)
    return signal.units if signal is not None else 0


def _relu_network(width: int) -> Graph:
    b = Builder()
    x = b.x
    for _ in range(100):
        x = b.activation(b.linear(x, width))
    return b.graph(b.linear(x, 10))
