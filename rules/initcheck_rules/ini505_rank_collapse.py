"""INI505: attention has made all tokens of a sample alike before the last block."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

from initcheck import Bounds, Builder, FailureMode, Finding, Need, Optimizer, Severity

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from initcheck import Analysis, AttentionFacts, Graph

__all__ = ["RankCollapse"]

ALIKE: Mapping[Optimizer, Bounds] = {Optimizer.SGD: Bounds(2.0, 3.0), Optimizer.ADAM: Bounds(2.0, 3.0)}
"""-log10 of one minus the cosine between two tokens of a sample: cosines of 0.99 and 0.999.

The gradients of queries and keys contain 1 - cos twice, once for the keys and once for the values: at 0.99 they are
below 10^-4 of that of the values, as mean square.
"""

STARVED = 1e-4
"""Gradient of queries and keys over that of the values, as mean square, below which attention does not learn."""

APART = 0.9
"""Cosine up to which tokens count as different at the first attention: where they come in alike nothing collapses."""

CLOSEST = 1e-12


@dataclass(frozen=True, slots=True)
class RankCollapse:
    """Attention has made all tokens of a sample alike before the last block.

    What it checks:
        The cosine between two tokens of one sample at the input of the last self-attention, what all samples have in
        common left out, where the gradients of queries and keys are below 10^-4 of that of the values (as mean square).
        A warning from 0.99, an error from 0.999, under any optimizer; a note where the main output is one answer per
        sample.

    Why it fails:
        Attention that is near uniform hands every token the mean of all; without a skip the tokens converge doubly
        exponentially in depth (Dong et al. 2021), with unscaled ones still geometrically. Between equal keys there is
        nothing to choose: the gradients of queries and keys vanish (Noci et al. 2022), and attention stays uniform.

    Example:
        ``x = norm(attention(x))`` eight times, the skip forgotten.

    Instead:
        ``x = x + attention(norm(x))``; with branches scaled by 1/√L where the stack is deep.

    Limits:
        Silent where tokens are alike from the start, or for what positions, types and biases put into every sample. One
        answer per sample can be read off the mean of the tokens, which collapse spares: such models start, as bags of
        tokens (3, 6 and 12 blocks without skips). Where every token has its own answer, three blocks start late with
        Adam and never with SGD, six with neither (``benchmarks/attention_start.py``).

    References:
        Dong et al., Attention is Not All You Need (arXiv 2103.03404). Noci et al., Signal Propagation in Transformers
        (arXiv 2206.03126).
    """

    code: ClassVar[str] = "INI505"
    name: ClassVar[str] = "rank-collapse"
    failure_mode: ClassVar[FailureMode] = FailureMode.COLLAPSE
    severity: ClassVar[Severity] = Severity.ERROR
    needs: ClassVar[frozenset[Need]] = frozenset({Need.GRAPH, Need.SIGNAL, Need.INITIALIZATION})
    subsumes: ClassVar[frozenset[str]] = frozenset({"INI101"})

    bounds: Mapping[Optimizer, Bounds] = field(
        default_factory=lambda: ALIKE, metadata={"doc": "-log10 of one minus the cosine between two tokens"}
    )

    def check(self, analysis: Analysis) -> Iterator[Finding]:
        """At most one finding."""
        found = [facts for facts in analysis.attention if _is_self(facts) and facts.keys > 1]
        if len(found) < 2:
            return
        first, last = _cosine(analysis, found[0]), _cosine(analysis, found[-1])
        starved = _starved(analysis, found[-1])
        if first is None or last is None or starved is None or first >= APART or starved >= STARVED:
            return
        bounds = self.bounds[analysis.optimizer]
        severity = bounds.judge(_nines(last))
        if severity is not Severity.OFF and not _answers_per_token(analysis):
            severity = Severity.NOTE
        if severity is not Severity.OFF:
            yield self._finding(analysis, found, (first, last, starved), severity)

    def _finding(
        self,
        analysis: Analysis,
        found: list[AttentionFacts],
        numbers: tuple[float, float, float],
        severity: Severity,
    ) -> Finding:
        bounds = self.bounds[analysis.optimizer]
        bound = 1.0 - 10.0 ** -(bounds.error if severity is Severity.ERROR else bounds.warning)
        first, last, starved = numbers
        at = next(
            facts for facts in found if _nines(_cosine(analysis, facts) or 0.0) >= bounds.warning or facts is found[-1]
        )
        signal = analysis.forward.signals.get(_tokens(found[-1]))
        skipped = any(facts.node.name in analysis.structure.on_branch for facts in found)
        without = "residual branches are too large next to the stream" if skipped else "no skip leads around attention"
        return Finding(
            code=self.code,
            name=self.name,
            severity=severity,
            failure_mode=self.failure_mode,
            message=(
                f"tokens of one sample have cosine {last:.6g} before the last of {len(found)} attentions (bound "
                f"{bound:.4g}), starting at {at.path}"
            ),
            cause=(
                f"{without}: the cosine was {first:.2g} at {found[0].path}, a query sees {1.0 / at.same:.2g} of "
                f"{at.keys} keys, and queries and keys get {starved:.1g} of the gradient of the values"
            ),
            help="x = x + branch(norm(x)), branches scaled by 1/√L" if skipped else "x = x + attention(norm(x))",
            layers=tuple(dict.fromkeys(facts.path for facts in (at, *found[found.index(at) + 1 :]))),
            location=at.node.location,
            evidence={
                "cosine": last,
                "first_cosine": first,
                "query_key_gradient": starved,
                "bound": bound,
                "attentions": len(found),
            },
            segment=f"segment {signal.segment}" if signal is not None else "",
            assumed=any(facts.assumed for facts in found),
        )

    @staticmethod
    def bad() -> Graph:
        """Eight attentions without skips."""
        return _stack(skips=False)

    @staticmethod
    def good() -> Graph:
        """The same with skips."""
        return _stack(skips=True)

    @staticmethod
    def helped(finding: Finding) -> Graph:  # noqa: ARG004 - there is one way to follow the line
        """The skips put back."""
        return _stack(skips=True)


def _is_self(facts: AttentionFacts) -> bool:
    """Whether queries and keys are projections of one value."""
    query, key = facts.query_layer, facts.key_layer
    return query is not None and key is not None and query.inputs[0] == key.inputs[0]


def _tokens(facts: AttentionFacts) -> str:
    return facts.key_layer.inputs[0] if facts.key_layer is not None else facts.key


def _cosine(analysis: Analysis, facts: AttentionFacts) -> float | None:
    """Cosine between two tokens of a sample, without what is common to all samples where that makes it smaller."""
    signal = analysis.forward.signals.get(_tokens(facts))
    if signal is None or signal.mean_square <= 0.0 or signal.positions < 2:
        return None
    square, pair, common = signal.mean_square, signal.pair_position, max(signal.pair_sample, 0.0)
    whole = pair / square
    return min(whole, (pair - common) / (square - common)) if square > common else 0.0


def _answers_per_token(analysis: Analysis) -> bool:
    """Whether the main output has positions, so that it has to tell them apart; so if nothing is known of it."""
    signal = analysis.forward.signals.get(analysis.graph.main_output)
    return signal is None or signal.positions > 1


def _nines(cosine: float) -> float:
    return -math.log10(max(1.0 - cosine, CLOSEST))


def _starved(analysis: Analysis, facts: AttentionFacts) -> float | None:
    """Mean-square gradient of queries or keys, whichever is larger, over that of the values."""
    gradients = analysis.backward.gradients
    query, key, value = (gradients.get(name) for name in (facts.query, facts.key, facts.value))
    if query is None or key is None or value is None or value.mean_square <= 0.0:
        return None
    return max(query.mean_square, key.mean_square) / value.mean_square


def _stack(*, skips: bool) -> Graph:
    width = 64
    b = Builder((4, 32, width))
    x = b.x
    for k in range(8):
        normed = b.normalize(x) if skips else x
        query, key, value = (b.linear(normed, width, "xavier_normal", path=f"{k}.{name}") for name in ("q", "k", "v"))
        mixed = b.linear(b.attention(query, key, value, path=f"{k}.attention"), width, "xavier_normal", path=f"{k}.out")
        x = b.add(x, mixed) if skips else b.normalize(mixed)
    return b.graph(b.linear(b.normalize(x), 10, "xavier_normal", path="head"))
