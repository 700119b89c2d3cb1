"""INI102: the signal blows up on its way through the network."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

from initcheck import Bounds, Builder, FailureMode, Finding, Need, Optimizer, Severity
from initcheck_rules.remedy import initialization_code
from initcheck_rules.steps import blamed, cause_of, steps_of
from initcheck_rules.variance import CHAOS, SIGNAL_GAIN, capped, segment_name
from initcheck_rules.wording import count_of, power_of_ten

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from initcheck import Analysis, Graph, Segment

__all__ = ["ExplodingSignal"]


@dataclass(frozen=True, slots=True)
class ExplodingSignal:
    """The signal blows up on its way through the network.

    What it checks:
        The mean-square gain of a small perturbation of the input, accumulated from one normalisation to the next
        along the main path, the head included, in expectation over the weights. Where the length grows with it, it
        warns from 10^4 and is an error from 10^6 (Adam: 10^11 and 10^13); where the length does not (saturating
        activations, or a normalisation at the end), from 10^6 and 10^8 (Adam: 10^8 and 10^12).

    Why it fails:
        Each layer multiplies the perturbation by fan_in · E[w²] · E[f'²]. Above one, the product grows exponentially
        with depth: logits and gradients leave the range in which any learning rate works, and finally that of the
        number format (Hanin and Rolnick 2018, failure mode 1: E[M_d] = κ^d M_0).

    Example:
        ``nn.init.normal_(layer.weight, std=1.0)`` in a network of fifteen layers of width 100: each multiplies the mean
        square by 50.

    Instead:
        Draw with the variance that the activation needs: ``nn.init.kaiming_normal_(layer.weight,
        nonlinearity="relu")``; or normalise between the layers.

    Limits:
        Growth at residual additions is left out: it is INI201's, which has bounds of its own and names the branch
        scale. The bounds are those of the trainer (``--optimizer``), measured on networks of tens of layers.

    References:
        Hanin and Rolnick, How to Start Training (arXiv 1803.01719), theorem on FM1. He et al. (arXiv 1502.01852).
    """

    code: ClassVar[str] = "INI102"
    name: ClassVar[str] = "exploding-signal"
    failure_mode: ClassVar[FailureMode] = FailureMode.EXPLODING
    severity: ClassVar[Severity] = Severity.ERROR
    needs: ClassVar[frozenset[Need]] = frozenset({Need.GRAPH, Need.SIGNAL, Need.INITIALIZATION})
    subsumes: ClassVar[frozenset[str]] = frozenset(
        {"INI105", "INI106", "INI405", "INI502", "INI503", "INI504", "INI505", "INI506"}
    )

    bounds: Mapping[Optimizer, Bounds] = field(
        default_factory=lambda: SIGNAL_GAIN,
        metadata={"doc": "decades by which the mean squares of the signal and of the activations grow"},
    )
    chaos: Mapping[Optimizer, Bounds] = field(
        default_factory=lambda: CHAOS, metadata={"doc": "decades by which that of the signal alone grows"}
    )

    def check(self, analysis: Analysis) -> Iterator[Finding]:
        """One finding per segment that amplifies the signal too far."""
        bounds = self.bounds[analysis.optimizer]
        for segment in analysis.segments:
            gain = segment.signal_gain - max(segment.residual_growth, 0.0)
            length = -math.inf if segment.closed else segment.length_gain - max(segment.residual_growth, 0.0)
            candidates = ((bounds, min(gain, length)), (self.chaos[analysis.optimizer], gain - max(length, 0.0)))
            judged = [(limits.judge(value, segment.uncertainty), limits) for limits, value in candidates]
            worst, limits = max(judged, key=lambda item: item[0].rank)
            severity = capped(analysis, segment, worst)
            if severity is not Severity.OFF:
                yield self._finding(analysis, segment, severity, limits, gain)

    def _finding(
        self, analysis: Analysis, segment: Segment, severity: Severity, bounds: Bounds, gain: float
    ) -> Finding:
        guilty = blamed(steps_of(analysis, segment, with_head=True), 1.0)
        layers = [step.layer for step in guilty if step.layer is not None]
        reached = bounds.error if gain - segment.uncertainty >= bounds.error else bounds.warning
        start = guilty[0].path if guilty else segment.first_layer
        return Finding(
            code=self.code,
            name=self.name,
            severity=severity,
            failure_mode=self.failure_mode,
            message=(
                f"signal grows to {power_of_ten(gain)} of itself over {count_of(len(guilty), 'layer')} "
                f"(bound {power_of_ten(reached)}), starting at {start}"
            ),
            cause=cause_of(guilty, 1.0),
            help=initialization_code(layers),
            layers=tuple(step.path for step in guilty) or (segment.first_layer,),
            location=layers[0].node.location if layers else None,
            evidence={
                "log10_signal_gain": gain,
                "bound": reached,
                "uncertainty": segment.uncertainty,
                "layers": len(guilty),
            },
            segment=segment_name(segment),
            assumed=segment.assumed,
        )

    @staticmethod
    def bad() -> Graph:
        """Standard normal weights."""
        return _relu_network("normal(0, 1)")

    @staticmethod
    def good() -> Graph:
        """The same network with the variance that ReLU needs."""
        return _relu_network("kaiming_normal")


def _relu_network(init: str) -> Graph:
    b = Builder()
    x = b.x
    for _ in range(14):
        x = b.activation(b.linear(x, 100, init))
    return b.graph(b.linear(x, 10, init))
