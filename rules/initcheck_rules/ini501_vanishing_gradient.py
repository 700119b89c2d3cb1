"""INI501: the gradient dies on its way back although the output depends on the input."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING, ClassVar

from initcheck import Bounds, Builder, FailureMode, Finding, Need, Optimizer, Severity
from initcheck_rules.branches import branch_path, branch_steps
from initcheck_rules.remedy import initialization_code
from initcheck_rules.sensitivity import comparable_steps, path_uncertainty, segment_of, steps_between
from initcheck_rules.steps import blamed, cause_of
from initcheck_rules.variance import SIGNAL_GAIN, inference_norms
from initcheck_rules.wording import count_of, power_of_ten

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from initcheck import Analysis, Graph, Layer, Residual
    from initcheck_rules.steps import Step

__all__ = ["VanishingGradient"]


@dataclass(frozen=True, slots=True)
class _Loss:
    """A loss that is reported.

    Attributes:
        change: Decades of the squared gradient from the last layer to the first.
        bound: Which it is beyond, in decades.
        uncertainty: Half-width of its interval, in decades.
        severity: By the bounds.
    """

    change: float
    bound: float
    uncertainty: float
    severity: Severity


@dataclass(frozen=True, slots=True)
class VanishingGradient:
    """The gradient dies on its way back although the output depends on the input.

    What it checks:
        The squared gradient of one sample, from the last layer back to the first: along the main path for a relative
        change of the layers' outputs, over normalisations and all; and inside every residual branch. The largest loss
        of a single layer does not count. It warns from 10^-4 and is an error from 10^-6 (Adam: 10^-11 and 10^-13).

    Why it fails:
        Each layer multiplies the gradient by fan_out · E[w²] · E[f'²]. A skip connection around many layers keeps the
        signal alive, and the output depends on the input; but the layers inside do not learn, since each has the small
        factors of all the others in its gradient, and the branch stays what it is: noise of no size. Along a chain
        of normalisations biases take a share at every layer, each of them harmless.

    Example:
        ``x = x + branch(x)`` with twenty ``nn.Linear`` and ``nn.ReLU`` of PyTorch's default inside the branch: the
        gradient of its first layer is 10^-15.0 of that of its last.

    Instead:
        Draw with the variance that the activation needs: ``nn.init.kaiming_normal_(layer.weight,
        nonlinearity="relu")``; or give every two layers a skip connection of their own.

    Limits:
        Where the signal dies on its way forward as well, INI101 or INI105 tell more and this finding is part of theirs.
        A branch that is small by one factor (LayerScale, a last layer of zeros) is healthy and not meant. Inside
        a branch the strongest way back is followed; queries and keys of attention are not.

    References:
        Hochreiter, Untersuchungen zu dynamischen neuronalen Netzen (1991). Bengio et al., Learning Long-Term
        Dependencies with Gradient Descent is Difficult (1994). Schoenholz et al. (arXiv 1611.01232).
    """

    code: ClassVar[str] = "INI501"
    name: ClassVar[str] = "vanishing-gradient"
    failure_mode: ClassVar[FailureMode] = FailureMode.VANISHING
    severity: ClassVar[Severity] = Severity.ERROR
    needs: ClassVar[frozenset[Need]] = frozenset({Need.GRAPH, Need.SIGNAL, Need.INITIALIZATION})
    subsumes: ClassVar[frozenset[str]] = frozenset({"INI503"})

    bounds: Mapping[Optimizer, Bounds] = field(
        default_factory=lambda: SIGNAL_GAIN, metadata={"doc": "decades by which the squared gradient shrinks"}
    )

    def check(self, analysis: Analysis) -> Iterator[Finding]:
        """At most one finding for the main path, and one for each branch."""
        path = comparable_steps(analysis)
        start = min(range(len(path)), key=lambda at: path[at].log10_sensitivity, default=0)
        steps = steps_between(analysis, path[start:], -1.0)
        loss = self._loss(analysis, [step.amount for step in steps])
        if loss is not None:
            named = {step.path for step in path[start:]}
            layers = [layer for layer in analysis.layers if layer.path in named]
            segment = segment_of(steps, -1.0)
            yield from self._finding(analysis, loss, steps, layers, segment=segment, assumed=path[start].assumed)
        for residual in analysis.structure.residuals.values():
            yield from self._branch(analysis, residual)

    def _branch(self, analysis: Analysis, residual: Residual) -> Iterator[Finding]:
        path = branch_path(analysis, residual)
        loss = self._loss(analysis, [here.log10_energy - following.log10_energy for here, following in pairwise(path)])
        if loss is None:
            return
        signal = analysis.signal_out_of(path[0].layer.node)
        yield from self._finding(
            analysis,
            loss,
            branch_steps(analysis, residual, path),
            [step.layer for step in path],
            where=" inside a residual branch",
            segment=f"segment {signal.segment}" if signal is not None else "",
            assumed=signal.assumed if signal is not None else False,
        )

    def _loss(self, analysis: Analysis, amounts: Sequence[float]) -> _Loss | None:
        """What a stretch of layers loses, layer by layer in decades (negative: lost); None where it is not reported."""
        bounds, uncertainty = self.bounds[analysis.optimizer], path_uncertainty(analysis)
        change = sum(amounts)
        judged = min(amounts, default=0.0) - change
        severity = bounds.judge(judged, uncertainty)
        if severity is Severity.OFF:
            return None
        reached = bounds.error if judged - uncertainty >= bounds.error else bounds.warning
        return _Loss(change, reached, uncertainty, severity)

    def _finding(
        self,
        analysis: Analysis,
        loss: _Loss,
        steps: Sequence[Step],
        layers: Sequence[Layer],
        *,
        where: str = "",
        segment: str,
        assumed: bool,
    ) -> Iterator[Finding]:
        guilty = blamed(steps, -1.0)
        if not guilty:
            return
        capped = inference_norms(analysis) or analysis.graph.folded_normalization
        place = next((layer.node.location for layer in analysis.layers if layer.path == guilty[0].path), None)
        yield Finding(
            code=self.code,
            name=self.name,
            severity=Severity.NOTE if capped else loss.severity,
            failure_mode=self.failure_mode,
            message=(
                f"gradient shrinks to {power_of_ten(loss.change)} of itself on its way back over "
                f"{count_of(len(guilty), 'layer')}{where} (bound {power_of_ten(-loss.bound)}), down to {guilty[0].path}"
            ),
            cause=cause_of(guilty, -1.0),
            help=initialization_code(layers) or "zero the biases, or add skip connections",
            layers=tuple(dict.fromkeys(step.path for step in guilty)),
            location=place,
            evidence={
                "log10_gradient_loss": loss.change,
                "bound": -loss.bound,
                "uncertainty": loss.uncertainty,
                "layers": len(guilty),
            },
            segment=segment,
            assumed=assumed,
        )

    @staticmethod
    def bad() -> Graph:
        """Twenty layers of PyTorch's default inside one skip connection."""
        return _long_branch("pytorch_default")

    @staticmethod
    def good() -> Graph:
        """The same branch with the variance that ReLU needs."""
        return _long_branch("kaiming_normal")


def _long_branch(init: str) -> Graph:
    b = Builder()
    x = b.linear(b.x, 64, "lecun_normal")
    y = x
    for _ in range(20):
        y = b.linear(b.activation(y), 64, init)
    return b.graph(b.linear(b.add(x, y), 10, "lecun_normal"))
