"""Where a real module hands over a value of the graph: as what it returns, or as what it is called with."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from initcheck.graph import Op

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from initcheck.graph import Graph, Node

__all__ = ["Probe", "Prober", "embeddings_of_inputs"]

_VIEWS = frozenset({Op.IDENTITY, Op.RESHAPE, Op.TRANSPOSE})
"""Operations that leave the elements, and so their mean square, as they are."""


@dataclass(frozen=True, slots=True)
class Probe:
    """A hook on a module.

    Attributes:
        module: Path of the module.
        of_input: Whether the value is its first real-valued input; else it is its first real-valued output.
        call: Which call of the module, counted from 0.
        is_shared: Whether others read the value as well, so that its gradient is not what comes back from here.
    """

    module: str
    of_input: bool = False
    call: int = 0
    is_shared: bool = False


class Prober:
    """Finds the hooks for values of one graph.

    Args:
        graph: The lowered trace.
        modules: Paths of the model's modules, ``""`` for the model itself.
    """

    def __init__(self, graph: Graph, modules: Collection[str]) -> None:
        self._graph = graph
        self._modules = modules
        self._makers = {output: node for node in graph.nodes for output in node.outputs}
        self._readers: dict[str, list[int]] = defaultdict(list)
        for index, node in enumerate(graph.nodes):
            for name in dict.fromkeys(node.inputs):
                self._readers[name].append(index)

    def probes(self, value: str) -> tuple[Probe, ...]:
        """Hooks that see a value, the innermost module first; empty where it stays inside a module.

        A module returns the value if nothing inside reads it, views aside. Attention reads the weights of its output
        projection without calling it: then it is the module around that returns the value. What a function computes
        between two modules is seen where the next one is called with it.
        """
        maker = self._makers.get(value)
        if maker is None:
            return ()
        readers = list(dict.fromkeys(self._all_readers(value)))
        paths = [self._graph.nodes[index].path for index in readers]
        found: list[Probe] = []
        around = maker.path
        while around and not any(_is_inside(path, around) for path in paths):
            if around in self._modules:
                found.append(Probe(around))
            around = around.rpartition(".")[0]
        if not readers and self._graph.outputs and self._final(value) == self._graph.outputs[0]:
            found.append(Probe(""))
        if not found:
            entrances = (self._entrance(value, maker, reader, is_shared=len(readers) > 1) for reader in readers)
            found += [probe for probe in entrances if probe is not None][:1]
        return tuple(found)

    def _entrance(self, value: str, maker: Node, reader: int, *, is_shared: bool) -> Probe | None:
        node = self._graph.nodes[reader]
        enters = node.path in self._modules and not _is_inside(maker.path, node.path)
        if not enters or self._origin(node.inputs[0]) != self._origin(value):
            return None
        return Probe(node.path, of_input=True, call=self._earlier_calls(reader), is_shared=is_shared)

    def _earlier_calls(self, index: int) -> int:
        """Calls of a node's module before the one it belongs to: each does every operation once."""
        node = self._graph.nodes[index]
        return sum(
            earlier.path == node.path and earlier.op is node.op and earlier.inputs[1:2] == node.inputs[1:2]
            for earlier in self._graph.nodes[:index]
        )

    def _all_readers(self, value: str) -> Iterator[int]:
        for index in self._readers.get(value, ()):
            node = self._graph.nodes[index]
            if node.op in _VIEWS:
                yield from self._all_readers(node.outputs[0])
            else:
                yield index

    def _origin(self, value: str) -> str:
        """The value that a view shows."""
        while (maker := self._makers.get(value)) is not None and maker.op in _VIEWS:
            value = maker.inputs[0]
        return value

    def _final(self, value: str) -> str:
        """The last view of a value that nothing else reads."""
        while indices := self._readers.get(value):
            value = self._graph.nodes[indices[0]].outputs[0]
        return value


def embeddings_of_inputs(graph: Graph) -> frozenset[str]:
    """Paths of the embeddings that look up ids of the input, not ids that are fixed (positions)."""
    return frozenset(
        node.path for node in graph.nodes if node.op is Op.EMBEDDING and node.inputs and node.inputs[0] in graph.values
    )


def _is_inside(path: str, module: str) -> bool:
    return path == module or path.startswith(f"{module}.")
