"""Layers of one role, and those among them whose weights have another scale."""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING

from initcheck import Op, role_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from initcheck import Analysis, Layer

__all__ = ["Outlier", "find_outliers", "log10_scale", "scale_error"]

FEWEST = 4
"""Siblings from which one can stand out."""

LEAST = 1.0
"""Decades of the mean square from which a scale is another one: plain SGD starts every network within one decade."""

COMPACT = 1.0 / 3.0
"""Spread of the siblings relative to the distance of what stands out; scales that change from block to block are more
spread."""

SIGNIFICANCE = 5.0


@dataclass(frozen=True, slots=True)
class Outlier:
    """A layer whose weights have another scale than those of its siblings.

    Attributes:
        layer: The layer.
        role: Path of the family.
        siblings: Number of the others.
        deviation: log10 of its mean-square weight over the median of the family.
    """

    layer: Layer
    role: str
    siblings: int
    deviation: float


def log10_scale(layer: Layer) -> float:
    """log10 of the mean-square weight; nan for a weight that is no draw."""
    law = layer.weight.distribution if layer.weight is not None else None
    if law is None or law.nonfinite or law.is_constant or not law.variance > 0.0:
        return math.nan
    return math.log10(law.mean_square)


def scale_error(layer: Layer) -> float:
    """Standard error of ``log10_scale``."""
    return layer.weight.distribution.variance_relative_error / math.log(10.0) if layer.weight is not None else 0.0


def find_outliers(analysis: Analysis) -> Iterator[Outlier]:
    """Layers that are far from their siblings while these keep together; at most a quarter of a family."""
    families: defaultdict[tuple[str, Op, tuple[int, ...], int], dict[str, Layer]] = defaultdict(dict)
    for layer in analysis.layers:
        if layer.head or layer.node.name not in analysis.structure.active or math.isnan(log10_scale(layer)):
            continue
        if layer.node.op in {Op.LINEAR, Op.CONV, Op.CONV_TRANSPOSE} and layer.weight is not None:
            family = families[role_of(layer.path), layer.node.op, layer.weight.shape, layer.fan_in]
            family.setdefault(layer.weight.name, layer)
    for (role, *_), members in families.items():
        yield from _of_family(role, tuple(members.values()))


def _of_family(role: str, family: Sequence[Layer]) -> Iterator[Outlier]:
    if len(family) < FEWEST:
        return
    scales = [log10_scale(layer) for layer in family]
    centre = median(scales)
    far = [
        Outlier(layer, role, len(family) - 1, scale - centre)
        for layer, scale in zip(family, scales, strict=True)
        if abs(scale - centre) > LEAST + SIGNIFICANCE * scale_error(layer)
    ]
    if not far or len(far) > len(family) // FEWEST:
        return
    outside = {outlier.layer.node.name for outlier in far}
    kept = [scale for layer, scale in zip(family, scales, strict=True) if layer.node.name not in outside]
    if max(kept) - min(kept) <= COMPACT * min(abs(outlier.deviation) for outlier in far):
        yield from far
