"""INI408: factors that are all zero keep one another zero."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from initcheck import Builder, FailureMode, Finding, Need, Op, Severity
from initcheck_rules.wording import count_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from initcheck import Analysis, Graph, Node

__all__ = ["DeadProduct"]

LEAST_AXES = 2
"""Axes from which a parameter of zeros is a weight; a vector is a bias, unless it is multiplied by."""


@dataclass(frozen=True, slots=True)
class DeadProduct:
    """Factors that are all zero keep one another zero.

    What it checks:
        Weights and scales of zeros only that no gradient ever reaches because of other zeros: both matrices of
        a low-rank pair, a layer of zeros behind a gate of zero, a layer of zeros in front of a ReLU. Worked out as
        a fixed point: a parameter moves if its input is not zero and the loss depends on its output, and what has moved
        counts as not zero from then on. The bound is zero such parameters.

    Why it fails:
        The gradient of B A x with respect to B contains A x and that with respect to A contains B. With one factor zero
        the other lets it grow (LoRA starts with B = 0); with both zero neither has a gradient, now or at any later
        step. ReLU has slope zero at exactly zero, and does the same to the layer before it.

    Example:
        ``nn.init.zeros_(self.lora_a); nn.init.zeros_(self.lora_b)``.

    Instead:
        Zero one factor only: ``nn.init.kaiming_uniform_(self.lora_a, a=5 ** 0.5); nn.init.zeros_(self.lora_b)``.

    Limits:
        Where the zeros cut the main path, INI402 and INI403 tell more and this finding is part of theirs. Operations
        that are not understood count as able to pass a gradient. Whether a parameter is frozen is not looked at.

    References:
        Hu et al., LoRA (arXiv 2106.09685), section 4.1. Zhang et al., Adding Conditional Control (arXiv 2302.05543),
        section 3.2, on why one layer of zeros does learn.
    """

    code: ClassVar[str] = "INI408"
    name: ClassVar[str] = "dead-product"
    failure_mode: ClassVar[FailureMode] = FailureMode.DEAD
    severity: ClassVar[Severity] = Severity.ERROR
    needs: ClassVar[frozenset[Need]] = frozenset({Need.GRAPH, Need.INITIALIZATION})
    subsumes: ClassVar[frozenset[str]] = frozenset()

    def check(self, analysis: Analysis) -> Iterator[Finding]:
        """At most one finding for all factors that stay zero."""
        stuck: dict[str, Node] = {}
        for node in analysis.graph.nodes:
            for name in node.inputs:
                if name in analysis.stuck and _is_factor(analysis, node, name):
                    stuck.setdefault(name, node)
        if stuck:
            yield self._finding(analysis, tuple(stuck), tuple(stuck.values()))

    def _finding(self, analysis: Analysis, names: Sequence[str], nodes: Sequence[Node]) -> Finding:
        shown = [analysis.graph.parameters[name].name for name in names]
        signal = analysis.signal_out_of(nodes[0])
        others = f" (with {', '.join(shown[1:3])}{', …' if len(shown) > 3 else ''})" if len(shown) > 1 else ""
        return Finding(
            code=self.code,
            name=self.name,
            severity=self.severity,
            failure_mode=self.failure_mode,
            message=(
                f"{count_of(len(shown), 'factor')} of zeros will never get a gradient (bound 0), "
                f"starting at {shown[0]}{others}"
            ),
            cause=(
                "the gradient of each contains another one, or the slope of an activation at exactly zero"
                if len(shown) > 1
                else "the activation behind it has slope zero at its input of exactly zero"
            ),
            help=_remedy(analysis, names[0]),
            layers=tuple(dict.fromkeys(node.path or node.name for node in nodes)),
            location=nodes[0].location,
            evidence={"stuck": len(shown), "bound": 0},
            assumed=signal.assumed if signal is not None else False,
        )

    @staticmethod
    def bad() -> Graph:
        """A low-rank pair with both factors zero beside a layer."""
        return _adapted("zeros")

    @staticmethod
    def good() -> Graph:
        """The same with the first factor drawn at random."""
        return _adapted("kaiming_uniform(a=√5)")


def _is_factor(analysis: Analysis, node: Node, name: str) -> bool:
    """Whether a node multiplies by a parameter: a weight, or the scale of a product or of a normalisation."""
    if node.op in {Op.MUL, Op.MATMUL}:
        return True
    if node.op is Op.NORMALIZE:
        return node.inputs[1] == name
    return len(analysis.graph.parameters[name].shape) >= LEAST_AXES and node.op is not Op.ADD


def _remedy(analysis: Analysis, name: str) -> str:
    parameter = analysis.graph.parameters[name]
    if len(parameter.shape) < LEAST_AXES:
        return f"nn.init.ones_({parameter.name})"
    return f"nn.init.kaiming_uniform_({parameter.name}, a=5 ** 0.5), and only the last factor zero"


def _adapted(first: str) -> Graph:
    b = Builder()
    x = b.activation(b.linear(b.x, 64))
    low = b.linear(x, 4, first, bias=None, path="lora_a")
    x = b.add(b.linear(x, 64, path="base"), b.linear(low, 64, "zeros", bias=None, path="lora_b"))
    return b.graph(b.linear(b.activation(x), 10))
