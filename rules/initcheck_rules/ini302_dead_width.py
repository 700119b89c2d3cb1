"""INI302: layers so narrow that all their units may be off at once."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from initcheck import Builder, FailureMode, Finding, Need, Op, Severity, is_zero_below_zero
from initcheck_rules.wording import activation_name, count_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from initcheck import Analysis, Graph, Node, Signal

__all__ = ["DeadWidth"]

NOTE, WARNING, ERROR = 0.01, 0.5, 0.999
"""Probability that an input is lost: worth knowing, the rule, and as good as certain.

Layers of width 4 and 40 in turn start all the same: an input is lost at one in sixteen of the narrow layers.
"""

SWITCHED = 0.9
"""Probability for one unit to be off beyond which not the width is to blame but what switches units off."""

SHOWN = 0.1
"""Share of the probability from which a layer is named."""


@dataclass(frozen=True, slots=True)
class DeadWidth:
    """Layers so narrow that all their units may be off at once.

    What it checks:
        The probability, over the draw of the weights, that an input meets a layer of the main path whose units are all
        off: p^n per layer, with n the number of units and p the probability that a pre-activation is not positive, 1/2
        around zero. It is a note from 1 %, a warning from 50 % and an error from 99.9 %.

    Why it fails:
        Behind a layer that is off the output no longer depends on the input, and no gradient gets past it. Inputs grow
        alike with depth, so that the layer is off for most of them together (Lu et al. 2019: a deep narrow ReLU network
        is born dead with a probability that tends to one).

    Example:
        A ReLU network of 30 layers of width 3: each input is lost with probability 1 - (7/8)^30 = 98 %.

    Instead:
        Make the layers wider (one unit more halves the probability), use LeakyReLU, or add skip connections.

    Limits:
        Only activations that are exactly zero below zero. Positions of a convolution count as far as they differ, by
        the correlation of their pre-activations. A normalisation right before the activation keeps some units on.
        Layers that a bias or the sign of the weights switches off are INI404's and INI101's.

    References:
        Lu et al., Dying ReLU and Initialization: Theory and Numerical Examples (arXiv 1903.06733), theorem on born dead
        networks.
    """

    code: ClassVar[str] = "INI302"
    name: ClassVar[str] = "dead-width"
    failure_mode: ClassVar[FailureMode] = FailureMode.DEAD
    severity: ClassVar[Severity] = Severity.ERROR
    needs: ClassVar[frozenset[Need]] = frozenset({Need.GRAPH, Need.SIGNAL, Need.INITIALIZATION})
    subsumes: ClassVar[frozenset[str]] = frozenset()

    def check(self, analysis: Analysis) -> Iterator[Finding]:
        """At most one finding: layers lose an input independently of one another."""
        chances = {node.name: chance for node in analysis.graph.nodes if (chance := _all_off(analysis, node)) > 0.0}
        survival = math.fsum(math.log1p(-min(chance, 1.0 - 1e-12)) for chance in chances.values())
        lost = -math.expm1(survival)
        if lost < NOTE:
            return
        severity = Severity.ERROR if lost >= ERROR else Severity.WARNING if lost >= WARNING else Severity.NOTE
        yield self._finding(analysis, lost, severity, chances)

    def _finding(self, analysis: Analysis, lost: float, severity: Severity, chances: Mapping[str, float]) -> Finding:
        most = max(chances.values())
        narrow = [n for n in analysis.graph.nodes if chances.get(n.name, 0.0) >= SHOWN * most]
        signals = [signal for node in narrow if (signal := analysis.signal_into(node)) is not None]
        bound = ERROR if severity is Severity.ERROR else WARNING if severity is Severity.WARNING else NOTE
        layers = _layers_before(analysis, narrow)
        fewest = min(signal.units for signal in signals)
        needed = fewest + max(1, math.ceil(math.log2(lost / NOTE)))
        return Finding(
            code=self.code,
            name=self.name,
            severity=severity,
            failure_mode=self.failure_mode,
            message=(
                f"an input is lost with probability {lost:.2g} because all units of a layer are off "
                f"(bound {bound:g}), at {count_of(len(narrow), 'layer')} from {layers[0]} on"
            ),
            cause=(
                f"{activation_name(str(narrow[0].attributes['function']))} leaves {fewest} units all off with "
                f"probability {most:.2g} per layer"
            ),
            help=f"make these layers at least {needed} wide, use nn.LeakyReLU, or add skip connections",
            layers=layers,
            location=narrow[0].location,
            evidence={"probability": lost, "bound": bound, "layers": len(narrow), "fewest_units": fewest},
            segment=f"segment {signals[0].segment}",
            assumed=any(signal.assumed for signal in signals),
        )

    @staticmethod
    def bad() -> Graph:
        """Ten layers of width 6 between wide ones."""
        return _relu_network(6)

    @staticmethod
    def good() -> Graph:
        """The same with width 16."""
        return _relu_network(16)


def _all_off(analysis: Analysis, node: Node) -> float:
    """Probability that nothing passes an activation for one input; 0 where there is a way around it."""
    if node.op is not Op.ELEMENTWISE or node.outputs[0] not in analysis.structure.bottlenecks:
        return 0.0
    if not is_zero_below_zero(str(node.attributes["function"]), node.attributes.get("arguments")):
        return 0.0
    x = analysis.signal_into(node)
    before = analysis.structure.producer.get(node.inputs[0])
    if x is None or x.variance <= 0.0 or (before is not None and before.op is Op.NORMALIZE):
        return 0.0
    off = x.probability_below(0.0)
    return off ** (x.units * _independent_positions(x)) if off <= SWITCHED else 0.0


def _independent_positions(x: Signal) -> float:
    """Positions as far as they are decorrelated: T/(1 + (T-1) ρ) for T of correlation ρ."""
    rho = min(max(x.source.rho_position, 0.0), 1.0)
    return x.positions / (1.0 + (x.positions - 1.0) * rho)


def _layers_before(analysis: Analysis, activations: Sequence[Node]) -> tuple[str, ...]:
    """Paths of the layers that feed these activations; their own where none does."""
    fed = {layer.activation.name: layer.path for layer in analysis.layers if layer.activation is not None}
    return tuple(dict.fromkeys(fed.get(node.name, node.path or node.name) for node in activations))


def _relu_network(width: int) -> Graph:
    b = Builder()
    x = b.x
    for _ in range(10):
        x = b.activation(b.linear(x, 64))
        x = b.activation(b.linear(x, width))
    return b.graph(b.linear(x, 10))
