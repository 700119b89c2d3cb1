"""INI504: attention looks at one key at random, because its logits are too large for the number of keys."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

from initcheck import Builder, FailureMode, Finding, Need, Severity
from initcheck_rules.wording import count_of, scheme_name

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from initcheck import Analysis, AttentionFacts, Graph, Node

__all__ = ["AttentionLogits"]

CONDENSED = 2.0
"""Times ln T: from this variance on the softmax of T Gaussian logits sits on a few keys, whatever T."""

LOUD = 200.0
"""Times ln T, from which a note becomes a warning: what is left of the softmax's answer, 1 - E Σ A² = √(2 ln T / v) in
the condensed phase, is one tenth.

``benchmarks/attention_start.py`` trains taggers whose queries and keys alone are too large. What needs no choice of
keys starts at once, whatever the logits. Reporting the class of the first token everywhere starts sooner at 3 and 22
ln T than with PyTorch's default (107 and 101 steps with SGD instead of 267), a little later at 350, and with SGD not at
all at 5500. Reporting that of the token before starts with Adam up to 3 ln T. A transformer of the corpus at 310 ln T
does not start with SGD, but the first kind of tagger always does: never an error.
"""

FEWEST_KEYS = 8
"""Keys from which the limit of many of them says something."""

KEYS_FOR_FEW = 1024
"""Keys that fewer are judged as: a variance that condenses so many condenses any smaller number."""

UNSCALED = 2.0
"""Factor on the scores, times √d, from which the division by √d is missing."""


@dataclass(frozen=True, slots=True)
class AttentionLogits:
    """Attention looks at one key at random, because its logits are too large for the number of keys.

    What it checks:
        The variance over keys of the attention logits against ln T, for T keys: a note from 2 ln T, where the softmax
        condenses, a warning from 200 ln T, where nine tenths of its answer are gone, under any optimizer. Fewer than 8
        keys, as in a short example input, are judged as 1024.

    Why it fails:
        The softmax of T Gaussian logits of variance v is that of a random energy model: from v = 2 ln T on its weight
        sits on a few keys that the initial weights chose (entropy collapse), and the layer hands on single tokens. It
        answers ever less to a change of queries and keys, by 1 - Σ A² = √(2 ln T / v), and what depends on where a
        token looks is learned late or not at all.

    Example:
        Query and key weights from ``torch.randn`` at any width; ``softmax(q @ k.transpose(-2, -1))`` without the
        division by √d is a note.

    Instead:
        Divide the scores by √d; draw the query and key projections so that q and k keep the length of x (Xavier), or
        normalise both before the product.

    Limits:
        Masks are not counted off the keys. The bound of the note is that of the random energy model, not of a failure:
        saturated attention slows what depends on the choice of keys, and a model with skips may leave chance through
        its values and feed-forward layers above any bound.

    References:
        Derrida, Random-energy model (1981). Giorlandino and Goldt (arXiv 2505.24333). Zhai et al., Stabilizing
        Transformer Training by Preventing Attention Entropy Collapse (arXiv 2303.06296).
    """

    code: ClassVar[str] = "INI504"
    name: ClassVar[str] = "attention-logits"
    failure_mode: ClassVar[FailureMode] = FailureMode.SATURATION
    severity: ClassVar[Severity] = Severity.WARNING
    needs: ClassVar[frozenset[Need]] = frozenset({Need.GRAPH, Need.SIGNAL, Need.INITIALIZATION})
    subsumes: ClassVar[frozenset[str]] = frozenset()

    loud: float = field(
        default=LOUD, metadata={"doc": "variance of the logits, times ln T, from which it is a warning"}
    )

    def check(self, analysis: Analysis) -> Iterator[Finding]:
        """One finding for all attentions that condense."""
        group = [facts for facts in analysis.attention if facts.keys > 1 and _ratio(facts) >= CONDENSED]
        if group:
            yield self._finding(analysis, group)

    def _finding(self, analysis: Analysis, group: Sequence[AttentionFacts]) -> Finding:
        worst = max(group, key=_ratio)
        warns = _ratio(worst) >= self.loud
        bound = self.loud if warns else CONDENSED
        nodes = [node for facts in group for node in (facts.query_layer, facts.key_layer) if node is not None]
        layers = tuple(dict.fromkeys(node.path or node.name for node in nodes)) or (worst.path,)
        first = nodes[0] if nodes else worst.node
        signal = analysis.forward.signals.get(group[0].query)
        return Finding(
            code=self.code,
            name=self.name,
            severity=Severity.WARNING if warns else Severity.NOTE,
            failure_mode=self.failure_mode,
            message=(
                f"attention logits have variance {worst.logit_variance:.3g} over {worst.keys} keys, "
                f"{_ratio(worst):.2g} ln {_judged_keys(worst)} (bound {bound:g} ln {_judged_keys(worst)}), "
                f"in {count_of(len(group), 'attention') if len(group) > 1 else worst.path}"
            ),
            cause=_cause(analysis, worst),
            help=_help(analysis, worst),
            layers=layers,
            location=first.location,
            evidence={
                "logit_variance": worst.logit_variance,
                "keys": worst.keys,
                "keys_seen": 1.0 / worst.same if worst.same > 0.0 else None,
                "bound": bound * math.log(_judged_keys(worst)),
                "attentions": len(group),
            },
            segment=f"segment {signal.segment}" if signal is not None else "",
            assumed=any(facts.assumed for facts in group),
        )

    @staticmethod
    def bad() -> Graph:
        """Query and key weights of standard deviation one."""
        return _block("normal(0, 1)")

    @staticmethod
    def good() -> Graph:
        """Those of Xavier."""
        return _block("xavier_normal")


def _ratio(facts: AttentionFacts) -> float:
    return facts.logit_variance / math.log(_judged_keys(facts))


def _judged_keys(facts: AttentionFacts) -> int:
    return facts.keys if facts.keys >= FEWEST_KEYS else KEYS_FOR_FEW


def _scale(analysis: Analysis, facts: AttentionFacts) -> float:
    """Factor between the inner product of what both projections give and the logits."""
    scale = facts.scale
    for name, layer in ((facts.query, facts.query_layer), (facts.key, facts.key_layer)):
        drawn = analysis.signal_out_of(layer) if layer is not None else None
        read = analysis.forward.signals.get(name)
        if drawn is not None and read is not None and drawn.mean_square > 0.0:
            scale *= math.sqrt(read.mean_square / drawn.mean_square)
    return scale


def _is_unscaled(analysis: Analysis, facts: AttentionFacts) -> bool:
    """Whether dividing by √d would have been enough."""
    factor = _scale(analysis, facts) ** 2 * facts.width
    return factor >= UNSCALED**2 and facts.logit_variance / factor < math.log(facts.keys)


def _cause(analysis: Analysis, facts: AttentionFacts) -> str:
    seen = f"a query sees {1.0 / facts.same:.2g} of {facts.keys} keys" if facts.same > 0.0 else ""
    if _is_unscaled(analysis, facts):
        return f"the scores of width {facts.width} are multiplied by {_scale(analysis, facts):.2g}, not 1/√d; {seen}"
    weights = [analysis.graph.weight(node) for node in (facts.query_layer, facts.key_layer) if node is not None]
    schemes = dict.fromkeys(scheme_name(weight.distribution) for weight in weights if weight is not None)
    drawn = " and ".join(schemes)
    return f"queries and keys are drawn by {drawn}; {seen}" if drawn else seen


def _help(analysis: Analysis, facts: AttentionFacts) -> str:
    if _is_unscaled(analysis, facts):
        return f"scores = q @ k.transpose(-2, -1) / {facts.width} ** 0.5"
    layers = [node for node in (facts.query_layer, facts.key_layer) if node is not None]
    stds = [_std(analysis, node) for node in layers]
    if not stds or not all(std > 0.0 for std in stds):
        return f"divide the scores by {math.sqrt(facts.logit_variance):.3g}, or normalise queries and keys before them"
    # The variance is a product of both weights' variances: one standard deviation for both that makes it 1.
    common = math.exp(sum(map(math.log, stds)) / len(stds)) * facts.logit_variance ** (-0.5 / len(stds))
    return f"nn.init.normal_(layer.weight, std={common:.2g})"


def _std(analysis: Analysis, node: Node) -> float:
    weight = analysis.graph.weight(node)
    return weight.distribution.std if weight is not None else 0.0


def _block(init: str) -> Graph:
    width = 128
    b = Builder((4, 32, width))
    normed = b.normalize(b.x)
    query, key = (b.linear(normed, width, init, path=name) for name in ("query", "key"))
    value = b.linear(normed, width, "xavier_normal", path="value")
    mixed = b.attention(query, key, value, path="attention")
    x = b.add(b.x, b.linear(mixed, width, "xavier_normal", path="out"))
    return b.graph(b.linear(b.normalize(x), 10, "xavier_normal", path="head"))
