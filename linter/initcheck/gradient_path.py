"""The gradient along the main path, comparable from layer to layer."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from initcheck.graph import Axis, Graph, Node, Op

if TYPE_CHECKING:
    from collections.abc import Mapping

    from initcheck.signal.backward import Backward
    from initcheck.signal.signal import Signal
    from initcheck.structure import Structure

__all__ = ["GradientStep", "gradient_path"]

_LAYERS = frozenset({Op.LINEAR, Op.CONV, Op.CONV_TRANSPOSE, Op.EMBEDDING, Op.RECURRENT})


@dataclass(frozen=True, slots=True)
class GradientStep:
    """The gradient at the output of one layer of the main path.

    Attributes:
        node: The layer.
        path: Its path.
        log10_energy: log10 of the squared length of the gradient of one sample, G times the elements of the value,
            relative to that at the last step. Unlike the mean square it does not change with the width alone; what
            averaging over positions takes off it is put back, since weights sum over positions again.
        assumed: Whether it rests on an operation that was not understood.
    """

    node: Node
    path: str
    log10_energy: float
    assumed: bool


def gradient_path(
    graph: Graph, structure: Structure, signals: Mapping[str, Signal | None], backward: Backward
) -> tuple[GradientStep, ...]:
    """Steps from the first layer to the last hidden one, residual branches left out.

    Args:
        graph: The lowered model.
        structure: Its main path.
        signals: Of the forward fold.
        backward: The backward fold of the same kind.
    """
    steps: list[GradientStep] = []
    averaged = 0.0
    for node in reversed(graph.nodes):
        if node.name not in structure.active or node.name in structure.on_branch or not node.outputs:
            continue
        energy = _energy(node.outputs[0], signals, backward)
        if energy is None:
            continue
        before = _energy(node.inputs[0], signals, backward) if node.inputs else None
        if before is not None and _averages_positions(node, signals):
            averaged += before - energy
        if (node.op in _LAYERS or node.name in structure.residuals) and node.name not in structure.heads:
            assumed = backward.gradients[node.outputs[0]].assumed
            steps.append(GradientStep(node, node.path or node.name, energy - averaged, assumed))
    if not steps:
        return ()
    last = steps[0].log10_energy
    return tuple(GradientStep(step.node, step.path, step.log10_energy - last, step.assumed) for step in reversed(steps))


def _energy(name: str, signals: Mapping[str, Signal | None], backward: Backward) -> float | None:
    signal, gradient = signals.get(name), backward.gradients.get(name)
    if signal is None or gradient is None:
        return None
    samples = math.prod(n for n, axis in zip(signal.shape, signal.axes, strict=True) if axis is Axis.BATCH)
    total = gradient.mean_square * math.prod(signal.shape) / max(samples, 1)
    return math.log10(total) if 0.0 < total < math.inf else None


def _averages_positions(node: Node, signals: Mapping[str, Signal | None]) -> bool:
    if node.op is Op.POOL_AVERAGE:
        return True
    x = signals.get(node.inputs[0]) if node.inputs else None
    if node.op is not Op.REDUCE or x is None or node.attributes["function"] != "mean":
        return False
    where = {int(a) % len(x.shape) for a in node.attributes.get("axes", range(len(x.shape)))}
    return all(x.axes[i] is Axis.POSITION for i in where)
