"""INI103: weights are drawn by a fan that their operation does not sum over."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

from initcheck import Bounds, Builder, FailureMode, Finding, Need, Op, Optimizer, Severity
from initcheck_rules.absorbed import is_absorbed
from initcheck_rules.fans import find_mismatch
from initcheck_rules.remedy import initialization_code
from initcheck_rules.variance import SIGNAL_GAIN, capped, segment_name, signal_loss
from initcheck_rules.wording import count_of, power_of_ten

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from initcheck import Analysis, Graph, Segment
    from initcheck_rules.fans import Mismatch

__all__ = ["WrongFan"]

LEAST = 1.0
"""Decades of the signal from which a wrong fan is worth a note: plain SGD starts every network within one decade."""

MAJORITY = 0.5
"""Share of a change of the signal from which the fan explains it."""

NAMED = 2
"""Reasons named in a cause."""


@dataclass(frozen=True, slots=True)
class WrongFan:
    """Weights are drawn by a fan that their operation does not sum over.

    What it checks:
        Weights whose variance is one over a fan other than the number of products that one output sums: fan_out where
        widths change, a fan that ignores groups, the second axis of a stacked or transposed weight, the stored shape of
        a transposed convolution. The signal is propagated a second time with the fans put right. Where a segment is
        outside the bounds of INI101 or INI102 and the wrong fans account for at least half of it, it is a warning
        (and as severe as what it explains); where they change the signal by ten or more within the bounds, or on
        a residual branch, a note.

    Why it fails:
        An output is a sum of fan_in products, so its variance is fan_in · Var(w) · E[x²]. With Var(w) = 2/fan_out each
        layer multiplies the mean square by fan_in/fan_out. ``nn.init`` sees a shape, not an operation: of a stack of
        experts (64, 1024, 256) it takes 1024 · 256 = 262,144 for the fan, while 1024 or 256 products are summed.

    Example:
        ``nn.init.kaiming_uniform_(self.experts)`` for a parameter of shape (64, 1024, 256).

    Instead:
        ``nn.init.normal_(self.experts, std=(2 / 1024) ** 0.5)`` with the number that is summed over; mode ``fan_in``
        for layers without normalisation.

    Limits:
        Silent where a normalisation divides by the scale before anything depends on it, as after the convolutions of a
        ResNet, for heads, and for variances within a factor of 1.3 or within sampling error. Laws that name no fan,
        such as normal(0, 0.02), are not compared with one, but for grouped convolutions.

    References:
        He et al., Delving Deep into Rectifiers (arXiv 1502.01852), sections 2.2 and 2.3 on both modes. PyTorch,
        ``torch.nn.init``, the function _calculate_fan_in_and_fan_out.
    """

    code: ClassVar[str] = "INI103"
    name: ClassVar[str] = "wrong-fan"
    failure_mode: ClassVar[FailureMode] = FailureMode.VANISHING
    severity: ClassVar[Severity] = Severity.WARNING
    needs: ClassVar[frozenset[Need]] = frozenset({Need.GRAPH, Need.SIGNAL, Need.INITIALIZATION})
    subsumes: ClassVar[frozenset[str]] = frozenset({"INI101", "INI102"})

    bounds: Mapping[Optimizer, Bounds] = field(default_factory=lambda: SIGNAL_GAIN)

    def check(self, analysis: Analysis) -> Iterator[Finding]:
        """One finding per segment, and one for all residual branches, that the right fans would change."""
        active = [layer for layer in analysis.layers if layer.node.name in analysis.structure.active]
        wrong = [mismatch for layer in active if (mismatch := find_mismatch(layer)) is not None]
        wrong = [mismatch for mismatch in wrong if not is_absorbed(analysis, mismatch.layer.node)]
        if not wrong:
            return
        mended = analysis.with_laws({mismatch.layer.node.inputs[1]: mismatch.mended for mismatch in wrong})
        after = {segment.index: segment for segment in mended.segments}
        for segment in analysis.segments:
            if segment.index in after:
                yield from self._judge(analysis, segment, after[segment.index], wrong)
        yield from self._on_branches(analysis, mended, wrong)
        untold = [mismatch for mismatch in wrong if not _can_tell(mended, mismatch)]
        if untold:
            yield from self._alone(analysis, untold)

    def _judge(
        self, analysis: Analysis, segment: Segment, after: Segment, wrong: Sequence[Mismatch]
    ) -> Iterator[Finding]:
        """The finding of one segment, if the fans explain what is wrong with it."""
        gain = segment.signal_gain
        change = abs(gain) - abs(after.signal_gain)
        inside = [mismatch for mismatch in wrong if _is_inside(analysis, mismatch, segment)]
        if not math.isfinite(change) or not inside:
            return
        bounds = self.bounds[analysis.optimizer]
        size = signal_loss(segment) if gain < 0.0 else gain
        reached = bounds.judge(size, segment.uncertainty) is not Severity.OFF
        if change < (MAJORITY * abs(gain) if reached else LEAST):
            return
        severity = capped(analysis, segment, Severity.WARNING) if reached else Severity.NOTE
        bound = bounds.warning if reached else LEAST
        moves = "shrinks" if gain < 0.0 else "grows"
        yield self._finding(
            analysis,
            inside,
            severity,
            message=(
                f"signal {moves} to {power_of_ten(gain)} of itself (bound {power_of_ten(math.copysign(bound, gain))}), "
                f"with the fan that {count_of(len(inside), 'layer')} should be drawn by to "
                f"{power_of_ten(after.signal_gain)}, starting at {inside[0].layer.path}"
            ),
            numbers={"log10_signal_gain": gain, "log10_signal_gain_mended": after.signal_gain, "bound": bound},
            segment=segment,
        )

    def _on_branches(self, analysis: Analysis, mended: Analysis, wrong: Sequence[Mismatch]) -> Iterator[Finding]:
        """A note for branches that give far less than the right fans would."""
        lost: dict[str, float] = {}
        for residual in analysis.structure.residuals.values():
            before, after = (side.forward.signals.get(residual.branch) for side in (analysis, mended))
            if before is not None and after is not None and before.gain > 0.0 and after.gain > 0.0:
                lost[residual.node] = math.log10(after.gain / before.gain)
        inside = [mismatch for mismatch in wrong if lost.get(mismatch.layer.on_branch, 0.0) >= LEAST]
        if not inside:
            return
        worst = max(lost[mismatch.layer.on_branch] for mismatch in inside)
        branches = count_of(len({mismatch.layer.on_branch for mismatch in inside}), "addition")
        yield self._finding(
            analysis,
            inside,
            Severity.NOTE,
            message=(
                f"what is added at {branches} to the residual stream is {power_of_ten(-worst)} of what it is "
                f"with the fan that {count_of(len(inside), 'layer')} should be drawn by "
                f"(bound {power_of_ten(-LEAST)}), starting at {inside[0].layer.path}"
            ),
            numbers={"log10_branch_gain_lost": worst, "bound": LEAST},
        )

    def _alone(self, analysis: Analysis, untold: Sequence[Mismatch]) -> Iterator[Finding]:
        """A note for layers behind which the signal is not known, judged by themselves."""
        far = [mismatch for mismatch in untold if abs(mismatch.decades) >= LEAST]
        if far:
            decades = far[0].decades
            yield self._finding(
                analysis,
                far,
                Severity.NOTE,
                message=(
                    f"{far[0].layer.path} gives {power_of_ten(decades)} of the mean square that it gives with the fan "
                    f"that it should be drawn by (bound {power_of_ten(math.copysign(LEAST, decades))}), "
                    f"as {count_of(len(far), 'layer')} in all"
                ),
                numbers={"log10_ratio": decades, "bound": LEAST},
            )

    def _finding(
        self,
        analysis: Analysis,
        inside: Sequence[Mismatch],
        severity: Severity,
        *,
        message: str,
        numbers: Mapping[str, float],
        segment: Segment | None = None,
    ) -> Finding:
        grows = numbers.get("log10_signal_gain", -1.0) > 0.0
        first = inside[0]
        return Finding(
            code=self.code,
            name=self.name,
            severity=severity,
            failure_mode=FailureMode.EXPLODING if grows else self.failure_mode,
            message=message,
            cause=_cause(inside),
            help=_remedy(analysis, first),
            layers=tuple(dict.fromkeys(mismatch.layer.path for mismatch in inside)),
            location=first.layer.node.location,
            evidence={**numbers, "layers": len(inside), "fan_counted": first.counted, "fan_summed": first.summed},
            segment=segment_name(segment) if segment is not None else "",
            assumed=segment.assumed if segment is not None else False,
        )

    @staticmethod
    def bad() -> Graph:
        """Depthwise convolutions drawn by a fan_out that counts all groups."""
        return _separable("kaiming_normal(fan_out)")

    @staticmethod
    def good() -> Graph:
        """The same network drawn by fan_in."""
        return _separable("kaiming_normal")


def _is_inside(analysis: Analysis, mismatch: Mismatch, segment: Segment) -> bool:
    signal = analysis.signal_out_of(mismatch.layer.node)
    return signal is not None and signal.segment == segment.index and not mismatch.layer.on_branch


def _remedy(analysis: Analysis, mismatch: Mismatch) -> str:
    """Code for a layer: by name where ``nn.init`` counts its fan right, else with the number."""
    node = mismatch.layer.node
    stored = analysis.graph.source == "torch" and node.attributes.get("out_axis") not in {0, None}
    stacked = mismatch.layer.weight is not None and len(mismatch.layer.weight.shape) > 2
    if node.op is Op.CONV or (node.op is Op.LINEAR and not stored and not stacked):
        return initialization_code([mismatch.layer])
    return f"nn.init.normal_(layer.weight, std={mismatch.mended.std:.3g})"


def _can_tell(mended: Analysis, mismatch: Mismatch) -> bool:
    """Whether a signal from a layer reaches the end of its branch or segment, which shows what its scale does."""
    layer = mismatch.layer
    if layer.on_branch:
        end = mended.forward.signals.get(mended.structure.residuals[layer.on_branch].branch)
        return end is not None and end.gain > 0.0
    signal = mended.signal_out_of(layer.node)
    segments = (s for s in mended.segments if signal is not None and s.index == signal.segment)
    return any(math.isfinite(segment.signal_gain) for segment in segments)


def _cause(inside: Sequence[Mismatch]) -> str:
    reasons = Counter(mismatch.reason for mismatch in inside)
    first = inside[0]
    numbers = f"{first.layer.path} is drawn by {first.counted:.6g} in place of {first.summed:.6g}"
    return f"{numbers}: {'; '.join(reason for reason, _ in reasons.most_common(NAMED))}"


def _separable(init: str) -> Graph:
    b = Builder((32, 64, 16, 16))
    x = b.x
    for _ in range(4):
        x = b.conv(x, 64, init, groups=64, bias="uniform(±1/√fan_in)")
        x = b.activation(b.conv(x, 64, init, kernel=1))
    return b.graph(b.linear(b.pool(x), 10))
