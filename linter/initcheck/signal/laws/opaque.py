"""Operations that are not known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from initcheck.graph import Node
from initcheck.signal.law import Argument, Context
from initcheck.signal.signal import Signal

__all__ = ["OpaqueLaw"]


class OpaqueLaw:
    """Nothing is known: an input of the output's shape passes through, marked as assumed; without one the output is unknown."""

    def forward(self, node: Node, args: Sequence[Argument], context: Context) -> tuple[Signal | None, ...]:
        """The first input of the same shape, assumed."""
        results: list[Signal | None] = []
        for index in range(len(node.outputs)):
            shape = context.shape(node, index)
            match = next((a for a in args if isinstance(a, Signal) and a.shape == shape), None)
            results.append(None if match is None else replace(match, assumed=True, logits=None, mixing=None))
        return tuple(results)
