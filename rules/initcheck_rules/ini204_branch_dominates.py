"""INI204: one residual branch is so much larger than the stream that the skip is as good as cut."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

from initcheck import Bounds, Builder, FailureMode, Finding, Need, Optimizer, Severity, role_of
from initcheck_rules.stream import additions_of
from initcheck_rules.variance import SIGNAL_GAIN
from initcheck_rules.wording import power_of_ten, scheme_name

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from initcheck import Analysis, Graph, Layer
    from initcheck_rules.stream import Addition

__all__ = ["BranchDominates"]


@dataclass(frozen=True, slots=True)
class BranchDominates:
    """One residual branch is so much larger than the stream that the skip is as good as cut.

    What it checks:
        The mean square of each branch of the main path over that of the skip it joins, where a branch of the same role
        has joined before. A warning from what a plain network may lose between two layers (INI101: 10^4, Adam 10^11).

    Why it fails:
        After the addition the stream is the branch: all that came before is one part in 10^4, and the first
        normalisation or the scale of the loss divides its gradient by as much. Layers before it learn through
        the loud branch alone, without the skip that the network was given for that.

    Example:
        One of twelve blocks whose last layer keeps N(0, 1) while the others are drawn with 0.02.

    Instead:
        Draw it like the same layer of the other blocks.

    Limits:
        The first branch of each role is left out: there the stream is still the embedding, which may be as small as one
        likes. Growth over many blocks is INI201.

    References:
        Hanin and Rolnick, How to Start Training (arXiv 1803.01719), residual networks. De and Smith (arXiv 2002.10444).
    """

    code: ClassVar[str] = "INI204"
    name: ClassVar[str] = "branch-dominates"
    failure_mode: ClassVar[FailureMode] = FailureMode.RESIDUAL
    severity: ClassVar[Severity] = Severity.WARNING
    needs: ClassVar[frozenset[Need]] = frozenset({Need.GRAPH, Need.SIGNAL, Need.INITIALIZATION})
    subsumes: ClassVar[frozenset[str]] = frozenset()

    bounds: Mapping[Optimizer, Bounds] = field(
        default_factory=lambda: SIGNAL_GAIN,
        metadata={"doc": "decades by which a branch may be larger than its skip, as mean square"},
    )

    def check(self, analysis: Analysis) -> Iterator[Finding]:
        """One finding for all branches that drown their skips."""
        bound = self.bounds[analysis.optimizer].warning
        seen: set[str] = set()
        loud: list[Addition] = []
        for addition in additions_of(analysis):
            role = role_of(addition.writers[0].path if addition.writers else addition.residual.node)
            if role in seen and addition.layers and addition.ratio > 0.0 and math.log10(addition.ratio) >= bound:
                loud.append(addition)
            seen.add(role)
        if loud:
            yield self._finding(loud, bound)

    def _finding(self, loud: Sequence[Addition], bound: float) -> Finding:
        worst = max(loud, key=lambda addition: addition.ratio)
        decades = math.log10(worst.ratio)
        layers = tuple(dict.fromkeys(_loudest(addition).path for addition in loud))
        layer = _loudest(worst)
        law = layer.weight.distribution if layer.weight is not None else None
        more = f"; the same in {len(loud) - 1} more" if len(loud) > 1 else ""
        return Finding(
            code=self.code,
            name=self.name,
            severity=Severity.WARNING,
            failure_mode=self.failure_mode,
            message=(
                f"the branch of {layer.path} is {power_of_ten(decades)} times its skip as mean square "
                f"(bound {power_of_ten(bound)}){more}"
            ),
            cause=f"{layer.path} is drawn by {scheme_name(law)}" if law is not None else f"{layer.path} is computed",
            help=f"nn.init.normal_(layer.weight, std={law.std / math.sqrt(worst.ratio):.2g})"
            if law is not None
            else "",
            layers=layers,
            location=layer.node.location,
            evidence={"log10_ratio": decades, "bound": bound, "branches": len(loud)},
            segment=f"segment {worst.skip.segment}",
        )

    @staticmethod
    def bad() -> Graph:
        """One of six blocks whose last layer is drawn a thousand times too large."""
        return _stack(20.0)

    @staticmethod
    def good() -> Graph:
        """Six blocks drawn alike."""
        return _stack(0.02)


def _loudest(addition: Addition) -> Layer:
    """Layer of a branch with the largest n E[w²]."""
    return max(addition.layers, key=_gain)


def _gain(layer: Layer) -> float:
    return layer.fan_in * layer.weight.distribution.mean_square if layer.weight is not None else 0.0


def _stack(fourth: float) -> Graph:
    b = Builder()
    x = b.linear(b.x, 64, "lecun_normal")
    for k in range(6):
        hidden = b.activation(b.linear(b.normalize(x), 256, path=f"{k}.fc"), "gelu")
        x = b.add(x, b.linear(hidden, 64, f"normal(0, {fourth if k == 3 else 0.02:g})", path=f"{k}.proj"))
    return b.graph(b.linear(b.normalize(x), 10, "lecun_normal", path="head"))
