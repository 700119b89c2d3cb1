"""Additions of a value and something computed from it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from initcheck.flow import ROOT, Flow
from initcheck.graph import Graph, Node, Op

if TYPE_CHECKING:
    from collections.abc import Sequence
    from collections.abc import Set as AbstractSet

__all__ = ["Residual", "find_residuals"]


@dataclass(frozen=True, slots=True)
class Residual:
    """An addition of a value and something computed from it.

    Attributes:
        node: Name of the addition.
        fork: Value both operands come from.
        skip: Operand with fewer weighted layers since the fork (the fork itself for an identity skip).
        branch: The other operand.
        skip_index: Position of the skip among the node's inputs.
        branch_nodes: Names of the nodes between the fork and the branch operand, those of the skip path and of the
            branches of inner residual additions left out: the nodes whose ``Structure.on_branch`` is this addition.
    """

    node: str
    fork: str
    skip: str
    branch: str
    skip_index: int
    branch_nodes: frozenset[str]


@dataclass(frozen=True, slots=True, order=True)
class _Fork:
    """A candidate fork of one addition; the smallest is the shortest skip.

    Attributes:
        lightest: Fewest weighted layers on the skip.
        heaviest: Most weighted layers on the skip.
        age: Minus the topological position of the fork.
        flow: Index of the flow in which the fork dominates both operands.
        name: The fork.
        skip_index: Position of the skip among the addition's inputs.
    """

    lightest: int
    heaviest: int
    age: int
    flow: int
    name: str
    skip_index: int


def find_residuals(graph: Graph, active: AbstractSet[str], flows: Sequence[Flow]) -> dict[str, Residual]:
    """Residual additions among the active nodes, in order.

    The fork is the nearest common dominator of both operands in the flow of one data input. The skip is the operand
    that fewer weighted layers separate from it: no layer at all, or a linear projection. Two operands that are alike in
    this are parallel paths, not a residual addition.

    Args:
        graph: The graph.
        active: Names of the nodes to look at.
        flows: One flow per data input.
    """
    residuals: dict[str, Residual] = {}
    claimed: set[str] = set()
    skips: tuple[dict[str, str], ...] = tuple({} for _ in flows)
    for node in graph.nodes:
        if node.op not in {Op.ADD, Op.SUB} or node.name not in active:
            continue
        forks = [fork for index, flow in enumerate(flows) if (fork := _find_fork(graph, flow, index, node)) is not None]
        if not forks:
            continue
        fork = min(forks)
        skip, branch = node.inputs[fork.skip_index], node.inputs[1 - fork.skip_index]
        flow, inner = flows[fork.flow], skips[fork.flow]
        bypass = flow.between(fork.name, skip, inner)
        own = frozenset(flow.between(fork.name, branch, inner) - bypass - claimed)
        claimed |= own
        inner[node.name] = skip
        residuals[node.name] = Residual(node.name, fork.name, skip, branch, fork.skip_index, own)
    return residuals


def _find_fork(graph: Graph, flow: Flow, index: int, node: Node) -> _Fork | None:
    first, second = node.inputs
    if first == second or first not in flow or second not in flow:
        return None
    fork = flow.meet(first, second)
    if fork == ROOT or not graph.values[fork].is_float:
        return None
    paths = flow.weight_between(fork, first), flow.weight_between(fork, second)
    if paths[0] == paths[1]:
        return None
    skip_index = 0 if paths[0] < paths[1] else 1
    lightest, heaviest = paths[skip_index]
    if lightest > 0 and not flow.is_linear_between(fork, node.inputs[skip_index]):
        return None
    return _Fork(lightest, heaviest, -flow.order[fork], index, fork, skip_index)
