"""The residual additions of a stream and where they normalise."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from initcheck import Op
from initcheck_rules.depth_scale import writers_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from initcheck import Analysis, Layer, Node, Residual, Signal

__all__ = ["Addition", "additions_of"]


@dataclass(frozen=True, slots=True)
class Addition:
    """A residual addition of the main path whose operands are known.

    Attributes:
        node: The addition.
        residual: What it adds.
        skip: Signal of the skip, which is not zero.
        branch: Signal of the branch.
        result: Signal of the sum.
        layers: Weighted layers on the branch, in order.
        writers: Those of them whose result reaches the addition without another one.
        written: Mean square of what the one writer gives; zero where there are several, or it gives nothing.
        pre_norm: Whether the branch begins with a normalisation.
        post_norm: Whether nothing but normalisations reads the sum, and the branch does not begin with one.
    """

    node: Node
    residual: Residual
    skip: Signal
    branch: Signal
    result: Signal
    layers: tuple[Layer, ...]
    writers: tuple[Layer, ...]
    written: float
    pre_norm: bool
    post_norm: bool

    @property
    def ratio(self) -> float:
        """Mean square of the branch over that of the skip."""
        return self.branch.mean_square / self.skip.mean_square


def additions_of(analysis: Analysis) -> Iterator[Addition]:
    """The residual additions of the main path, in order; those inside of branches are left out."""
    structure, signals = analysis.structure, analysis.forward.signals
    nodes = {node.name: node for node in analysis.graph.nodes}
    for residual in structure.residuals.values():
        node = nodes[residual.node]
        skip, branch = signals.get(residual.skip), signals.get(residual.branch)
        result = signals.get(node.outputs[0])
        if node.name in structure.on_branch or skip is None or branch is None or result is None:
            continue
        if skip.mean_square <= 0.0 or skip.assumed or branch.assumed:
            continue
        layers = tuple(layer for layer in analysis.layers if layer.node.name in residual.branch_nodes)
        ending = writers_of(analysis, residual)
        begins = [
            reader for reader in structure.consumers.get(residual.fork, ()) if reader.name in residual.branch_nodes
        ]
        pre_norm = bool(begins) and all(reader.op is Op.NORMALIZE for reader in begins)
        readers = structure.consumers.get(node.outputs[0], ())
        writers = tuple(layer for layer in layers if layer.node.name in ending)
        last = analysis.signal_out_of(writers[0].node) if len(writers) == 1 else None
        yield Addition(
            node=node,
            residual=residual,
            skip=skip,
            branch=branch,
            result=result,
            layers=layers,
            writers=writers,
            written=last.mean_square if last is not None else 0.0,
            pre_norm=pre_norm,
            post_norm=not pre_norm and bool(readers) and all(reader.op is Op.NORMALIZE for reader in readers),
        )
