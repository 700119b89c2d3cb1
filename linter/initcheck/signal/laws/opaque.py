"""Operations that are not known."""

from __future__ import annotations

from typing import TYPE_CHECKING

from initcheck.signal.record import replace
from initcheck.signal.signal import Signal

if TYPE_CHECKING:
    from collections.abc import Sequence

    from initcheck.graph import Node
    from initcheck.signal.law import Argument, Context

__all__ = ["OpaqueLaw"]


class OpaqueLaw:
    """An input of the output's shape passes through, marked as assumed; without one the output is unknown."""

    def forward(self, node: Node, args: Sequence[Argument], context: Context) -> tuple[Signal | None, ...]:
        """The first input of the same shape, assumed."""
        results: list[Signal | None] = []
        for index in range(len(node.outputs)):
            shape = context.shape(node, index)
            value = context.values.get(node.outputs[index])
            known = [a for a in args if isinstance(a, Signal) and a.shape == shape]
            # Truth values are no numbers that could go on.
            match = known[0] if known and (value is None or value.is_float) else None
            results.append(None if match is None else replace(match, assumed=True, logits=None, mixing=None))
        return tuple(results)
