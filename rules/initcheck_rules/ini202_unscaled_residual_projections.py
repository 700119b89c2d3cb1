"""INI202: the projections that write to a deep pre-norm stream are not scaled with its depth."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING, ClassVar

from initcheck import Builder, FailureMode, Finding, Need, Severity
from initcheck_rules.absorbed import is_absorbed
from initcheck_rules.siblings import LEAST, log10_scale
from initcheck_rules.stream import additions_of
from initcheck_rules.wording import power_of_ten, scheme_name

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from initcheck import Analysis, Graph, Layer
    from initcheck_rules.stream import Addition

__all__ = ["UnscaledResidualProjections"]

DEEP = 24
"""Residual additions from which a stack counts as deep: twelve blocks of attention and feed-forward, as GPT-2."""

SCALED = 3.0
"""Times 1/L: a mean-square factor up to which a projection counts as scaled for L additions (blocks of two: 2/L)."""


@dataclass(frozen=True, slots=True)
class UnscaledResidualProjections:
    """The projections that write to a deep pre-norm stream are not scaled with its depth.

    What it checks:
        Stacks of 24 or more residual additions whose branches begin with a normalisation: the mean-square factor on
        what the last projection of each branch writes, by its weights next to those of the inner layers and by any
        scale after it. A note where it is more than 3/L for L additions and the stream grows by a decade or more.

    Why it fails:
        Every branch adds the same mean square, so the stream grows with the number of blocks and later blocks change it
        less and less, while the first ones set its length. With a factor 1/L on what is added the sum stays that of
        one block, and updates of all blocks together move the output as much as those of one (Radford et al. 2019,
        1/√(2 blocks) on the weights).

    Example:
        ``nn.init.normal_(p, std=0.02)`` for all weights of 24 blocks, ``c_proj`` included.

    Instead:
        ``nn.init.normal_(c_proj.weight, std=0.02 / (2 * blocks) ** 0.5)``; or LayerScale, a learnable factor of zero,
        zeros for the last projections.

    Limits:
        Growth is linear in depth, and such stacks do train (Llama): never more than a note. Branches that end in a
        normalisation are left out.

    References:
        Radford et al., Language Models are Unsupervised Multitask Learners (2019), section 2.3. De and Smith (arXiv
        2002.10444). Touvron et al., LayerScale (arXiv 2103.17239).
    """

    code: ClassVar[str] = "INI202"
    name: ClassVar[str] = "unscaled-residual-projections"
    failure_mode: ClassVar[FailureMode] = FailureMode.RESIDUAL
    severity: ClassVar[Severity] = Severity.NOTE
    needs: ClassVar[frozenset[Need]] = frozenset({Need.GRAPH, Need.SIGNAL, Need.INITIALIZATION})
    subsumes: ClassVar[frozenset[str]] = frozenset()

    def check(self, analysis: Analysis) -> Iterator[Finding]:
        """At most one finding."""
        stack = [addition for addition in additions_of(analysis) if _is_judged(analysis, addition)]
        if len(stack) < DEEP:
            return
        inner = _inner(stack)
        factors = [(addition, _factor(addition, inner)) for addition in stack] if inner else []
        bound = SCALED / len(stack)
        unscaled = [addition for addition, factor in factors if factor > bound]
        growth = math.log10(stack[-1].result.mean_square / stack[0].skip.mean_square)
        if len(unscaled) > len(stack) / 2 and growth >= LEAST:
            yield self._finding(stack, unscaled, median(factor for _, factor in factors), growth)

    def _finding(
        self, stack: Sequence[Addition], unscaled: Sequence[Addition], factor: float, growth: float
    ) -> Finding:
        bound = SCALED / len(stack)
        writers = [layer for addition in unscaled for layer in addition.writers]
        laws = [layer.weight.distribution for layer in writers if layer.weight is not None]
        std = median(law.std for law in laws) / math.sqrt(len(stack))
        return Finding(
            code=self.code,
            name=self.name,
            severity=Severity.NOTE,
            failure_mode=self.failure_mode,
            message=(
                f"{len(unscaled)} of {len(stack)} pre-norm branches write to the stream unscaled (factor {factor:.2g}, "
                f"bound {bound:.2g}): its mean square grows to {power_of_ten(growth)} of itself, starting at "
                f"{writers[0].path}"
            ),
            cause=f"{writers[0].path} is drawn by {scheme_name(laws[0])}, like the layers inside the branches",
            help=f"nn.init.normal_(layer.weight, std={std:.2g})",
            layers=tuple(dict.fromkeys(layer.path for layer in writers)),
            location=writers[0].node.location,
            evidence={"additions": len(stack), "factor": factor, "bound": bound, "log10_growth": growth},
        )

    @staticmethod
    def bad() -> Graph:
        """Twenty-four branches drawn alike."""
        return _stack(0.1)

    @staticmethod
    def good() -> Graph:
        """Their last layers scaled by 1/√24."""
        return _stack(0.1 / math.sqrt(24.0))


def _is_judged(analysis: Analysis, addition: Addition) -> bool:
    """Whether a branch begins with a normalisation and does not end with one."""
    if not addition.pre_norm or not addition.writers:
        return False
    return not any(is_absorbed(analysis, layer.node) for layer in addition.writers)


def _inner(stack: Sequence[Addition]) -> list[Layer]:
    return [
        layer
        for addition in stack
        for layer in addition.layers
        if layer not in addition.writers and not math.isnan(log10_scale(layer)) and layer.fan_in
    ]


def _factor(addition: Addition, inner: Sequence[Layer]) -> float:
    """Mean-square factor on what a branch adds, next to a writer drawn like the inner layers.

    By the mean-square weight or by n E[w²], whichever is smaller: unscaled laws agree in the first where they have a
    fixed scale, in the second where they divide by a fan.
    """
    scale = median(map(log10_scale, inner))
    gain = median(map(_log10_gain, inner))
    written = 0.0
    for layer in addition.writers:
        law = layer.weight.distribution if layer.weight is not None else None
        if law is not None and law.mean_square > 0.0 and layer.fan_in:
            own = math.log10(law.mean_square)
            written = max(written, 10.0 ** min(own - scale, own + math.log10(layer.fan_in) - gain))
    return written * _after(addition)


def _after(addition: Addition) -> float:
    """What a scale after the writer leaves of its mean square (LayerScale, ReZero, 1/√L)."""
    return addition.branch.mean_square / addition.written if addition.written > 0.0 else 1.0


def _log10_gain(layer: Layer) -> float:
    return log10_scale(layer) + math.log10(layer.fan_in)


def _stack(last: float) -> Graph:
    b = Builder()
    x = b.linear(b.x, 64, "lecun_normal")
    for k in range(DEEP):
        hidden = b.activation(b.linear(b.normalize(x), 256, "normal(0, 0.1)", path=f"{k}.fc"), "gelu")
        x = b.add(x, b.linear(hidden, 64, f"normal(0, {last:.6g})", path=f"{k}.proj"))
    return b.graph(b.linear(b.normalize(x), 10, "lecun_normal", path="head"))
