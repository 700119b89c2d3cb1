"""The gradient along the main path, comparable from layer to layer."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from initcheck.graph import Axis, Graph, Node, Op
from initcheck.signal.ledger import Contribution, Quantity, reason_of

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
        log10_sensitivity: The same for a relative change of the value: times its mean square. It is what a change of
            the weights by one part in a hundred does to the loss, whatever their scale; in a network of homogeneous
            functions without biases it is one number for all layers, and so it stays along a residual stream that
            grows. It rises towards the input where perturbations outgrow the length (chaos, Poole et al. 2016; batch
            normalisation, Yang et al. 2019) and falls where the value depends less and less on the input.
        contributions: What every operation between this layer and the next step adds to ``log10_sensitivity`` on the
            way back, in order of the graph; empty for the last step.
        assumed: Whether it rests on an operation that was not understood.
    """

    node: Node
    path: str
    log10_energy: float
    log10_sensitivity: float
    contributions: tuple[Contribution, ...]
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
    behind: list[Contribution] = []
    averaged = 0.0
    for node in reversed(graph.nodes):
        if node.name not in structure.active or node.name in structure.on_branch or not node.outputs:
            continue
        energy = _energy(node.outputs[0], signals, backward)
        signal = signals.get(node.outputs[0])
        if energy is None or signal is None or signal.mean_square <= 0.0:
            continue
        if (node.op in _LAYERS or node.name in structure.residuals) and node.name not in structure.heads:
            sensitivity = energy - averaged + math.log10(signal.mean_square)
            assumed = backward.gradients[node.outputs[0]].assumed
            between = tuple(reversed(behind)) if steps else ()
            steps.append(GradientStep(node, node.path or node.name, energy - averaged, sensitivity, between, assumed))
            behind = []
        source = _source(node, structure, signals)
        before = _energy(source, signals, backward)
        x = signals.get(source)
        if before is None or x is None or x.mean_square <= 0.0:
            continue
        change = before - energy
        if node.outputs[0] in structure.bottlenecks and _averages_positions(node, signals):
            averaged += change
            change = 0.0
        change += math.log10(x.mean_square / signal.mean_square)
        reason = reason_of(graph, node, residual=node.name in structure.residuals)
        behind.append(Contribution(node.name, node.path or node.name, Quantity.GRADIENT, change, reason, x.segment))
    if not steps:
        return ()
    last = steps[0]
    return tuple(
        replace(
            step,
            log10_energy=step.log10_energy - last.log10_energy,
            log10_sensitivity=step.log10_sensitivity - last.log10_sensitivity,
        )
        for step in reversed(steps)
    )


def _source(node: Node, structure: Structure, signals: Mapping[str, Signal | None]) -> str:
    """The input that the main path comes from: the skip of a residual addition, else the first that is a signal."""
    if node.name in structure.residuals:
        return structure.residuals[node.name].skip
    return next((name for name in node.inputs if signals.get(name) is not None), "")


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
