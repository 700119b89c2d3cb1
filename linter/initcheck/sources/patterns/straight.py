"""Straight-through estimators: one value goes on, the gradient of another comes back."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from initcheck.graph import Node, Op

if TYPE_CHECKING:
    from collections.abc import Iterator

    from initcheck.sources.patterns.net import Net

__all__ = ["match_straight"]


def match_straight(node: Node, net: Net) -> Node | None:
    """Sums of q and x less x, of which q has the value and x the gradient.

    They are x + (q - x).detach(), q - x.detach() + x, and q.detach() + x - x.detach(). A file has lost the detach;
    nobody adds what is subtracted for another reason. Whether q hands on a gradient of its own is then not known, and
    asked of q.
    """
    shape = net.shape(node.outputs[0])
    for value, through, cut in _candidates(node, net):
        fixed = net.is_parameter(value) or value in net.build.constants
        if not fixed and net.shape(value) == shape == net.shape(through):
            attributes = {"detached": net.is_detached(cut), "looked_up": _is_looked_up(value, net)}
            return replace(
                node, op=Op.STRAIGHT, inputs=(value, through), attributes=attributes, kind="straight_through"
            )
    return None


def _candidates(node: Node, net: Net) -> Iterator[tuple[str, str, str]]:
    """Value, what the gradient goes through, and the operand whose detach would cut the value off."""
    if node.op is Op.ADD:
        for through, rest in (node.inputs, node.inputs[::-1]):
            difference = net.made_by(rest, Op.SUB)
            if difference is not None and net.source(difference.inputs[1]) == net.source(through):
                yield difference.inputs[0], through, rest
    elif node.op is Op.SUB:
        total = net.made_by(node.inputs[0], Op.ADD)
        for value, through in (total.inputs, total.inputs[::-1]) if total is not None else ():
            if net.source(node.inputs[1]) == net.source(through):
                yield value, through, value


def _is_looked_up(value: str, net: Net) -> bool:
    """Whether a value is rows of a table, such as a code book, in any layout."""
    node = net.maker(value)
    while node is not None and node.op in {Op.RESHAPE, Op.TRANSPOSE}:
        node = net.maker(node.inputs[0])
    return node is not None and node.op is Op.EMBEDDING
