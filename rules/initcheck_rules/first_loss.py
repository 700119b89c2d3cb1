"""The cross-entropy of a language model before its first step."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from initcheck import Op

if TYPE_CHECKING:
    from collections.abc import Iterator

    from initcheck import Analysis, Layer, Node

__all__ = ["FirstLoss", "Vocabulary", "expected_loss", "find_vocabulary"]

_MOVES = frozenset(
    {Op.RESHAPE, Op.TRANSPOSE, Op.IDENTITY, Op.DROPOUT, Op.SLICE, Op.EXPAND, Op.MUL, Op.DIV, Op.NORMALIZE}
)
"""Operations after which the direction of a token's embedding is still the same, a scale per element aside."""

_AFTER_HEAD = frozenset(
    {Op.RESHAPE, Op.TRANSPOSE, Op.IDENTITY, Op.SLICE, Op.ADD, Op.MUL, Op.DIV, Op.ELEMENTWISE, Op.SOFTMAX}
)
"""Operations between the head and the output: a bias, a temperature, a soft cap, a log-softmax."""

_DRAWS = 1 << 20
_FEWEST_REPEATS, _MOST_REPEATS = 4, 256


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """A head that scores the tokens of an embedding.

    Attributes:
        head: The head.
        logits: Node whose output the cross-entropy reads.
        classes: Number of tokens.
        tied: Whether head and embedding share their weight.
    """

    head: Layer
    logits: Node
    classes: int
    tied: bool


@dataclass(frozen=True, slots=True)
class FirstLoss:
    """The expected cross-entropy at the start, in nats.

    Attributes:
        loss: E[ln Σ exp(x) - x_y], the label y independent of the logits.
        variance: Variance of the logits over tokens.
        own: Mean logit of the token at the position itself, above that of the others; zero unless tied.
    """

    loss: float
    variance: float
    own: float


def find_vocabulary(analysis: Analysis) -> Vocabulary | None:
    """The head behind the main output, if it scores the rows of an embedding that the model reads; else None.

    Only there the loss is sure to be a cross-entropy: a linear map to ten outputs may be a regression.
    """
    producer = analysis.structure.producer
    node = producer.get(analysis.graph.main_output)
    logits = node
    while node is not None and node.op is not Op.LINEAR:
        if node.op not in _AFTER_HEAD:
            return None
        # What a softmax makes of the logits is not what is judged.
        below = next((name for name in node.inputs if name in producer), "")
        node = producer.get(below)
        if logits is not None and (logits.op is Op.SOFTMAX or _is_logarithm(logits)):
            logits = node
    if node is None or logits is None:
        return None
    head = next((layer for layer in analysis.layers if layer.node is node), None)
    if head is None or not head.head or head.weight is None:
        return None
    tables = [analysis.graph.weight(other) for other in _embeddings(analysis)]
    tied = any(table is not None and table.name == head.weight.name for table in tables)
    if not tied and not any(table is not None and table.shape[0] == head.fan_out for table in tables):
        return None
    return Vocabulary(head, logits, head.fan_out, tied)


def expected_loss(analysis: Analysis, vocabulary: Vocabulary, enough: float) -> FirstLoss | None:
    """Expected cross-entropy for labels that do not depend on the logits; None where the logits are not known.

    Given the last hidden state the logits of different tokens are independent and Gaussian. E[ln Σ exp(x)] is at most
    ln E[Σ exp(x)] = ln C + Var/2, and close to it while that is small; from Var = 2 ln C on the largest logit decides
    (random energy model), and the expectation is sampled with a fixed seed.

    Args:
        analysis: The model.
        vocabulary: Its head.
        enough: A loss up to which the upper bound is as good as the expectation.
    """
    signal = analysis.typical.signals.get(vocabulary.logits.outputs[0])
    if signal is None or signal.assumed:
        return None
    own = _own_logit(analysis, vocabulary) if vocabulary.tied else 0.0
    bound = float(np.logaddexp(math.log(vocabulary.classes) + 0.5 * signal.variance, own))
    loss = bound if bound <= enough else _sampled(signal.variance, vocabulary.classes, own)
    return FirstLoss(loss, signal.variance, own)


def _is_logarithm(node: Node) -> bool:
    return node.op is Op.ELEMENTWISE and node.attributes.get("function") == "log"


def _embeddings(analysis: Analysis) -> Iterator[Node]:
    """Embeddings of what the model is given: those of constant indices embed positions."""
    return (
        node
        for node in analysis.graph.nodes
        if node.op is Op.EMBEDDING
        and node.name in analysis.structure.active
        and node.inputs[0] not in analysis.graph.constants
    )


def _own_logit(analysis: Analysis, vocabulary: Vocabulary) -> float:
    """Logit of the token that stands at the position, where embedding and head share their weight.

    Through identity skips a multiple c of the token's embedding e reaches the head, which answers with c |e|².
    """
    weight = vocabulary.head.weight
    name = "" if weight is None else weight.name
    reached: dict[str, float] = {}
    for node in analysis.graph.nodes:
        if not node.outputs:
            continue
        if node.op is Op.EMBEDDING:
            share = float(len(node.inputs) > 1 and node.inputs[1] == name)
        elif node.op is Op.ADD:
            share = sum(reached.get(operand, 0.0) for operand in node.inputs)
        elif node.op is Op.SUB:
            share = reached.get(node.inputs[0], 0.0) - reached.get(node.inputs[1], 0.0)
        elif node.op in _MOVES and len(carriers := reached.keys() & set(node.inputs)) == 1:
            carrier = carriers.pop()
            share = reached[carrier] * _scale(analysis, node, carrier)
        else:
            continue
        if share:
            reached[node.outputs[0]] = share
    share = reached.get(vocabulary.head.node.inputs[0], 0.0)
    if weight is None or not share:
        return 0.0
    scale = float(vocabulary.head.node.attributes.get("scale", 1.0))
    own = share * scale * vocabulary.head.fan_in * weight.distribution.mean_square
    return own * _after_head(analysis, vocabulary)


def _scale(analysis: Analysis, node: Node, carrier: str) -> float:
    """Root-mean-square of what a node gives over that of what it reads."""
    if node.op not in {Op.MUL, Op.DIV, Op.NORMALIZE}:
        return 1.0
    before, after = (analysis.typical.signals.get(name) for name in (carrier, node.outputs[0]))
    if before is None or after is None or before.mean_square <= 0.0:
        return 0.0
    return math.sqrt(after.mean_square / before.mean_square)


def _after_head(analysis: Analysis, vocabulary: Vocabulary) -> float:
    """Factor on the logits between the head and the loss."""
    first = analysis.typical.signals.get(vocabulary.head.node.outputs[0])
    last = analysis.typical.signals.get(vocabulary.logits.outputs[0])
    if first is None or last is None or first.variance <= 0.0:
        return 1.0
    return math.sqrt(last.variance / first.variance)


def _sampled(variance: float, classes: int, own: float) -> float:
    """E ln(Σ exp(x) + exp(own)) over independent Gaussian logits x."""
    rng = np.random.default_rng(0)
    repeats = min(max(_DRAWS // classes, _FEWEST_REPEATS), _MOST_REPEATS)
    losses = []
    for _ in range(repeats):
        logits = math.sqrt(variance) * rng.standard_normal(classes)
        logits[0] += own
        top = float(logits.max())
        losses.append(top + math.log(float(np.exp(logits - top).sum())))
    return float(np.mean(losses))
