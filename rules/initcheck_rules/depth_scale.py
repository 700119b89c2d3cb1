"""Projections that are scaled down with depth although another one writes to the residual stream."""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from initcheck import Op, counted_fan, role_of
from initcheck_rules.siblings import SIGNIFICANCE, log10_scale, scale_error

if TYPE_CHECKING:
    from collections.abc import Iterator

    from initcheck import Analysis, Layer, Residual

__all__ = ["Misplaced", "find_misplaced", "writers_of"]

FEWEST_ADDITIONS = 4
"""Residual additions from which a scale can be told to come from their number."""

ROUNDING = 5e-4
"""Decades by which two scales that are meant to be one may differ (numbers written with three digits)."""


@dataclass(frozen=True, slots=True)
class Misplaced:
    """A projection that is scaled with depth in place of the one that writes to the stream.

    Attributes:
        scaled: The first layer of the role that is scaled.
        writer: The layer of its block that writes to the stream.
        layers: All layers of the role.
        additions: Residual additions of the model.
        ratio: Mean-square weight of the writer over that of the scaled layer.
    """

    scaled: Layer
    writer: Layer
    layers: tuple[Layer, ...]
    additions: int
    ratio: float


def find_misplaced(analysis: Analysis) -> Iterator[Misplaced]:
    """One entry per role of inner projections that carry the scale 1/L or 1/(2L) of GPT-2's residual projections.

    Recognised where the layers of a role have a mean-square weight smaller by the number of residual additions, or by
    half of it, than the layer that ends their branch, and that layer the one of the other inner layers. Only among
    laws of a fixed scale: those that divide by a fan differ from layer to layer anyway.
    """
    residuals = analysis.structure.residuals
    if len(residuals) < FEWEST_ADDITIONS:
        return
    pairs: defaultdict[str, list[tuple[Layer, Layer]]] = defaultdict(list)
    inner: list[Layer] = []
    for residual in residuals.values():
        on_branch = [layer for layer in analysis.layers if layer.on_branch == residual.node and _is_fixed(layer)]
        ending = writers_of(analysis, residual)
        writers = [layer for layer in on_branch if layer.node.name in ending]
        inner += (layer for layer in on_branch if layer.node.name not in ending)
        if len(writers) == 1:
            for layer in on_branch:
                if layer.node.name not in ending:
                    pairs[role_of(layer.path)].append((layer, writers[0]))
    for found in pairs.values():
        scaled, writer = found[0]
        ratio = log10_scale(writer) - log10_scale(scaled)
        if len(found) < 2 or not any(_alike(writer, other, 0.0) for other in inner):
            continue
        for count in (len(residuals), len(residuals) / 2.0):
            if all(_alike(last, layer, math.log10(count)) for layer, last in found):
                yield Misplaced(scaled, writer, tuple(layer for layer, _ in found), len(residuals), 10.0**ratio)
                break


def _is_fixed(layer: Layer) -> bool:
    law = layer.weight.distribution if layer.weight is not None else None
    return (
        layer.node.op is Op.LINEAR
        and law is not None
        and not math.isnan(log10_scale(layer))
        and not counted_fan(law)[0]
    )


def _alike(one: Layer, other: Layer, decades: float) -> bool:
    """Whether one scale is that of another times a given factor, within sampling error."""
    error = SIGNIFICANCE * math.hypot(scale_error(one), scale_error(other))
    return abs(log10_scale(one) - log10_scale(other) - decades) <= error + ROUNDING


def writers_of(analysis: Analysis, residual: Residual) -> frozenset[str]:
    """Weighted nodes from which the branch reaches the addition without another one."""
    weighted = {layer.node.name for layer in analysis.layers}
    found: set[str] = set()
    pending, seen = [residual.branch], {residual.branch}
    while pending:
        node = analysis.structure.producer.get(pending.pop())
        if node is None or node.name not in residual.branch_nodes:
            continue
        if node.name in weighted:
            found.add(node.name)
            continue
        fresh = [name for name in node.inputs if name and name not in seen]
        pending += fresh
        seen.update(fresh)
    return frozenset(found)
