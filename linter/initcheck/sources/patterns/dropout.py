"""Dropout and stochastic depth spelled out with random numbers."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

from initcheck.graph import Node, Op

if TYPE_CHECKING:
    from initcheck.sources.patterns.net import Net

__all__ = ["match_dropout"]

_RANDOM = frozenset({"RandomUniform", "RandomUniformLike"})


def match_dropout(node: Node, net: Net) -> Node | None:
    """A product of x and a random gate that is 1/keep with probability keep and otherwise zero.

    The gate is ``random < keep`` or ``floor(random + keep)``; the division by keep stands at the gate or at x.
    """
    if node.op is not Op.MUL:
        return None
    for factor, gate in (node.inputs, node.inputs[::-1]):
        mask, gate_scale = _divided(gate, net)
        keep = _keep_probability(mask, net)
        if keep is None or not 0.0 < keep <= 1.0:
            continue
        x, scale = _divided(factor, net) if gate_scale == 1.0 else (factor, gate_scale)
        if math.isclose(scale, keep, rel_tol=1e-5):
            attributes = {"rate": 1.0 - keep, "training": True}
            return replace(node, op=Op.DROPOUT, inputs=(net.source(x),), attributes=attributes, kind="dropout")
    return None


def _divided(name: str, net: Net) -> tuple[str, float]:
    """(x, c) of x / c; c is 1 when nothing is divided."""
    node = net.made_by(name, Op.DIV)
    divisor = net.scalar(node.inputs[1]) if node is not None else None
    return (name, 1.0) if node is None or divisor is None else (node.inputs[0], divisor)


def _keep_probability(name: str, net: Net) -> float | None:
    node = net.maker(name)
    if node is not None and node.op is Op.REAL:
        node = net.maker(node.inputs[0])
    if node is None:
        return None
    if node.attributes.get("function") == "below":
        threshold: float = node.attributes["arguments"]["threshold"]
        return threshold if _is_random(node.inputs[0], net) else None
    total = net.made_by(node.inputs[0], Op.ADD) if node.attributes.get("function") == "floor" else None
    for value, addend in (total.inputs, total.inputs[::-1]) if total is not None else ():
        if _is_random(value, net):
            return net.scalar(addend)
    return None


def _is_random(name: str, net: Net) -> bool:
    node = net.made_by(name, Op.OPAQUE)
    return node is not None and node.attributes["type"] in _RANDOM
