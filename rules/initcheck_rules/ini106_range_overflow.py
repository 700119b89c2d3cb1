"""INI106: activations leave the range of the number format."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, ClassVar

from initcheck import Bounds, Builder, FailureMode, Finding, Need, Op, Quantity, Severity
from initcheck_rules.remedy import initialization_code
from initcheck_rules.steps import blamed, cause_of, steps_of
from initcheck_rules.wording import count_of, power_of_ten

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from initcheck import Analysis, Graph, Node, Signal
    from initcheck_rules.steps import Step

__all__ = ["RangeOverflow"]

PEAK = 5.0
"""Standard deviations that the largest of a few million values reaches."""

SUMS = frozenset({Op.LINEAR, Op.CONV, Op.CONV_TRANSPOSE, Op.MATMUL, Op.ADD, Op.SUB})
"""What automatic mixed precision computes in the half type, or leaves in it; powers, exponentials and normalisations
are done in float32."""

ONE_NUMBER = 1e-6
"""Variance over mean square below which a value is one number, the same for all units and inputs."""


@dataclass(frozen=True, slots=True)
class _Format:
    """A number format: its largest number and its smallest positive one, subnormal."""

    largest: float
    smallest: float


FORMATS: Mapping[str, _Format] = {
    "float16": _Format(65504.0, 2.0**-24),
    "bfloat16": _Format((2.0 - 2.0**-7) * 2.0**127, 2.0**-133),
    "float32": _Format((2.0 - 2.0**-23) * 2.0**127, 2.0**-149),
}


@dataclass(frozen=True, slots=True)
class _Place:
    """A value near an end of the range.

    Attributes:
        node: What computes it.
        signal: What it is.
        dtype: Its element type.
        severity: How far out it is.
    """

    node: Node
    signal: Signal
    dtype: str
    severity: Severity

    @property
    def path(self) -> str:
        return self.node.path or self.node.name

    @property
    def log10_length(self) -> float:
        return 0.5 * math.log10(self.signal.mean_square)


@dataclass(frozen=True, slots=True)
class RangeOverflow:
    """Activations leave the range of the number format.

    What it checks:
        The size of every value against the element type that the model declares for it, or, with ``--dtype``, of every
        sum against that type. An error where its mean and five standard deviations are beyond the largest number (65504
        in float16, 3.4·10^38 in bfloat16 and float32), a warning from a tenth of it; and on the only path to the output
        an error where the root mean square is below 1.6 times the smallest positive number (6·10^-8 in float16), a
        warning below 5 times. A value without spread is a sentinel that somebody chose (the -10^38 with which a running
        maximum begins) and no warning.

    Why it fails:
        Beyond the largest number a sum is infinite, the loss is nan, and every weight after one step too. Below the
        smallest all is zero: no signal passes and no gradient comes back. A normalisation does not help: the sum
        before it has overflowed by then.

    Example:
        ``nn.init.normal_(layer.weight, std=5e3)`` before ``nn.LayerNorm`` in a model of which someone says ``.half()``:
        the scale is free in float32, and sums of 10^5.2 are infinite in float16.

    Instead:
        ``nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")``; or bfloat16, which has the range of float32.

    Limits:
        Inputs are taken to be standard normal. Gradients are smaller than activations and need loss scaling in float16
        whatever the model; they are not judged. Sums inside fused operations (attention scores, recurrent cells) are
        kept in float32 by the libraries and not looked at.

    References:
        Micikevicius et al., Mixed Precision Training (arXiv 1710.03740). IEEE 754-2019, table 3.5.
    """

    code: ClassVar[str] = "INI106"
    name: ClassVar[str] = "range-overflow"
    failure_mode: ClassVar[FailureMode] = FailureMode.OVERFLOW
    severity: ClassVar[Severity] = Severity.ERROR
    needs: ClassVar[frozenset[Need]] = frozenset({Need.GRAPH, Need.SIGNAL, Need.INITIALIZATION})
    subsumes: ClassVar[frozenset[str]] = frozenset()

    overflow: Bounds = field(
        default=Bounds(-1.0, 0.0),
        metadata={"doc": "decades from the largest number to the mean and five standard deviations"},
    )
    underflow: Bounds = field(
        default=Bounds(-0.7, -0.2), metadata={"doc": "decades from the root mean square to the smallest number"}
    )

    def check(self, analysis: Analysis) -> Iterator[Finding]:
        """At most one finding for each end of the range."""
        above, below = [], []
        for node in analysis.graph.nodes:
            place = self._place(analysis, node, self._above)
            if place is not None:
                above.append(place)
            elif node.outputs and node.outputs[0] in analysis.structure.bottlenecks:
                place = self._place(analysis, node, self._below)
                below += [] if place is None or node.name in analysis.structure.heads else [place]
        if above:
            yield self._finding(analysis, above, 1.0)
        if below:
            yield self._finding(analysis, below, -1.0)

    def _place(self, analysis: Analysis, node: Node, judge: Callable[[Signal, _Format], Severity]) -> _Place | None:
        if node.name not in analysis.structure.active or not node.outputs:
            return None
        signal = analysis.typical.signals.get(node.outputs[0])
        dtype = analysis.dtype or analysis.graph.values[node.outputs[0]].dtype or "float32"
        known = FORMATS.get(dtype)
        if signal is None or known is None or signal.mean_square <= 0.0 or (analysis.dtype and node.op not in SUMS):
            return None
        severity = judge(signal, known)
        return None if severity is Severity.OFF else _Place(node, signal, dtype, severity)

    def _above(self, signal: Signal, known: _Format) -> Severity:
        if signal.variance <= ONE_NUMBER * signal.mean_square:
            # Written into the model (-1e38 for minus infinity): it is as large as it is, and no larger anywhere.
            return Severity.ERROR if abs(signal.mean) > known.largest * (1.0 + ONE_NUMBER) else Severity.OFF
        excess = math.log10(_peak(signal)) - math.log10(known.largest)
        return self.overflow.judge(excess, 0.5 * signal.uncertainty)

    def _below(self, signal: Signal, known: _Format) -> Severity:
        length = 0.5 * math.log10(signal.mean_square)
        return self.underflow.judge(math.log10(known.smallest) - length, 0.5 * signal.uncertainty)

    def _finding(self, analysis: Analysis, places: Sequence[_Place], sign: float) -> Finding:
        worst = max((place.severity for place in places), key=lambda severity: severity.rank)
        first = next(place for place in places if place.severity is worst)
        known = FORMATS[first.dtype]
        guilty = _guilty(analysis, first, sign)
        if sign > 0.0:
            bound = known.largest * (1.0 if worst is Severity.ERROR else 10.0**self.overflow.warning)
            reach = power_of_ten(math.log10(_peak(first.signal)))
            message = f"values of {first.path} reach {reach}, {first.dtype} ends at {known.largest:.3g}"
        else:
            limits = self.underflow
            bound = known.smallest * 10.0 ** -(limits.error if worst is Severity.ERROR else limits.warning)
            reach = power_of_ten(first.log10_length)
            message = f"values of {first.path} shrink to {reach}, {first.dtype} begins at {known.smallest:.1g}"
        more = f", and so {count_of(len(places) - 1, 'more operation')}" if len(places) > 1 else ""
        layers = tuple(dict.fromkeys((first.path, *(step.path for step in guilty), *(place.path for place in places))))
        return Finding(
            code=self.code,
            name=self.name,
            severity=worst,
            # Below the smallest number the signal is gone, as if it had died out.
            failure_mode=self.failure_mode if sign > 0.0 else FailureMode.VANISHING,
            message=f"{message} (bound {bound:.3g}){more}",
            cause=cause_of(guilty, sign) or f"{first.path}: root mean square {power_of_ten(first.log10_length)}",
            help=_remedy(guilty, first.dtype),
            layers=layers,
            location=first.node.location,
            evidence={
                "log10_root_mean_square": first.log10_length,
                "bound": bound,
                "element_type": first.dtype,
                "operations": len(places),
            },
            segment=f"segment {first.signal.segment}",
            assumed=first.signal.assumed,
        )

    @staticmethod
    def bad() -> Graph:
        """A scale that a normalisation makes free, in float16."""
        return _half_network("normal(0, 5000)")

    @staticmethod
    def good() -> Graph:
        """The same network with the variance that ReLU needs."""
        return _half_network("kaiming_normal")


def _guilty(analysis: Analysis, place: _Place, sign: float) -> tuple[Step, ...]:
    """Layers of its segment that bring the length there."""
    segment = next((item for item in analysis.segments if item.index == place.signal.segment), None)
    if segment is None:
        return ()
    order = {node.name: at for at, node in enumerate(analysis.graph.nodes)}
    steps = steps_of(analysis, segment, with_head=True, quantity=Quantity.LENGTH)
    kept = [
        replace(step, amount=sum(entry.amount for entry in before), contributions=before)
        for step in steps
        if (before := tuple(e for e in step.contributions if order[e.node] <= order[place.node.name]))
    ]
    return blamed(kept, sign)


def _remedy(guilty: Sequence[Step], dtype: str) -> str:
    code = initialization_code(step.layer for step in guilty if step.layer is not None)
    if code or dtype != "float16":
        return code or "normalise before it, or divide by its scale"
    return "model.to(torch.bfloat16), which has the range of float32; or normalise before it"


def _peak(signal: Signal) -> float:
    return abs(signal.mean) + PEAK * math.sqrt(max(signal.variance, 0.0))


def _half_network(init: str) -> Graph:
    b = Builder(dtype="float16")
    x = b.activation(b.linear(b.x, 64))
    for _ in range(2):
        x = b.activation(b.normalize(b.linear(x, 64, init)))
    return b.graph(b.linear(x, 10))
