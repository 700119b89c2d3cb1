"""Straight-through estimators: one value goes on, the gradient of another comes back."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from initcheck.graph import Node, Op

if TYPE_CHECKING:
    from initcheck.sources.patterns.net import Net

__all__ = ["match_straight"]


def match_straight(node: Node, net: Net) -> Node | None:
    """X + (q - x).detach(), or q - x.detach() + x, where q has the value and x the gradient.

    A file has lost the detach; nobody adds what was just subtracted for another reason. Whether q hands on a gradient
    of its own is then not known, and asked of q.
    """
    if node.op is not Op.ADD:
        return None
    shape = net.shape(node.outputs[0])
    for through, rest in (node.inputs, node.inputs[::-1]):
        difference = net.made_by(rest, Op.SUB)
        if difference is None or net.source(difference.inputs[1]) != net.source(through):
            continue
        value = difference.inputs[0]
        fixed = net.is_parameter(value) or value in net.build.constants
        if not fixed and net.shape(value) == shape == net.shape(through):
            attributes = {"detached": net.is_detached(rest), "looked_up": _is_looked_up(value, net)}
            return replace(
                node, op=Op.STRAIGHT, inputs=(value, through), attributes=attributes, kind="straight_through"
            )
    return None


def _is_looked_up(value: str, net: Net) -> bool:
    """Whether a value is rows of a table, such as a code book, in any layout."""
    node = net.maker(value)
    while node is not None and node.op in {Op.RESHAPE, Op.TRANSPOSE}:
        node = net.maker(node.inputs[0])
    return node is not None and node.op is Op.EMBEDDING
