"""INI105: all inputs look alike to the last layers, though lengths are fine."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from statistics import median
from typing import TYPE_CHECKING, ClassVar

from initcheck import Bounds, Builder, FailureMode, Finding, Need, Op, Optimizer, Severity
from initcheck_rules.remedy import initialization_code
from initcheck_rules.sensitivity import comparable_steps, path_uncertainty
from initcheck_rules.variance import SIGNAL_GAIN, inference_norms
from initcheck_rules.wording import activation_name, count_of, power_of_ten, scheme_name

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from initcheck import Analysis, Graph, Layer, Node

__all__ = ["InputCollapse"]

FEWEST = 4
"""Layers from which an exponential decay can be told from a polynomial one."""

SMALLEST = 1e-12
"""Share of the mean square below which what depends on the input is lost in the error of double precision."""

LARGE = 0.1
"""Share of the mean square from which a bias is a reason."""


@dataclass(frozen=True, slots=True)
class _Step:
    """How much of a layer's output depends on the input.

    Attributes:
        node: The layer.
        log10_share: log10 of 1 - cos, cos the cosine of the outputs for two inputs.
    """

    node: Node
    log10_share: float


@dataclass(frozen=True, slots=True)
class InputCollapse:
    """All inputs look alike to the last layers, though lengths are fine.

    What it checks:
        1 - cos along the main path, cos being the expected cosine of a layer's outputs for two independent inputs: the
        part of the mean square that depends on the input. Judged is twice what it loses over the second half of the
        layers, which is all of an exponential decay and little of a polynomial one. It warns from 10^-4 and is an error
        from 10^-6 (Adam: 10^-11 and 10^-13).

    Why it fails:
        Biases, and the mean of activations like sigmoid, add to every layer what all inputs have in common. Where a
        layer adds more of it than it keeps of the rest, two inputs grow alike exponentially with depth (the ordered
        phase of Schoenholz et al. 2017). A layer normalisation hides it: it restores the length, of the common part
        above all, and the last layers see one vector whatever comes in. The gradient of the first layers dies as fast.

    Example:
        Thirty blocks of ``nn.Linear(64, 64)``, ``nn.LayerNorm(64)`` and ``nn.ReLU`` with
        ``nn.init.normal_(layer.weight, std=0.01)`` and the biases left at PyTorch's default, uniform(±1/8): 10^-11.9 of
        the 28th layer depends on the input.

    Instead:
        ``nn.init.zeros_(layer.bias)``, or no bias before a normalisation (``bias=False``), whose own shift is zero.

    Limits:
        Where no normalisation restores the length, INI101 names the same loss and this finding is part of it. Batch
        normalisation takes the common part out, and nothing is judged right before one. Similarity of the positions of
        one input (rank collapse) is another matter.

    References:
        Schoenholz et al., Deep Information Propagation (arXiv 1611.01232), on the ordered phase. Poole et al. (arXiv
        1606.05340) for the cosine map.
    """

    code: ClassVar[str] = "INI105"
    name: ClassVar[str] = "input-collapse"
    failure_mode: ClassVar[FailureMode] = FailureMode.COLLAPSE
    severity: ClassVar[Severity] = Severity.ERROR
    needs: ClassVar[frozenset[Need]] = frozenset({Need.GRAPH, Need.SIGNAL, Need.INITIALIZATION})
    subsumes: ClassVar[frozenset[str]] = frozenset({"INI501"})

    bounds: Mapping[Optimizer, Bounds] = field(
        default_factory=lambda: SIGNAL_GAIN,
        metadata={"doc": "decades by which the part that depends on the input shrinks exponentially"},
    )

    def check(self, analysis: Analysis) -> Iterator[Finding]:
        """At most one finding."""
        path = _path(analysis)
        if len(path) < FEWEST:
            return
        bounds, uncertainty = self.bounds[analysis.optimizer], path_uncertainty(analysis)
        loss = 2.0 * (path[len(path) // 2].log10_share - path[-1].log10_share)
        severity = bounds.judge(loss, uncertainty)
        if severity is Severity.OFF:
            return
        if inference_norms(analysis) or analysis.graph.folded_normalization:
            severity = Severity.NOTE
        reached = bounds.error if loss - uncertainty >= bounds.error else bounds.warning
        names = {step.node.name for step in path}
        layers = [layer for layer in analysis.layers if layer.node.name in names]
        paths = tuple(dict.fromkeys(step.node.path or step.node.name for step in path))
        last = analysis.signal_out_of(path[-1].node)
        yield Finding(
            code=self.code,
            name=self.name,
            severity=severity,
            failure_mode=self.failure_mode,
            message=(
                f"only {power_of_ten(path[-1].log10_share)} of {paths[-1]} depends on the input; the later half of "
                f"{count_of(len(paths), 'layer')} shrinks it at a rate of {power_of_ten(-loss)} over all of them "
                f"(bound {power_of_ten(-reached)})"
            ),
            cause=_cause(analysis, layers),
            help=initialization_code(layers) or "nn.init.zeros_(layer.bias)",
            layers=paths,
            location=path[0].node.location,
            evidence={
                "log10_input_share": path[-1].log10_share,
                "log10_decay": -loss,
                "bound": -reached,
                "uncertainty": uncertainty,
                "layers": len(paths),
            },
            segment=f"segment {last.segment}" if last is not None else "",
            assumed=last.assumed if last is not None else False,
        )

    @staticmethod
    def bad() -> Graph:
        """Biases that outweigh small weights, hidden by layer normalisation."""
        return _normalized_network("uniform(±1/√fan_in)")

    @staticmethod
    def good() -> Graph:
        """The same weights without biases."""
        return _normalized_network("zeros")


def _path(analysis: Analysis) -> tuple[_Step, ...]:
    """Values of the main path up to where nothing that can be told from zero depends on the input."""
    steps = []
    for step in comparable_steps(analysis):
        signal = analysis.signal_out_of(step.node)
        readers = analysis.structure.consumers.get(step.node.outputs[0], ())
        if (
            signal is None
            or signal.mean_square <= 0.0
            or any(reader.op is Op.NORMALIZE and _centres(reader) for reader in readers)
        ):
            continue
        share = 1.0 - signal.pair_sample / signal.mean_square
        if share <= SMALLEST:
            break
        steps.append(_Step(step.node, math.log10(share)))
    return tuple(steps)


def _centres(norm: Node) -> bool:
    return norm.attributes["kind"] == "batch" and bool(norm.attributes.get("training", True))


def _cause(analysis: Analysis, layers: Sequence[Layer]) -> str:
    """What all inputs have in common: biases where they are large, else the mean of the activation."""
    shares = []
    for layer in layers:
        signal = analysis.signal_out_of(layer.node)
        if signal is not None and layer.bias is not None:
            shares.append(layer.bias.distribution.mean_square / signal.mean_square)
    large = [share for share in shares if share > LARGE]
    if large:
        first = next(layer for layer in layers if layer.bias is not None and layer.weight is not None)
        return (
            f"{len(large)} of {len(layers)} layers: the bias makes up {median(large):.0%} of the mean square, beside "
            f"weights of {scheme_name(first.weight.distribution) if first.weight is not None else ''}"
        )
    names = [activation_name(str(layer.activation.attributes["function"])) for layer in layers if layer.activation]
    return f"{names[0]} gives all inputs a mean in common" if names else "all inputs are given a part in common"


def _normalized_network(bias: str) -> Graph:
    b = Builder()
    x = b.x
    for _ in range(30):
        x = b.activation(b.normalize(b.linear(x, 64, "normal(0, 0.01)", bias=bias)))
    return b.graph(b.linear(x, 10))
