"""What the gradient does inside the branch of a residual addition, which no path along the stream sees."""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from initcheck import Op, Quantity
from initcheck_rules.steps import Step

if TYPE_CHECKING:
    from collections.abc import Sequence

    from initcheck import Analysis, Contribution, Layer, Residual

__all__ = ["BranchStep", "branch_path", "branch_steps"]


@dataclass(frozen=True, slots=True)
class BranchStep:
    """The gradient at the output of a layer on a branch.

    Attributes:
        layer: The layer.
        log10_energy: log10 of the squared length of the gradient of one sample relative to that at the last layer of
            the branch; for a relative change of the value where a normalisation makes its scale free.
    """

    layer: Layer
    log10_energy: float


def branch_path(analysis: Analysis, residual: Residual) -> tuple[BranchStep, ...]:
    """Layers of a branch from the first to the last, along the input that most of the gradient goes to."""
    structure = analysis.structure
    layers = {layer.node.name: layer for layer in analysis.layers}
    found: list[tuple[Layer, float, float]] = []
    normalized, value = False, residual.branch
    while (node := structure.producer.get(value)) is not None and node.name in residual.branch_nodes:
        energy = _energy(analysis, node.outputs[0])
        if energy is None:
            break
        if node.name in layers:
            found.append((layers[node.name], *energy))
        normalized = normalized or (node.op is Op.NORMALIZE and bool(found))
        known = [(sum(e), name) for name in node.inputs if (e := _energy(analysis, name)) is not None]
        if not known:
            break
        value = max(known)[1]
    steps = [(layer, energy + (length if normalized else 0.0)) for layer, energy, length in found]
    return tuple(BranchStep(layer, energy - steps[0][1]) for layer, energy in reversed(steps))


def branch_steps(analysis: Analysis, residual: Residual, path: Sequence[BranchStep]) -> tuple[Step, ...]:
    """What each layer of a branch and all that follows it on the branch do to the signal, in order."""
    layers = {step.layer.node.name: step.layer for step in path}
    gathered: defaultdict[str, list[Contribution]] = defaultdict(list)
    here = ""
    for entry in analysis.forward.ledger:
        if entry.quantity is Quantity.SIGNAL and entry.node in residual.branch_nodes:
            here = entry.node if entry.node in layers else here
            gathered[here].append(entry)
    return tuple(
        Step(layers[name].path, layers[name], math.fsum(entry.amount for entry in entries), tuple(entries))
        for name, entries in gathered.items()
        if name
    )


def _energy(analysis: Analysis, name: str) -> tuple[float, float] | None:
    """log10 of the squared gradient over all elements of a value, and of its mean square."""
    signal, gradient = analysis.forward.signals.get(name), analysis.backward.gradients.get(name)
    if signal is None or gradient is None or signal.mean_square <= 0.0:
        return None
    total = gradient.mean_square * math.prod(signal.shape)
    return (math.log10(total), math.log10(signal.mean_square)) if 0.0 < total < math.inf else None
