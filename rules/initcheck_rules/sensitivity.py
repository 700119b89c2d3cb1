"""What the rules on gradients share: how the gradient for a relative change moves along the main path."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING

from initcheck import Op
from initcheck_rules.remedy import initialization_code
from initcheck_rules.steps import Step, worst_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from initcheck import Analysis, GradientStep

__all__ = ["comparable_steps", "path_uncertainty", "segment_of", "steps_between", "weights_code"]


def comparable_steps(analysis: Analysis) -> tuple[GradientStep, ...]:
    """The gradient's path, of values that all of the signal runs through; the contributions between them joined.

    A value with another beside it (in a dense block, a U-Net, a second tower) has part of the sensitivity, however
    healthy the network.
    """
    path = analysis.gradient_path
    kept = [at for at, step in enumerate(path) if step.node.outputs[0] in analysis.structure.bottlenecks]
    if not kept:
        return ()
    last = path[kept[-1]].log10_sensitivity
    joined = []
    for at, following in pairwise((*kept, kept[-1])):
        entries = tuple(entry for step in path[at:following] for entry in step.contributions)
        changed = replace(path[at], log10_sensitivity=path[at].log10_sensitivity - last, contributions=entries)
        joined.append(changed)
    return tuple(joined)


def steps_between(analysis: Analysis, path: Sequence[GradientStep], sign: float) -> tuple[Step, ...]:
    """What lies between one layer of the gradient's path and the next, as steps in decades on the way back.

    Args:
        analysis: The model.
        path: A stretch of its gradient path.
        sign: 1 where growth towards the input is to be explained, -1 where loss is. A step keeps its layer only where
            that layer's activation does most of it: the scale of weights before a normalisation is free.
    """
    layers = {layer.node.name: layer for layer in analysis.layers}
    steps = []
    for here, following in pairwise(path):
        amount = here.log10_sensitivity - following.log10_sensitivity
        step = Step(here.path, layers.get(here.node.name), amount, here.contributions)
        if not step.contributions:
            continue
        activation = step.layer.activation if step.layer is not None else None
        of_activation = activation is not None and worst_of(step, sign).node == activation.name
        steps.append(step if of_activation else Step(step.path, None, amount, step.contributions))
    return tuple(steps)


def segment_of(guilty: Sequence[Step], sign: float) -> str:
    """The segment in which most of a change lies; empty if none."""
    shares: defaultdict[int, float] = defaultdict(float)
    for step in guilty:
        for entry in step.contributions:
            shares[entry.segment] += sign * entry.amount
    return f"segment {max(shares, key=shares.__getitem__)}" if shares else ""


def path_uncertainty(analysis: Analysis) -> float:
    """Decades by which sampled weights may put a change along the path wrong."""
    return max((segment.uncertainty for segment in analysis.segments), default=0.0)


def weights_code(analysis: Analysis, guilty: Sequence[Step]) -> str:
    """Code that draws these layers anew; empty where a normalisation makes their scale free."""
    named = {step.path for step in guilty if step.layer is not None}
    layers = [layer for layer in analysis.layers if layer.path in named]
    normalized = any(node.op is Op.NORMALIZE for node in analysis.graph.nodes if node.name in analysis.structure.active)
    return "" if normalized else initialization_code(layers)
