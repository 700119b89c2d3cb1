"""Residual additions and their branches, the head, and the values that every path runs through.

Interface first; see the functions for how each is found.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from initcheck.graph import Graph, Node

__all__ = ["Residual", "Structure", "find_structure"]


@dataclass(frozen=True, slots=True)
class Residual:
    """An addition of a value and something computed from it.

    Attributes:
        node: Name of the addition.
        fork: Value both operands come from.
        skip: Operand with fewer weighted layers since the fork (the fork itself for an identity skip).
        branch: The other operand.
        skip_index: Position of the skip among the node's inputs.
        branch_nodes: Names of the nodes between the fork and the branch operand (those of the skip path left out).
    """

    node: str
    fork: str
    skip: str
    branch: str
    skip_index: int
    branch_nodes: frozenset[str]


@dataclass(frozen=True, slots=True)
class Structure:
    """What the shape of a graph tells.

    Attributes:
        producer: Value name -> node that defines it.
        consumers: Value, parameter or constant name -> nodes that read it, in order.
        active: Names of nodes from which the main output can be reached.
        residuals: Name of the addition -> residual, for active nodes, in order.
        on_branch: Node name -> name of the innermost residual addition whose branch it lies on.
        heads: Names of active weighted nodes after which no other weighted node comes.
        bottlenecks: Names of values through which every path from the inputs to the main output runs: at such a value
            nothing else that depends on the same noise is still alive.
    """

    producer: Mapping[str, Node]
    consumers: Mapping[str, tuple[Node, ...]]
    active: frozenset[str]
    residuals: Mapping[str, Residual]
    on_branch: Mapping[str, str]
    heads: frozenset[str]
    bottlenecks: frozenset[str]


def find_structure(graph: Graph) -> Structure:
    """Work out the structure of a graph in time linear in its edges (up to the depth of the dominator tree)."""
    raise AssertionError(graph)
