"""TEAM101: no way from the input to the output is short."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

from initcheck import Bounds, Builder, FailureMode, Finding, Need, Severity

if TYPE_CHECKING:
    from collections.abc import Iterator

    from initcheck import Analysis, Graph, Layer

__all__ = ["DeepWithoutShortcut"]


@dataclass(frozen=True, slots=True)
class DeepWithoutShortcut:
    """No way from the input to the output is short.

    What it checks:
        The number of weighted layers on the shortest way from the first input to the main output. A skip connection, a
        concatenation or an attention head's own path makes it shorter. It warns from 20 layers and is an error from 34.

    Why it fails:
        Even where the signal keeps its length, the gradients of two similar inputs lose their likeness exponentially
        with depth unless something bridges the layers: they come to look like noise. Normalisation does not help. He et
        al. trained plain networks with batch normalisation: the one of 34 layers ended with a larger training error
        than the one of 18, and with shortcuts it was the other way round.

    Example:
        ``nn.Sequential(*[m for _ in range(24) for m in (nn.Linear(64, 64), nn.ReLU())])``

    Instead:
        Bridge blocks of layers, and start each with a small weight: ``x = x + 0.1 * block(x)``.

    Limits:
        Only the first input counts. A recurrent layer counts as one, however long its sequence.

    References:
        Balduzzi et al., The Shattered Gradients Problem (arXiv 1702.08591). He et al., Deep Residual Learning (arXiv
        1512.03385), figure 4. Veit et al., Residual Networks Behave Like Ensembles of Relatively Shallow Networks
        (arXiv 1605.06431), on paths.
    """

    code: ClassVar[str] = "TEAM101"
    name: ClassVar[str] = "deep-without-shortcut"
    failure_mode: ClassVar[FailureMode] = FailureMode.VANISHING
    severity: ClassVar[Severity] = Severity.ERROR
    needs: ClassVar[frozenset[Need]] = frozenset({Need.GRAPH})
    subsumes: ClassVar[frozenset[str]] = frozenset()

    bounds: Bounds = field(default=Bounds(warning=20, error=34), metadata={"doc": "layers on the shortest way"})

    def check(self, analysis: Analysis) -> Iterator[Finding]:
        """At most one finding."""
        layers = _shortest_way(analysis)
        severity = self.bounds.judge(len(layers))
        if severity is Severity.OFF:
            return
        reached = self.bounds.error if severity is Severity.ERROR else self.bounds.warning
        excess = len(layers) - int(self.bounds.warning) + 1
        yield Finding(
            code=self.code,
            name=self.name,
            severity=severity,
            failure_mode=self.failure_mode,
            message=(
                f"the shortest way to the output leads through {len(layers)} layers (bound {reached:g}), "
                f"starting at {layers[0].path}"
            ),
            cause="no skip connection or concatenation bridges them",
            help=f"bridge at least {excess} of these layers with skip connections: x = x + 0.1 * block(x)",
            layers=tuple(dict.fromkeys(layer.path for layer in layers)),
            location=layers[0].node.location,
            evidence={"layers": len(layers), "bound": reached, "excess": excess},
        )

    @staticmethod
    def bad() -> Graph:
        """A plain stack of 24 layers and a head."""
        return _network(bridged=0)

    @staticmethod
    def good() -> Graph:
        """The same layers, half of them bridged."""
        return _network(bridged=12)

    @staticmethod
    def helped(finding: Finding) -> Graph:
        """The bad example once the help line is followed."""
        return _network(bridged=finding.evidence["excess"])


def _shortest_way(analysis: Analysis) -> tuple[Layer, ...]:
    """Weighted layers on the shortest way from the first input to the main output."""
    graph = analysis.graph
    layers = {layer.node.name: layer for layer in analysis.layers}
    ways: dict[str, tuple[Layer, ...]] = dict.fromkeys(graph.inputs[:1], ())
    for node in graph.nodes:
        before = [ways[name] for name in node.inputs if name in ways]
        if before:
            here = (layers[node.name],) if node.name in layers else ()
            ways |= dict.fromkeys(node.outputs, (*min(before, key=len), *here))
    return ways.get(graph.main_output, ())


def _network(*, bridged: int) -> Graph:
    b = Builder()
    x = b.x
    for k in range(24):
        block = b.activation(b.linear(x, 64))
        x = b.add(x, b.scale(block, 0.1)) if k < bridged else block
    return b.graph(b.linear(x, 10))
