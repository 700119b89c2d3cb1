"""INI506: a language model starts at many times the loss of a uniform guess."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

from initcheck import Builder, FailureMode, Finding, Need, Op, Severity
from initcheck_rules.first_loss import expected_loss, find_vocabulary
from initcheck_rules.wording import scheme_name

if TYPE_CHECKING:
    from collections.abc import Iterator

    from initcheck import Analysis, Graph
    from initcheck_rules.first_loss import FirstLoss as Loss
    from initcheck_rules.first_loss import Vocabulary

__all__ = ["FirstLoss"]

CONDENSED = 2.0
"""Times ln C: Gaussian logits reach it at variance 2 ln C, where the softmax condenses on a few tokens."""

LOUD = 10.0
"""Times ln C from which a note becomes a warning.

Ten times is what the rule is for: logits that nobody chose (an embedding's default, tied). It is no failure to start:
networks of ten classes that start at 4 to 20 times ln 10 were trained and learn (residual networks with batch
normalisation without zero-init, ReLU networks at twice He's variance): the gradient of a cross-entropy is bounded. So
it is never an error.
"""


@dataclass(frozen=True, slots=True)
class FirstLoss:
    """A language model starts at many times the loss of a uniform guess.

    What it checks:
        The expected cross-entropy before the first step over ln C, the loss of a uniform guess among C tokens, where
        the main output scores the tokens of an embedding that the model reads. A note from 2 ln C, a warning from
        10 ln C, under any optimizer.

    Why it fails:
        Logits of variance v over tokens cost v/2 nats while v is small; at v = 2 ln C the loss is 2 ln C and the
        softmax condenses on a few tokens at random, beyond it grows like √(2 v ln C). A tied embedding also answers
        with the token that it just read, by c |e|². The first steps are spent on unlearning confident wrong answers,
        with gradients into the network that are larger by the scale of the head.

    Example:
        ``lm_head.weight = tok.weight`` with ``nn.Embedding``'s default N(0, 1) and width 768: logits of variance 768,
        a loss of hundreds where ln 50257 = 10.8.

    Instead:
        ``nn.init.normal_(tok.weight, std=0.02)`` as GPT-2, or a factor 1/√d on the logits of a tied head (T5).

    Limits:
        Only for heads over the tokens of an embedding, where the loss is sure to be a cross-entropy. Labels are taken
        as independent of the logits; a soft cap on logits as if it were linear. Such models do train in the end, and
        nothing here says that they cannot.

    References:
        Radford et al., Language Models are Unsupervised Multitask Learners (2019). Raffel et al., T5 (arXiv
        1910.10683). Derrida, Random-energy model (1981).
    """

    code: ClassVar[str] = "INI506"
    name: ClassVar[str] = "first-loss"
    failure_mode: ClassVar[FailureMode] = FailureMode.SATURATION
    severity: ClassVar[Severity] = Severity.WARNING
    needs: ClassVar[frozenset[Need]] = frozenset({Need.GRAPH, Need.SIGNAL, Need.INITIALIZATION})
    subsumes: ClassVar[frozenset[str]] = frozenset()

    loud: float = field(default=LOUD, metadata={"doc": "first loss, times ln C, from which it is a warning"})

    def check(self, analysis: Analysis) -> Iterator[Finding]:
        """At most one finding."""
        vocabulary = find_vocabulary(analysis)
        if vocabulary is None or vocabulary.classes < 2:
            return
        uniform = math.log(vocabulary.classes)
        first = expected_loss(analysis, vocabulary, CONDENSED * uniform)
        if first is not None and first.loss > CONDENSED * uniform:
            yield self._finding(analysis, vocabulary, first)

    def _finding(self, analysis: Analysis, vocabulary: Vocabulary, first: Loss) -> Finding:
        uniform = math.log(vocabulary.classes)
        warns = first.loss >= self.loud * uniform
        bound = self.loud if warns else CONDENSED
        signal = analysis.forward.signals.get(vocabulary.head.node.outputs[0])
        law = vocabulary.head.weight.distribution if vocabulary.head.weight is not None else None
        own = f", and {first.own:.3g} for the token just read" if first.own > uniform else ""
        drawn = f"{scheme_name(law)}{', tied to the embedding' if vocabulary.tied else ''}" if law is not None else ""
        return Finding(
            code=self.code,
            name=self.name,
            severity=Severity.WARNING if warns else Severity.NOTE,
            failure_mode=self.failure_mode,
            message=(
                f"cross-entropy starts near {first.loss:.3g}, {first.loss / uniform:.2g} times that of a uniform guess "
                f"among {vocabulary.classes} tokens (bound {bound:g}), at {vocabulary.head.path}"
            ),
            cause=f"{drawn}: logits of variance {first.variance:.3g}{own}",
            help=f"nn.init.normal_(layer.weight, std={_std(vocabulary, first):.2g})",
            layers=(vocabulary.head.path,),
            location=vocabulary.head.node.location,
            evidence={
                "first_loss": first.loss,
                "uniform_loss": uniform,
                "logit_variance": first.variance,
                "own_logit": first.own,
                "tied": vocabulary.tied,
                "bound": bound,
            },
            segment=f"segment {signal.segment}" if signal is not None else "",
        )

    @staticmethod
    def bad() -> Graph:
        """A tied embedding with PyTorch's default."""
        return _language_model("normal(0, 1)")

    @staticmethod
    def good() -> Graph:
        """The same with GPT-2's."""
        return _language_model("normal(0, 0.02)")


def _std(vocabulary: Vocabulary, first: Loss) -> float:
    """Standard deviation of the weight for logits of variance one at most, and at most ln C for the token just read."""
    law = vocabulary.head.weight.distribution if vocabulary.head.weight is not None else None
    shrink = min(1.0 / math.sqrt(first.variance), 1.0)
    if first.own > 0.0:
        shrink = min(shrink, math.log(vocabulary.classes) / first.own)
    return shrink * law.std if law is not None else 0.0


def _language_model(embedding: str) -> Graph:
    width, words = 256, 1000
    b = Builder((8, 16), "int64")
    x = b.embedding(b.x, words, width, embedding, path="tok")
    for k in range(2):
        hidden = b.activation(b.linear(b.normalize(x), width, "normal(0, 0.02)", path=f"{k}.fc"), "gelu")
        x = b.add(x, b.linear(hidden, width, "normal(0, 0.02)", path=f"{k}.proj"))
    attributes = {"axis": -1, "fan_in": width, "fan_out": words, "out_axis": 0, "scale": 1.0, "bias_scale": 1.0}
    inputs = (b.normalize(x, path="norm"), "tok.weight")
    return b.graph(b.node(Op.LINEAR, inputs, (8, 16, words), attributes, path="head", kind="linear"))
