"""INI104: weights have a mean, and it drowns what distinguishes units."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, ClassVar

from initcheck import Bounds, Builder, FailureMode, Finding, Need, Op, Optimizer, Severity, is_zero_below_zero
from initcheck_rules.remedy import initialization_code
from initcheck_rules.shift import shared_shares
from initcheck_rules.switched_off import is_switched_off
from initcheck_rules.variance import SIGNAL_GAIN, capped, segment_name, signal_loss
from initcheck_rules.wording import count_of, power_of_ten, scheme_name

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from initcheck import Analysis, Distribution, Graph, Layer, Segment

__all__ = ["ShiftedWeights"]

HALF = 0.5
"""Share of the output from which the mean dominates it; share of a change of the signal that it then explains."""

NEARLY_ALL = 0.9
"""Share from which a layer passes on one number.

Five ReLU layers of width 64 start under momentum SGD when all are shifted by 0.3 standard deviations (a share of 0.65)
or one of them is uniform(0, 1) (0.99), and do not when three or all are the absolute values of He's (0.97), with batch
normalisation either.
"""

MAJORITY = 0.5
"""Share of the hidden layers from which that is a warning."""


@dataclass(frozen=True, slots=True)
class ShiftedWeights:
    """Weights have a mean, and it drowns what distinguishes units.

    What it checks:
        For each hidden layer whose weights have a mean beyond five standard errors, the share of its output that all
        units have in common, m² (q + (n-1) c) against Var(w) q. From a half on it is a note; where more than half of
        the hidden layers have nine tenths in common, or a segment is outside the bounds of INI101 or INI102 and would
        not be without the mean, a warning (and as severe as what it explains).

    Why it fails:
        The part m Σ xᵢ is the same for every unit. Behind a ReLU the inputs are positive and add up, so it grows with
        n² while the rest grows with n: the layer passes on a single number, n times too large, and all units get
        nearly the same gradient. With a negative mean every pre-activation is negative and ReLU switches the layer off.

    Example:
        ``layer.weight.data.uniform_(0, 1)``, or ``torch.rand(n, m)`` for a weight.

    Instead:
        Draw around zero: ``nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")``.

    Limits:
        Silent in front of a normalisation that subtracts the mean over units (layer, group and instance norm), for
        heads, grouped convolutions, constants and identities, and for weights that mix positions. A layer that the sign
        of its weights alone switches off is INI101's. How the inputs of a layer depend on one another is followed from
        layer to layer only roughly.

    References:
        LeCun et al., Efficient BackProp (1998), section 4.3, on inputs with a mean. Hanin and Rolnick, How to Start
        Training (arXiv 1803.01719), whose theorems ask for weights with a symmetric law.
    """

    code: ClassVar[str] = "INI104"
    name: ClassVar[str] = "shifted-weights"
    failure_mode: ClassVar[FailureMode] = FailureMode.COLLAPSE
    severity: ClassVar[Severity] = Severity.WARNING
    needs: ClassVar[frozenset[Need]] = frozenset({Need.GRAPH, Need.SIGNAL, Need.INITIALIZATION})
    subsumes: ClassVar[frozenset[str]] = frozenset({"INI101", "INI102", "INI105"})

    bounds: Mapping[Optimizer, Bounds] = field(default_factory=lambda: SIGNAL_GAIN)

    def check(self, analysis: Analysis) -> Iterator[Finding]:
        """One finding per segment that a mean spoils, or else one for the layers that pass on one number."""
        shares = {name: share for name, share in shared_shares(analysis).items() if share >= HALF}
        shifted = [layer for layer in analysis.layers if layer.node.name in shares]
        if not shifted or any(is_switched_off(analysis, layer) for layer in shifted):
            return
        mended = analysis.with_laws({layer.node.inputs[1]: _centred(layer) for layer in shifted})
        after = {segment.index: segment for segment in mended.segments}
        bounds = self.bounds[analysis.optimizer]
        spoilt = False
        for segment in analysis.segments:
            reached = bounds.judge(_size(segment), segment.uncertainty) is not Severity.OFF
            inside = [layer for layer in shifted if _is_inside(analysis, layer, segment)]
            if reached and inside:
                spoilt = True
                if _explains(segment, after.get(segment.index)):
                    severity = capped(analysis, segment, Severity.WARNING)
                    yield self._finding(inside, shares, severity, segment, bounds.warning)
        if not spoilt:
            hidden = sum(_is_hidden(analysis, layer) for layer in analysis.layers)
            flooded = sum(share >= NEARLY_ALL for share in shares.values())
            severity = Severity.WARNING if flooded > MAJORITY * hidden else Severity.NOTE
            yield self._finding(shifted, shares, severity, None, HALF)

    def _finding(
        self,
        shifted: Sequence[Layer],
        shares: Mapping[str, float],
        severity: Severity,
        segment: Segment | None,
        bound: float,
    ) -> Finding:
        first = shifted[0]
        share = shares[first.node.name]
        also = "" if segment is None else f", and the signal changes to {power_of_ten(segment.signal_gain)} of itself"
        return Finding(
            code=self.code,
            name=self.name,
            severity=severity,
            failure_mode=self.failure_mode if segment is None else _failure_mode(segment, first),
            message=(
                f"the mean of the weights makes {share:.0%} of the output of {first.path} one number for all units "
                f"(bound {HALF:.0%}), as in {count_of(len(shifted), 'layer')}{also}"
            ),
            cause=_cause(first),
            help=initialization_code([first]),
            layers=tuple(dict.fromkeys(layer.path for layer in shifted)),
            location=first.node.location,
            evidence={
                "shared": share,
                "layers": len(shifted),
                "bound": bound,
                **({} if segment is None else {"log10_signal_gain": _finite(segment.signal_gain)}),
            },
            segment=segment_name(segment) if segment is not None else "",
            assumed=segment.assumed if segment is not None else False,
        )

    @staticmethod
    def bad() -> Graph:
        """Weights between 0 and 1."""
        return _relu_network("uniform(0, 1)")

    @staticmethod
    def good() -> Graph:
        """The same network drawn around zero."""
        return _relu_network("kaiming_uniform")


def _centred(layer: Layer) -> Distribution:
    if layer.weight is None:
        raise ValueError("a layer without a weight has no law")
    return replace(layer.weight.distribution, mean=0.0, scheme="")


def _size(segment: Segment) -> float:
    return signal_loss(segment) if segment.signal_gain < 0.0 else segment.signal_gain


def _explains(segment: Segment, after: Segment | None) -> bool:
    """Whether at least half of what is wrong with a segment goes away with the mean."""
    if after is None or math.isinf(after.signal_gain):
        return False
    return abs(after.signal_gain) <= HALF * abs(segment.signal_gain)


def _is_inside(analysis: Analysis, layer: Layer, segment: Segment) -> bool:
    signal = analysis.signal_out_of(layer.node)
    return signal is not None and signal.segment == segment.index and not layer.on_branch


def _is_hidden(analysis: Analysis, layer: Layer) -> bool:
    mixing = layer.node.op in {Op.LINEAR, Op.CONV, Op.CONV_TRANSPOSE}
    return mixing and not layer.head and layer.node.name in analysis.structure.active


def _failure_mode(segment: Segment, layer: Layer) -> FailureMode:
    if segment.signal_gain > 0.0:
        return FailureMode.EXPLODING
    function = layer.activation.attributes if layer.activation else {}
    negative = layer.weight is not None and layer.weight.distribution.mean < 0.0
    off = negative and is_zero_below_zero(str(function.get("function", "")), function.get("arguments"))
    return FailureMode.DEAD if off else FailureMode.VANISHING


def _cause(layer: Layer) -> str:
    if layer.weight is None:
        return ""
    law = layer.weight.distribution
    return (
        f"{layer.path}: {scheme_name(law)} has mean {law.mean:.3g} beside a standard deviation of {law.std:.3g}, "
        f"and {layer.fan_in} inputs add up"
    )


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _relu_network(init: str) -> Graph:
    b = Builder()
    x = b.x
    for _ in range(4):
        x = b.activation(b.linear(x, 64, init))
    return b.graph(b.linear(x, 10))
