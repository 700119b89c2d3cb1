"""Whether the scale of what a layer gives is free, because a normalisation divides by it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from initcheck import Op, is_homogeneous

if TYPE_CHECKING:
    from initcheck import Analysis, Node

__all__ = ["is_absorbed"]

PASSING = frozenset(
    {
        *(Op.POOL_AVERAGE, Op.POOL_MAX, Op.REDUCE, Op.RESHAPE, Op.TRANSPOSE, Op.IDENTITY, Op.DROPOUT, Op.SLICE),
        *(Op.SPLIT, Op.EXPAND, Op.RESIZE, Op.PAD, Op.MUL),
    }
)
"""Operations that hand the scale of their input on as it is."""

NEGLIGIBLE = 0.1
"""Share of the divisor from which ε keeps a normalisation from dividing the scale away."""


def is_absorbed(analysis: Analysis, node: Node) -> bool:
    """Whether every path from a node meets a normalisation before anything that tells one scale from another.

    Functions like ReLU, products with a gate and linear maps without a bias keep a factor; an addition, a saturating
    function, a softmax or the output of the model does not.
    """
    pending, seen = list(node.outputs), set(node.outputs)
    met = False
    while pending:
        value = pending.pop()
        readers = analysis.structure.consumers.get(value, ())
        if not readers:
            if value in analysis.graph.outputs:
                return False
            continue
        for reader in readers:
            if reader.op is Op.NORMALIZE and reader.inputs[0] == value:
                if not _divides(analysis, reader):
                    return False
                met = True
            elif _keeps_factor(analysis, reader, value):
                pending += [output for output in reader.outputs if output not in seen]
                seen.update(reader.outputs)
            else:
                return False
    return met


def _keeps_factor(analysis: Analysis, reader: Node, value: str) -> bool:
    if reader.op in PASSING:
        return True
    if reader.op is Op.DIV:
        return reader.inputs[0] == value
    if reader.op is Op.ELEMENTWISE:
        return is_homogeneous(str(reader.attributes["function"]), reader.attributes.get("arguments"))
    if reader.op in {Op.LINEAR, Op.CONV, Op.CONV_TRANSPOSE}:
        bias = analysis.graph.bias(reader)
        return reader.inputs[0] == value and (bias is None or bias.distribution.is_zero)
    return False


def _divides(analysis: Analysis, norm: Node) -> bool:
    """Whether a normalisation divides by the scale of its input: not by stored statistics, nor by its ε."""
    if norm.attributes["kind"] == "batch" and not norm.attributes.get("training", True):
        return False
    signal = analysis.signal_into(norm)
    epsilon = float(norm.attributes.get("epsilon", 1e-5))
    return signal is None or signal.mean_square == 0.0 or epsilon < NEGLIGIBLE * signal.mean_square
