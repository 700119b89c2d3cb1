"""INI402: a layer of zeros on the main path lets nothing through."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from initcheck import Builder, FailureMode, Finding, Need, Op, Severity, is_flat_at_zero
from initcheck_rules.remedy import initialization_code
from initcheck_rules.zeros import Zero, zeros_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from initcheck import Analysis, Graph, Node

__all__ = ["ZeroWeightCutsSignal"]


@dataclass(frozen=True, slots=True)
class ZeroWeightCutsSignal:
    """A layer of zeros on the main path lets nothing through.

    What it checks:
        Whether the input still reaches the head: where the signal gain at the head's input is exactly zero and the
        layer at which it becomes zero has a weight of zeros only, or the normalisation a scale of zeros. It is an error
        where no gradient can mend it, a note where the first steps do.

    Why it fails:
        Behind a ReLU the zero pre-activations have slope zero, and behind a second layer of zeros the error signal is
        zero: then no weight of the layer, or before it, ever gets a gradient. A single layer of zeros before a smooth
        activation gets one and recovers at the first step.

    Example:
        ``nn.init.zeros_(self.fc2.weight)`` in the middle of a ReLU network.

    Instead:
        Zero only the last layer of a residual branch, a gate on a residual branch, or the head; draw all others:
        ``nn.init.kaiming_normal_(self.fc2.weight, nonlinearity="relu")``.

    Limits:
        Judged by its result, so a layer of zeros with a path around it (a residual branch, a gate beside a skip) is
        never reported, nor is the head.

    References:
        Zhang et al., Fixup (arXiv 1901.09321), on zero layers that are healthy. Goodfellow et al., Deep Learning,
        8.4, on breaking symmetry.
    """

    code: ClassVar[str] = "INI402"
    name: ClassVar[str] = "zero-weight-cuts-signal"
    failure_mode: ClassVar[FailureMode] = FailureMode.DEAD
    severity: ClassVar[Severity] = Severity.ERROR
    needs: ClassVar[frozenset[Need]] = frozenset({Need.GRAPH, Need.SIGNAL, Need.PARAMETERS})
    subsumes: ClassVar[frozenset[str]] = frozenset({"INI408"})

    def check(self, analysis: Analysis) -> Iterator[Finding]:
        """At most one finding: the first layer at which the signal ends."""
        if not _is_cut(analysis):
            return
        zeros = zeros_of(analysis)
        first = next((zero for zero in zeros if _ends_signal(analysis, zero)), None)
        if first is not None:
            yield self._finding(analysis, first, zeros)

    def _finding(self, analysis: Analysis, first: Zero, zeros: Sequence[Zero]) -> Finding:
        stuck = _stuck(analysis, first, zeros)
        signal = analysis.signal_out_of(first.node)
        return Finding(
            code=self.code,
            name=self.name,
            severity=Severity.ERROR if stuck else Severity.NOTE,
            failure_mode=self.failure_mode,
            message=f"signal ends at {first.path}, whose weights are all zero: the output does not depend on the input",
            cause=stuck or "the gradient of this layer is not zero, so the first steps mend it",
            help=initialization_code([first.layer]) if first.layer else f"nn.init.ones_({first.path}.weight)",
            layers=tuple(zero.path for zero in zeros if not zero.head),
            location=first.node.location,
            evidence={"zero_layers": len(zeros), "bound": 0},
            segment=f"segment {signal.segment}" if signal is not None else "",
            assumed=signal.assumed if signal is not None else False,
        )

    @staticmethod
    def bad() -> Graph:
        """A layer of zeros in the middle of a ReLU network."""
        return _relu_network("zeros")

    @staticmethod
    def good() -> Graph:
        """The same network with that layer drawn like the others."""
        return _relu_network("kaiming_normal")


def _is_cut(analysis: Analysis) -> bool:
    """Whether no head sees the input."""
    heads = [analysis.signal_into(layer.node) for layer in analysis.layers if layer.head]
    return bool(heads) and all(signal is not None and signal.gain == 0.0 for signal in heads)


def _ends_signal(analysis: Analysis, zero: Zero) -> bool:
    before, after = analysis.signal_into(zero.node), analysis.signal_out_of(zero.node)
    return not zero.head and before is not None and before.gain > 0.0 and after is not None and after.gain == 0.0


def _stuck(analysis: Analysis, first: Zero, zeros: Sequence[Zero]) -> str:
    """Why no gradient mends the layer; empty if one does."""
    flat = _flat_function(analysis, first)
    if flat:
        return f"{flat} has slope zero at its input of exactly zero, so the layer gets no gradient"
    for zero in zeros:
        signal = analysis.signal_into(zero.node)
        if zero is not first and signal is not None and signal.mean_square == 0.0:
            return f"{zero.path} is zero as well, and its input too: neither gets a gradient"
    return ""


def _flat_function(analysis: Analysis, zero: Zero) -> str:
    """Name of an activation behind a layer whose slope is zero at zero and whose input is zero."""
    following = analysis.structure.consumers.get(zero.node.outputs[0], ())
    while len(following) == 1:
        node: Node = following[0]
        signal = analysis.signal_into(node)
        if node.op not in {Op.ELEMENTWISE, Op.NORMALIZE, Op.DROPOUT, Op.RESHAPE, Op.TRANSPOSE, Op.IDENTITY}:
            return ""
        if node.op is Op.ELEMENTWISE and signal is not None and signal.mean_square == 0.0:
            function = str(node.attributes["function"])
            if is_flat_at_zero(function, node.attributes.get("arguments")):
                return function
        following = analysis.structure.consumers.get(node.outputs[0], ())
    return ""


def _relu_network(middle: str) -> Graph:
    b = Builder()
    x = b.activation(b.linear(b.x, 64))
    x = b.activation(b.linear(x, 64, middle))
    x = b.activation(b.linear(x, 64))
    return b.graph(b.linear(x, 10))
