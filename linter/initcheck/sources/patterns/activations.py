"""Activation functions spelled out: GELU by erf or tanh, SiLU, HardSwish, Mish.

Exporters order the same product in many ways, so that an expression is recognised by its values: it is evaluated on a
grid as a function of the one value that it reads at least twice, and compared with the functions of the vocabulary.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from initcheck.graph import Node, Op
from initcheck.signal.functions import FUNCTIONS

if TYPE_CHECKING:
    from initcheck.sources.patterns.net import Net

__all__ = ["match_activation"]

Table = npt.NDArray[np.float64]

CANDIDATES = ("gelu", "gelu_tanh", "silu", "quick_gelu", "hard_swish", "mish", "tanh_shrink", "softsign")
"""Functions that read their argument twice; the others arrive as one operation."""

GRID: Table = np.linspace(-4.0, 4.0, 33)

TOLERANCE = 2e-5
"""Constants are stored in float32 with up to seven digits; gelu and gelu_tanh differ by 5e-4."""

REACH = 12
"""Operations of the longest spelling (GELU by tanh in nine, with casts)."""

_BINARY = {
    Op.ADD: np.add,
    Op.SUB: np.subtract,
    Op.MUL: np.multiply,
    Op.DIV: np.divide,
    Op.MAXIMUM: np.maximum,
    Op.MINIMUM: np.minimum,
}


def match_activation(node: Node, net: Net) -> Node | None:
    """The function that an expression of elementwise operations computes, if it has a name."""
    if node.op not in {Op.MUL, Op.DIV, Op.SUB}:
        return None
    for x in _shared(node, net):
        with np.errstate(all="ignore"):
            table = _evaluate(node, x, net, {}, REACH)
        function = _named(table)
        if function:
            attributes = {"function": function, "arguments": {}}
            return replace(node, op=Op.ELEMENTWISE, inputs=(x,), attributes=attributes, kind=function)
    return None


def _shared(node: Node, net: Net) -> list[str]:
    """Values that the expression below a node reads at least twice."""
    reads: Counter[str] = Counter()
    pending, seen = [node], 0
    while pending and seen < REACH:
        current = pending.pop(0)
        seen += 1
        for name in current.inputs:
            source = net.source(name)
            if source not in net.build.values:
                continue
            reads[source] += 1
            maker = net.maker(source)
            if reads[source] == 1 and maker is not None and (maker.op in _BINARY or maker.op is Op.ELEMENTWISE):
                pending.append(maker)
    return [name for name, count in reads.items() if count > 1]


def _evaluate(node: Node, x: str, net: Net, tables: dict[str, Table], reach: int) -> Table | None:
    """Values of a node's output on the grid of x, None where it reads anything else."""
    if reach == 0:
        return None
    arguments = []
    for name in node.inputs:
        table = _argument(name, x, net, tables, reach)
        if table is None:
            return None
        arguments.append(table)
    if node.op is Op.ELEMENTWISE:
        known = FUNCTIONS.get(node.attributes["function"])
        return None if known is None else known.value(arguments[0], **node.attributes["arguments"])
    return _BINARY[node.op](*arguments) if node.op in _BINARY else None


def _argument(name: str, x: str, net: Net, tables: dict[str, Table], reach: int) -> Table | None:
    number = net.scalar(name)
    if number is not None:
        return np.full_like(GRID, number)
    source = net.source(name)
    if source == x:
        return GRID
    if source not in tables:
        maker = net.maker(source)
        table = None if maker is None else _evaluate(maker, x, net, tables, reach - 1)
        if table is None:
            return None
        tables[source] = table
    return tables[source]


def _named(table: Table | None) -> str:
    if table is None:
        return ""
    # A comparison with nan is false, so that a table with undefined values has no name.
    return next((name for name in CANDIDATES if np.max(np.abs(table - _REFERENCE[name])) <= TOLERANCE), "")


_REFERENCE = {name: FUNCTIONS[name].value(GRID) for name in CANDIDATES}
