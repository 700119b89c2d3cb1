"""One node for what a model computes twice from the same values."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from initcheck.graph import Op

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable, Mapping, Sequence

    from initcheck.graph import Constant, Node

__all__ = ["share"]

POINTWISE = frozenset({Op.ADD, Op.SUB, Op.MUL, Op.DIV, Op.MAXIMUM, Op.MINIMUM, Op.ELEMENTWISE, Op.IDENTITY})
"""What their attributes determine; a slice's may not say which part it takes, and layers are to stay apart."""


def share(nodes: Sequence[Node], outputs: Iterable[str], constants: Mapping[str, Constant]) -> list[Node]:
    """Nodes without those that repeat an earlier one, whose readers read the earlier one instead.

    Two results of one expression are the same number; as values of different sources they would be independent, and
    exp(a - max(a, b)), with a written twice, would not stay below one.

    Args:
        nodes: In topological order.
        outputs: Names of graph outputs, whose makers stay.
        constants: Those that the nodes read; every mention of a number in the source is one of its own.
    """
    kept: list[Node] = []
    first: dict[Hashable, str] = {}
    same: dict[str, str] = {}
    fixed = set(outputs)
    for node in nodes:
        inputs = tuple(same.get(name, name) for name in node.inputs)
        key = _key(node, tuple(_known(name, constants) for name in inputs))
        made = first.setdefault(key, node.outputs[0]) if key is not None else node.outputs[0]
        if made != node.outputs[0] and node.outputs[0] not in fixed:
            same[node.outputs[0]] = made
        else:
            kept.append(node if inputs == node.inputs else replace(node, inputs=inputs))
    return kept


def _known(name: str, constants: Mapping[str, Constant]) -> Hashable:
    constant = constants.get(name)
    return name if constant is None or constant.array.size != 1 else (constant.shape, constant.array.item())


def _key(node: Node, inputs: tuple[Hashable, ...]) -> Hashable | None:
    if node.op not in POINTWISE or len(node.outputs) != 1:
        return None
    return node.op, inputs, repr(sorted(node.attributes.items()))
