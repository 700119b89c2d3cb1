"""INI405: a layer has another scale than its siblings, or the wrong projection of a block is scaled with depth."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

from initcheck import Bounds, Builder, FailureMode, Finding, Need, Optimizer, Severity
from initcheck_rules.absorbed import is_absorbed
from initcheck_rules.depth_scale import find_misplaced
from initcheck_rules.siblings import LEAST, find_outliers
from initcheck_rules.variance import SIGNAL_GAIN
from initcheck_rules.wording import count_of, power_of_ten, scheme_name

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from initcheck import Analysis, Graph
    from initcheck_rules.depth_scale import Misplaced
    from initcheck_rules.siblings import Outlier

__all__ = ["ScaleOutlier"]


@dataclass(frozen=True, slots=True)
class ScaleOutlier:
    """A layer has another scale than its siblings, or the wrong projection of a block is scaled with depth.

    What it checks:
        Layers of one role and shape (paths equal up to the numbers of blocks), four or more of them: a weight whose
        mean square is more than ten times off the median, beyond five standard errors, while the others keep together.
        A warning where it is larger by as much as a signal may grow (INI102: 10^4), else a note. And, as a note, inner
        projections that carry the factor 1/√(2L) or 1/√L which belongs to the one that writes to the residual stream.

    Why it fails:
        A loud layer multiplies all that passes it; on a residual branch its block drowns the others. A quiet one passes
        nothing on until it has grown. The factor 1/√(2L) keeps a stream of L blocks at its length, and does so only
        on the last projection of each branch (Radford et al. 2019).

    Example:
        ``if name.endswith("w3.weight"): nn.init.normal_(p, std=0.02 / (2 * n_layers) ** 0.5)`` where ``w2`` writes to
        the stream.

    Instead:
        Draw all layers of a role by one law; scale the projection that writes to the stream (``w2``, ``c_proj``).

    Limits:
        Silent where a normalisation divides the scale away before anything depends on it, for heads and for zeros.
        Scales that change gradually with depth are no outliers. The misplaced factor is looked for among laws of
        a fixed standard deviation.

    References:
        Radford et al., Language Models are Unsupervised Multitask Learners (2019), section 2.3. Hanin and Rolnick, How
        to Start Training (arXiv 1803.01719).
    """

    code: ClassVar[str] = "INI405"
    name: ClassVar[str] = "scale-outlier"
    failure_mode: ClassVar[FailureMode] = FailureMode.EXPLODING
    severity: ClassVar[Severity] = Severity.WARNING
    needs: ClassVar[frozenset[Need]] = frozenset({Need.GRAPH, Need.SIGNAL, Need.INITIALIZATION})
    subsumes: ClassVar[frozenset[str]] = frozenset({"INI204"})

    bounds: Mapping[Optimizer, Bounds] = field(default_factory=lambda: SIGNAL_GAIN)

    def check(self, analysis: Analysis) -> Iterator[Finding]:
        """One finding per layer that stands out, one per role that is scaled in another's place."""
        loud = self.bounds[analysis.optimizer].warning
        for outlier in find_outliers(analysis):
            if not is_absorbed(analysis, outlier.layer.node):
                yield self._outlier(outlier, loud)
        for misplaced in find_misplaced(analysis):
            yield self._misplaced(misplaced)

    def _outlier(self, outlier: Outlier, loud: float) -> Finding:
        layer = outlier.layer
        warns = outlier.deviation >= loud
        law = layer.weight.distribution if layer.weight is not None else None
        mended = "" if law is None else f"{law.std * 10.0 ** (-outlier.deviation / 2.0):.2g}"
        return Finding(
            code=self.code,
            name=self.name,
            severity=Severity.WARNING if warns else Severity.NOTE,
            failure_mode=self.failure_mode if outlier.deviation > 0.0 else FailureMode.VANISHING,
            message=(
                f"mean-square weight of {layer.path} is {power_of_ten(outlier.deviation)} times that of its "
                f"{outlier.siblings} siblings {outlier.role} "
                f"(bound {power_of_ten(loud if warns else math.copysign(LEAST, outlier.deviation))})"
            ),
            cause=(
                f"{layer.path}: {scheme_name(law) if law is not None else ''}, "
                f"its siblings have standard deviation {mended}"
            ),
            help=f"nn.init.normal_(layer.weight, std={mended})",
            layers=(layer.path,),
            location=layer.node.location,
            evidence={
                "log10_ratio": outlier.deviation,
                "siblings": outlier.siblings,
                "bound": loud if warns else LEAST,
            },
        )

    def _misplaced(self, misplaced: Misplaced) -> Finding:
        scaled, writer = misplaced.scaled, misplaced.writer
        std = scaled.weight.distribution.std if scaled.weight is not None else 0.0
        return Finding(
            code=self.code,
            name=self.name,
            severity=Severity.NOTE,
            failure_mode=FailureMode.RESIDUAL,
            message=(
                f"{count_of(len(misplaced.layers), 'layer')} like {scaled.path} are scaled down by "
                f"√{misplaced.ratio:.3g} for {misplaced.additions} residual additions, but {writer.path} writes to the "
                f"stream (bound 0)"
            ),
            cause=f"{writer.path} ends the residual branch and has the scale of the layers inside",
            help=f"give std={std:.3g} to the layers like {writer.path}, and theirs to those like {scaled.path}",
            layers=tuple(dict.fromkeys(layer.path for layer in misplaced.layers)),
            location=scaled.node.location,
            evidence={"ratio": misplaced.ratio, "residual_additions": misplaced.additions, "bound": 0},
        )

    @staticmethod
    def bad() -> Graph:
        """One layer of eight drawn eleven times too large."""
        return _stack("normal(0, 2)")

    @staticmethod
    def good() -> Graph:
        """Eight layers drawn alike."""
        return _stack("kaiming_normal")


def _stack(fourth: str) -> Graph:
    b = Builder()
    x = b.x
    for k in range(8):
        x = b.activation(b.linear(x, 64, fourth if k == 3 else "kaiming_normal", path=f"layers.{k}"))
    return b.graph(b.linear(x, 10, path="head"))
