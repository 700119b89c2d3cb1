"""Who makes and who reads each value."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import numpy as np

from initcheck.graph import Op

if TYPE_CHECKING:
    from collections.abc import Sequence

    from initcheck.graph import Node
    from initcheck.sources.patterns.lowered import Lowered

__all__ = ["Net"]


class Net:
    """A view of the nodes for matching backwards from a pattern's last node.

    Args:
        nodes: In topological order.
        build: Values, constants and parameters that they read.
        outputs: Names of graph outputs, each counted as a reader.
    """

    def __init__(self, nodes: Sequence[Node], build: Lowered, outputs: Sequence[str]) -> None:
        self.build = build
        self._makers = {output: node for node in nodes for output in node.outputs}
        self._readers = Counter(name for node in nodes for name in node.inputs)
        self._readers.update(outputs)

    def replace(self, old: Node, new: Node) -> None:
        """Note that a node was replaced by one with the same outputs."""
        self._makers.update(dict.fromkeys(new.outputs, new))
        self._readers.subtract(old.inputs)
        self._readers.update(new.inputs)

    def source(self, name: str) -> str:
        """The value itself, seen through casts and identities."""
        node = self._makers.get(name)
        while node is not None and node.op is Op.IDENTITY:
            name = node.inputs[0]
            node = self._makers.get(name)
        return name

    def maker(self, name: str) -> Node | None:
        """The node that computes a value, seen through casts and identities."""
        return self._makers.get(self.source(name))

    def made_by(self, name: str, op: Op, function: str = "") -> Node | None:
        """The node that computes a value, if it is of this operation and function."""
        node = self.maker(name)
        if node is None or node.op is not op:
            return None
        return node if not function or node.attributes.get("function") == function else None

    def is_detached(self, name: str) -> bool:
        """Whether no gradient goes through a value, as one of the copies on its way says."""
        node = self._makers.get(name)
        while node is not None and node.op is Op.IDENTITY:
            if node.kind == "detach":
                return True
            node = self._makers.get(node.inputs[0])
        return False

    def is_read_once(self, name: str) -> bool:
        """Whether one node alone reads a value, on whose way casts do not count."""
        while self._readers[name] == 1:
            node = self._makers.get(name)
            if node is None or node.op is not Op.IDENTITY:
                return True
            name = node.inputs[0]
        return False

    def scalar(self, name: str) -> float | None:
        """A constant that is one number."""
        constant = self.build.constants.get(name)
        return (
            float(np.asarray(constant.array).reshape(())) if constant is not None and constant.array.size == 1 else None
        )

    def shape(self, name: str) -> tuple[int, ...] | None:
        """Shape of an activation, parameter or constant."""
        value = self.build.values.get(name)
        if value is not None:
            return value.shape
        constant = self.build.constants.get(name)
        return constant.shape if constant is not None else self.build.parameters.shape(name)

    def is_filled_with(self, name: str, number: float) -> bool:
        """Whether every element of a parameter or constant is this number."""
        constant = self.build.constants.get(name)
        if constant is not None:
            return bool(np.all(constant.array == number))
        return self.build.parameters.is_filled_with(name, number)

    def is_parameter(self, name: str) -> bool:
        """Whether a name is a parameter."""
        return self.build.parameters.shape(name) is not None
