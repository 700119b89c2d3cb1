"""INI201: residual branches add more to the stream than its depth allows."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

from initcheck import Bounds, Builder, FailureMode, Finding, Need, Optimizer, Quantity, Severity
from initcheck_rules.variance import capped, segment_name
from initcheck_rules.wording import count_of, power_of_ten

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from initcheck import Analysis, Graph, Location, Residual, Segment

__all__ = ["ResidualExplosion"]

GROWTH: Mapping[Optimizer, Bounds] = {Optimizer.SGD: Bounds(6.0, 8.0), Optimizer.ADAM: Bounds(12.0, 15.0)}
"""Decades by which residual additions may make the mean square of the stream grow.

x + η relu(Wx), width 20, 40 blocks: plain SGD starts at growth 10^0.7 to 10^4.4 and fails at 10^9.0. With momentum
and the best of several rates it starts at 10^5.4 and fails at 10^10.8, where Adam still starts,
as it does at 10^11.6.
"""

COHERENT = 0.1
"""Share of its mean square that the mean of a branch must have for blocks to add up coherently."""


@dataclass(frozen=True, slots=True)
class _Block:
    """One residual addition in numbers.

    Attributes:
        path: Of the addition or of the first layer on its branch.
        ratio: Mean square of the branch over that of the skip, η² v.
        coherent: Whether the branch has a mean that adds to that of the skip.
        location: Line of the addition, which is the one to change.
    """

    path: str
    ratio: float
    coherent: bool
    location: Location | None


@dataclass(frozen=True, slots=True)
class ResidualExplosion:
    """Residual branches add more to the stream than its depth allows.

    What it checks:
        The growth of the mean square of the residual stream over all residual additions between two normalisations,
        less what a scale between them takes back (x = (x + f(x))/√2). It warns from 10^6 and is an error from 10^8
        (Adam: 10^12 and 10^15).

    Why it fails:
        Every block multiplies the mean square of the stream. Where branches end in a linear map of mean zero the
        factor is 1 + η² v, v being the gain of the branch: the index is Σ η² v. Where they end in a ReLU, their
        output is positive like the stream itself and adds coherently: E[M] grows like exp(Σ η) and more (Hanin and
        Rolnick 2018, theorem on residual networks). Either way the growth is exponential in the number of blocks
        while η does not shrink with it.

    Example:
        ``x = x + branch(x)`` fifty times, with He-initialised branches and no normalisation: the mean square doubles
        fifty times, 10^15.

    Instead:
        Scale each branch by 1/√L (mean zero) or 1/L (positive), start with a learnable scale of zero (SkipInit,
        ReZero), zero the last layer of each branch (Fixup), or normalise at the start of each branch and before the
        head.

    Limits:
        A pre-norm stream grows linearly and is not meant. The scale in the help line assumes that all branches get
        the same.

    References:
        Hanin and Rolnick, How to Start Training (arXiv 1803.01719), theorem on FM1 of residual networks. Zhang et
        al., Fixup (arXiv 1901.09321). De and Smith, SkipInit (arXiv 2002.10444).
    """

    code: ClassVar[str] = "INI201"
    name: ClassVar[str] = "residual-explosion"
    failure_mode: ClassVar[FailureMode] = FailureMode.RESIDUAL
    severity: ClassVar[Severity] = Severity.ERROR
    needs: ClassVar[frozenset[Need]] = frozenset({Need.GRAPH, Need.SIGNAL, Need.INITIALIZATION})
    subsumes: ClassVar[frozenset[str]] = frozenset(
        {"INI102", "INI105", "INI106", "INI204", "INI502", "INI503", "INI504", "INI505", "INI506"}
    )

    bounds: Mapping[Optimizer, Bounds] = field(
        default_factory=lambda: GROWTH,
        metadata={"doc": "decades by which residual additions make the mean square of the stream grow"},
    )

    def check(self, analysis: Analysis) -> Iterator[Finding]:
        """One finding per segment whose residual additions explode."""
        bounds = self.bounds[analysis.optimizer]
        for segment in analysis.segments:
            severity = capped(analysis, segment, bounds.judge(segment.residual_growth, segment.uncertainty))
            blocks = _blocks(analysis, segment) if severity is not Severity.OFF else ()
            if blocks:
                yield self._finding(segment, severity, bounds, blocks)

    def _finding(self, segment: Segment, severity: Severity, bounds: Bounds, blocks: Sequence[_Block]) -> Finding:
        coherent = sum(block.coherent for block in blocks) > len(blocks) / 2
        index = sum(math.sqrt(block.ratio) if coherent else block.ratio for block in blocks)
        scale = 1.0 / index if coherent else 1.0 / math.sqrt(index)
        symbol = "Σ η" if coherent else "Σ η² v"
        ending = "a positive function" if coherent else "a linear map of mean zero"
        reached = bounds.error if segment.residual_growth - segment.uncertainty >= bounds.error else bounds.warning
        return Finding(
            code=self.code,
            name=self.name,
            severity=severity,
            failure_mode=self.failure_mode,
            message=(
                f"residual stream grows to {power_of_ten(segment.residual_growth)} of itself over "
                f"{count_of(len(blocks), 'block')} (bound {power_of_ten(reached)}), starting at {blocks[0].path}"
            ),
            cause=f"{symbol} = {index:.3g} over {count_of(len(blocks), 'branch')[:-1]}es that end in {ending}",
            help=f"x = x + {scale:.2g} * branch(x), or start with nn.Parameter(torch.zeros(())) as the factor",
            layers=tuple(dict.fromkeys(block.path for block in blocks)),
            location=blocks[0].location,
            evidence={
                "log10_residual_growth": segment.residual_growth,
                "bound": reached,
                "blocks": len(blocks),
                "index": index,
                "index_name": symbol,
                "scale": scale,
            },
            segment=segment_name(segment),
            assumed=segment.assumed,
        )

    @staticmethod
    def bad() -> Graph:
        """Fifty unscaled branches."""
        return _residual_network(1.0)

    @staticmethod
    def good() -> Graph:
        """The same branches scaled by 1/√50."""
        return _residual_network(1.0 / math.sqrt(50.0))

    @staticmethod
    def helped(finding: Finding) -> Graph:
        """The branches scaled as the help line says."""
        return _residual_network(finding.evidence["scale"])


def _blocks(analysis: Analysis, segment: Segment) -> tuple[_Block, ...]:
    """Residual additions of a segment's main path, in order."""
    structure = analysis.structure
    entries = [entry for entry in analysis.explain(segment.index, Quantity.RESIDUAL) if entry.amount > 0.0]
    residuals = [structure.residuals[entry.node] for entry in entries if entry.node not in structure.on_branch]
    return tuple(block for residual in residuals if (block := _block(analysis, residual)) is not None)


def _block(analysis: Analysis, residual: Residual) -> _Block | None:
    skip = analysis.forward.signals.get(residual.skip)
    branch = analysis.forward.signals.get(residual.branch)
    if skip is None or branch is None or skip.mean_square <= 0.0:
        return None
    first = next((layer.path for layer in analysis.layers if layer.node.name in residual.branch_nodes), residual.node)
    coherent = branch.mean**2 > COHERENT * branch.mean_square
    addition = next(node for node in analysis.graph.nodes if node.name == residual.node)
    return _Block(first, branch.mean_square / skip.mean_square, coherent, addition.location)


def _residual_network(scale: float) -> Graph:
    b = Builder()
    x = b.linear(b.x, 64, "lecun_normal")
    for _ in range(50):
        branch = b.linear(b.activation(b.linear(b.activation(x), 64)), 64)
        x = b.add(x, b.scale(branch, scale) if scale != 1.0 else branch)
    return b.graph(b.linear(x, 10, "lecun_normal"))
