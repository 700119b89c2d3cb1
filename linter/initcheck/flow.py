"""Dominators and path weights of everything that depends on one set of sources."""

from __future__ import annotations

from typing import TYPE_CHECKING

from initcheck.graph import WEIGHTED, Graph, Node, Op

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from collections.abc import Set as AbstractSet

__all__ = ["ROOT", "Flow", "is_weighted", "signal_inputs"]

ROOT = ""
"""Name of the virtual value that every source comes from."""

BENDING = frozenset({Op.ELEMENTWISE, Op.SOFTMAX, Op.ATTENTION, Op.MATMUL, Op.RECURRENT, Op.OPAQUE})
"""Operations that a linear projection shortcut does not contain."""


def is_weighted(graph: Graph, node: Node) -> bool:
    """Whether a node counts as a weighted layer, understood or not."""
    if node.op is Op.OPAQUE:
        return any(len(graph.parameters[name].shape) >= 2 for name in node.inputs if name in graph.parameters)
    return node.op in WEIGHTED


def signal_inputs(graph: Graph, node: Node) -> Iterator[str]:
    """Inputs of a node that carry a signal: activations, but neither truth values nor parameters nor constants."""
    for name in node.inputs:
        value = graph.values.get(name)
        if value is not None and value.dtype != "bool":
            yield name


class Flow:
    """Dominator tree of the values that depend on some sources, and the weighted layers on the way to each.

    Operands that do not depend on the sources count as constants: seen from the image, a time embedding or an
    encoder's memory is conditioning, so that ``x + F(x, c)`` forks at ``x``. Immediate dominators come from one pass
    in topological order (Cooper, Harvey and Kennedy 2001, whose iteration is not needed without cycles).

    Args:
        graph: The graph.
        inputs: Graph inputs among the sources.
        nodes: Names of nodes whose outputs are sources when nothing they read depends on a source.
    """

    def __init__(self, graph: Graph, inputs: Iterable[str], nodes: AbstractSet[str] = frozenset()) -> None:
        self._dominator: dict[str, str] = {}
        self._order: dict[str, int] = {ROOT: -1}
        self._lightest: dict[str, int] = {ROOT: 0}
        self._heaviest: dict[str, int] = {ROOT: 0}
        self._bends: dict[str, int] = {ROOT: 0}
        self._node: dict[str, str] = {}
        self._reads: dict[str, tuple[str, ...]] = {}
        for name in inputs:
            self._define(name, ROOT, (ROOT,), weighted=0, bend=0)
        for node in graph.nodes:
            reads = [name for name in signal_inputs(graph, node) if name in self._dominator]
            if not reads and node.name not in nodes:
                continue
            dominator = reads[0] if reads else ROOT
            for name in reads[1:]:
                dominator = self.meet(dominator, name)
            parents = tuple(reads) or (ROOT,)
            weighted, bend = is_weighted(graph, node), node.op in BENDING
            for output in node.outputs:
                self._node[output] = node.name
                self._define(output, dominator, parents, weighted=weighted, bend=bend)

    def _define(self, name: str, dominator: str, reads: tuple[str, ...], *, weighted: int, bend: int) -> None:
        self._dominator[name] = dominator
        self._reads[name] = reads
        self._order[name] = len(self._order)
        self._lightest[name] = min(self._lightest[read] for read in reads) + weighted
        self._heaviest[name] = max(self._heaviest[read] for read in reads) + weighted
        self._bends[name] = max(self._bends[read] for read in reads) + bend

    def __contains__(self, name: object) -> bool:
        return name in self._dominator

    @property
    def order(self) -> Mapping[str, int]:
        """Position of each value in topological order; ``ROOT`` comes first."""
        return self._order

    def meet(self, first: str, second: str) -> str:
        """Nearest common dominator of two values, ``ROOT`` when only the virtual root dominates both."""
        while first != second:
            if self._order[first] > self._order[second]:
                first = self._dominator[first]
            else:
                second = self._dominator[second]
        return first

    def dominators(self, name: str) -> Iterator[str]:
        """The value itself and every value that dominates it, nearest first; ``ROOT`` left out."""
        while name != ROOT:
            yield name
            name = self._dominator[name]

    def weight_between(self, fork: str, name: str) -> tuple[int, int]:
        """Fewest and most weighted layers on a path from a dominator of a value to it.

        Differences of counts from the root are exact because every path runs through the dominator.
        """
        return self._lightest[name] - self._lightest[fork], self._heaviest[name] - self._heaviest[fork]

    def is_linear_between(self, fork: str, name: str) -> bool:
        """Whether no path from a dominator of a value to it holds a nonlinearity or a product of activations."""
        return self._bends[name] == self._bends[fork]

    def between(self, fork: str, name: str, bypass: Mapping[str, str]) -> set[str]:
        """Names of the nodes from a dominator of a value to that value.

        Args:
            fork: The dominator.
            name: The value.
            bypass: Names of nodes to cross on one operand only, with that operand.
        """
        nodes: set[str] = set()
        pending = [name]
        while pending:
            value = pending.pop()
            node = self._node.get(value)
            if value == fork or node is None or node in nodes:
                continue
            nodes.add(node)
            pending.extend((bypass[node],) if node in bypass else self._reads[value])
        return nodes
