"""INI502: the gradient grows on its way back while lengths stay."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

from initcheck import Bounds, Builder, FailureMode, Finding, Need, Optimizer, Severity
from initcheck_rules.sensitivity import comparable_steps, path_uncertainty, segment_of, steps_between, weights_code
from initcheck_rules.steps import blamed, cause_of
from initcheck_rules.variance import CHAOS, inference_norms
from initcheck_rules.wording import count_of, power_of_ten

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from initcheck import Analysis, Graph
    from initcheck_rules.steps import Step

__all__ = ["ExplodingGradient"]

SKIP = "x = x + block(x)"
"""Half of the perturbation goes around each block: the gradient grows like a power of the depth."""


@dataclass(frozen=True, slots=True)
class ExplodingGradient:
    """The gradient grows on its way back while lengths stay.

    What it checks:
        The squared gradient of one sample for a relative change of the layers' outputs (gradient energy times mean
        square), along the main path from the last hidden layer to the one where it is largest, in expectation over the
        weights; what the largest single layer adds does not count. It warns from 10^6 and is an error from 10^8 (Adam:
        10^8 and 10^12).

    Why it fails:
        Where a layer keeps its length but lets perturbations grow, two inputs part exponentially on their way forward,
        and gradients grow by the same factor per layer on their way back: the first layers are thrown about by a rate
        at which the last ones do not move. Batch normalisation between ReLU layers does so at every scale of the
        weights, by π/(π - 1) or 0.17 decades per layer (Yang et al. 2019); so do tanh layers with weights that are too
        large (Poole et al. 2016).

    Example:
        Fifty blocks of ``nn.Linear``, ``nn.BatchNorm1d`` and ``nn.ReLU`` without a skip connection: 10^9.2.

    Instead:
        Skip connections around the blocks, ``x = x + block(x)``; or fewer layers; without normalisation, the critical
        scale, ``nn.init.kaiming_normal_(layer.weight, nonlinearity="linear")`` before tanh.

    Limits:
        Growth that goes with the length cancels in the quantity and is left to INI102 and INI201. Chains of batch
        normalisation of 30 layers (10^4.7) start with momentum SGD, chains of 90 (10^15) with no optimizer; the bounds
        between them are not measured. Only values that all of the signal runs through are compared; branches of
        residual blocks and recurrent steps are not followed.

    References:
        Yang et al., A Mean Field Theory of Batch Normalization (arXiv 1902.08129). Poole et al., Exponential
        Expressivity in Deep Neural Networks through Transient Chaos (arXiv 1606.05340). Schoenholz et al., Deep
        Information Propagation (arXiv 1611.01232).
    """

    code: ClassVar[str] = "INI502"
    name: ClassVar[str] = "exploding-gradient"
    failure_mode: ClassVar[FailureMode] = FailureMode.EXPLODING
    severity: ClassVar[Severity] = Severity.ERROR
    needs: ClassVar[frozenset[Need]] = frozenset({Need.GRAPH, Need.SIGNAL, Need.INITIALIZATION})
    subsumes: ClassVar[frozenset[str]] = frozenset({"INI503"})

    bounds: Mapping[Optimizer, Bounds] = field(
        default_factory=lambda: CHAOS,
        metadata={"doc": "decades by which the squared gradient for a relative change grows towards the input"},
    )

    def check(self, analysis: Analysis) -> Iterator[Finding]:
        """At most one finding: where the gradient begins to be largest, and what makes it so."""
        path = comparable_steps(analysis)
        if not path:
            return
        start = max(range(len(path)), key=lambda at: path[at].log10_sensitivity)
        bounds, growth = self.bounds[analysis.optimizer], path[start].log10_sensitivity
        steps = steps_between(analysis, path[start:], 1.0)
        uncertainty = path_uncertainty(analysis)
        judged = growth - max((step.amount for step in steps), default=0.0)
        severity = bounds.judge(judged, uncertainty)
        guilty = blamed(steps, 1.0) if severity is not Severity.OFF else ()
        if not guilty:
            return
        if inference_norms(analysis) or analysis.graph.folded_normalization:
            severity = Severity.NOTE
        reached = bounds.error if judged - uncertainty >= bounds.error else bounds.warning
        paths = {step.path for step in guilty}
        first = next(layer for layer in path if layer.path in paths)
        yield Finding(
            code=self.code,
            name=self.name,
            severity=severity,
            failure_mode=self.failure_mode,
            message=(
                f"gradient grows to {power_of_ten(growth)} of itself on its way back over "
                f"{count_of(len(guilty), 'layer')} (bound {power_of_ten(reached)}), up to {first.path}"
            ),
            cause=cause_of(guilty, 1.0),
            help=_remedy(analysis, guilty),
            layers=tuple(dict.fromkeys(step.path for step in guilty)),
            location=first.node.location,
            evidence={
                "log10_gradient_growth": growth,
                "log10_gradient_energy": path[start].log10_energy,
                "bound": reached,
                "uncertainty": uncertainty,
                "layers": len(guilty),
            },
            segment=segment_of(guilty, 1.0),
            assumed=path[start].assumed,
        )

    @staticmethod
    def bad() -> Graph:
        """Fifty-two layers with batch normalisation."""
        return _normalized_network(skip=False)

    @staticmethod
    def good() -> Graph:
        """The same layers with a skip connection around each."""
        return _normalized_network(skip=True)

    @staticmethod
    def helped(finding: Finding) -> Graph:
        """Skip connections, as the help line says."""
        return _normalized_network(skip=SKIP in finding.help)


def _remedy(analysis: Analysis, guilty: Sequence[Step]) -> str:
    return weights_code(analysis, guilty) or f"{SKIP}, a skip connection around each of these layers; or fewer of them"


def _normalized_network(*, skip: bool) -> Graph:
    b = Builder()
    x = b.activation(b.linear(b.x, 64))
    for _ in range(52):
        y = b.activation(b.normalize(b.linear(x, 64, bias=None), "batch"))
        x = b.add(x, y) if skip else y
    return b.graph(b.linear(x, 10, "lecun_normal"))
