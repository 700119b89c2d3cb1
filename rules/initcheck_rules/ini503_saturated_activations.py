"""INI503: layer after layer of units on the flat parts of their activation."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

from initcheck import Builder, FailureMode, Finding, Need, Op, Severity, sensitive_range
from initcheck_rules.remedy import initialization_code
from initcheck_rules.wording import activation_name, count_of, power_of_ten, scheme_name

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from initcheck import Analysis, Graph, Layer, Node

__all__ = ["SaturatedActivations"]

MOST = 0.5
"""Share of the units of a layer from which it counts as saturated; at a gain of 5/3, PyTorch's for tanh, it is 2 %."""


@dataclass(frozen=True, slots=True)
class _Saturated:
    """An activation most of whose units are on its flat parts.

    Attributes:
        node: The activation.
        layer: What gives its input, if a layer does.
        share: Share of units, samples and positions with a slope below 1 % of the largest.
        spread: Root mean square of its input.
        edge: Input from which it is flat.
    """

    node: Node
    layer: Layer | None
    share: float
    spread: float
    edge: float

    @property
    def path(self) -> str:
        return self.layer.path if self.layer is not None else self.node.path or self.node.name

    @property
    def harm(self) -> float:
        return -math.log10(max(1.0 - self.share, 1e-300))


@dataclass(frozen=True, slots=True)
class SaturatedActivations:
    """Layer after layer of units on the flat parts of their activation.

    What it checks:
        For every function that levels off on both sides (sigmoid, tanh, their hard variants and the like) on the only
        path to the output: the share of units whose slope is below 1 % of the largest, from the predicted distribution
        of their input. Layers with more than half of such units count; it warns where the product of the shares that
        are left is below 10^-4.

    Why it fails:
        A unit on a flat part passes no gradient; the few that are not pass a steep one. What arrives after some layers
        comes through a handful of units, differs from sample to sample, and makes steps that saturate yet more units
        (Glorot and Bengio 2010). Lengths and even the mean-square gradient can look healthy.

    Example:
        Eight layers of ``nn.Linear(64, 64)`` with ``nn.init.normal_(layer.weight, std=1.0)`` and ``nn.Tanh()``: two
        of three units are saturated in each.

    Instead:
        ``nn.init.kaiming_normal_(layer.weight, nonlinearity="linear")`` before tanh; no sigmoid between layers.

    Limits:
        One saturated layer, or a gate beside another path, is no finding: gates may start closed. Gates inside
        recurrent layers and softmax are not looked at.

    References:
        Glorot and Bengio, Understanding the Difficulty of Training Deep Feedforward Neural Networks (2010). Two
        networks of eight layers with products of 10^-7 (sigmoid) and 10^-13 (hard tanh) start with neither SGD nor
        Adam.
    """

    code: ClassVar[str] = "INI503"
    name: ClassVar[str] = "saturated-activations"
    failure_mode: ClassVar[FailureMode] = FailureMode.SATURATION
    severity: ClassVar[Severity] = Severity.WARNING
    needs: ClassVar[frozenset[Need]] = frozenset({Need.GRAPH, Need.SIGNAL, Need.INITIALIZATION})
    subsumes: ClassVar[frozenset[str]] = frozenset()

    bound: float = field(default=4.0, metadata={"doc": "decades by which the product of the open shares is below one"})

    def check(self, analysis: Analysis) -> Iterator[Finding]:
        """At most one finding for all saturated layers."""
        layers = {layer.activation.name: layer for layer in analysis.layers if layer.activation is not None}
        before_layer = _before_last_layer(analysis)
        found = [
            item
            for node in analysis.graph.nodes
            if node.name in before_layer and (item := _saturated(analysis, node, layers.get(node.name))) is not None
        ]
        harm = math.fsum(item.harm for item in found)
        if len(found) > 1 and harm >= self.bound:
            yield self._finding(analysis, found, harm)

    def _finding(self, analysis: Analysis, found: Sequence[_Saturated], harm: float) -> Finding:
        first = found[0]
        signal = analysis.signal_into(first.node)
        shares = [item.share for item in found]
        share = f"{min(shares):.0%} to {max(shares):.0%}" if max(shares) - min(shares) > 0.01 else f"{max(shares):.0%}"
        named = [item.layer for item in found if item.layer is not None]
        return Finding(
            code=self.code,
            name=self.name,
            severity=self.severity,
            failure_mode=self.failure_mode,
            message=(
                f"{share} of the units are saturated in each of {count_of(len(found), 'layer')}, which leaves "
                f"{power_of_ten(-harm)} of the paths open (bound {power_of_ten(-self.bound)}), starting at {first.path}"
            ),
            cause=_cause(found),
            help=initialization_code(named),
            layers=tuple(dict.fromkeys(item.path for item in found)),
            location=(first.layer.node if first.layer is not None else first.node).location,
            evidence={
                "log10_open": -harm,
                "bound": -self.bound,
                "saturated": max(shares),
                "layers": len(found),
            },
            segment=f"segment {signal.segment}" if signal is not None else "",
            assumed=signal.assumed if signal is not None else False,
        )

    @staticmethod
    def bad() -> Graph:
        """Standard normal weights before tanh."""
        return _tanh_network("normal(0, 1)")

    @staticmethod
    def good() -> Graph:
        """The same network at the critical scale."""
        return _tanh_network("lecun_normal")


def _before_last_layer(analysis: Analysis) -> frozenset[str]:
    """Activations on the only path that a weighted layer follows: losses handle what comes after the last."""
    structure = analysis.structure
    found: set[str] = set()
    for node in analysis.graph.nodes:
        if node.name in structure.heads:
            break
        if node.op is Op.ELEMENTWISE and node.name in structure.active and node.outputs[0] in structure.bottlenecks:
            found.add(node.name)
    return frozenset(found)


def _saturated(analysis: Analysis, node: Node, layer: Layer | None) -> _Saturated | None:
    function, arguments = str(node.attributes["function"]), node.attributes.get("arguments")
    ends, x = sensitive_range(function, arguments), analysis.signal_into(node)
    if ends is None or x is None or x.mean_square <= 0.0:
        return None
    # Sampled weights are taken at the small end of their interval.
    factor = 10.0 ** (-0.5 * x.uncertainty)
    small = x.scaled(factor)
    share = 1.0 - (small.probability_below(ends[1]) - small.probability_below(ends[0]))
    if share <= MOST:
        return None
    return _Saturated(node, layer, share, math.sqrt(x.mean_square), max(ends, key=abs))


def _cause(found: Sequence[_Saturated]) -> str:
    """The commonest reason: how far inputs reach beyond the flat parts, and what gives them."""
    clauses = Counter(
        (
            activation_name(str(item.node.attributes["function"])),
            f"{abs(item.edge):.2g}",
            scheme_name(item.layer.weight.distribution) if item.layer is not None and item.layer.weight else "",
        )
        for item in found
    )
    (function, edge, scheme), count = clauses.most_common(1)[0]
    spread = max(item.spread for item in found)
    given = f", which {scheme} gives" if scheme else ""
    return (
        f"{count} of {len(found)}: {function} is flat beyond ±{edge}, its inputs spread by up to ±{spread:.3g}{given}"
    )


def _tanh_network(init: str) -> Graph:
    b = Builder()
    x = b.x
    for _ in range(9):
        x = b.activation(b.linear(x, 64, init), "tanh")
    return b.graph(b.linear(x, 10, "lecun_normal"))
