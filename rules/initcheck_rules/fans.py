"""Weights whose variance is that of a fan which their operation does not sum over."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from initcheck import Op, counted_fan, critical_gain

if TYPE_CHECKING:
    from initcheck import Distribution, Layer

__all__ = ["Mismatch", "find_mismatch"]

SIGNIFICANCE = 5.0
"""Standard errors of a variance beyond which it tells two fans apart."""

SMALLEST = 1.3
"""Ratio of two fans up to which the one is as good as the other."""

NAMED_GAINS = (2.0, 1.0)
"""Numerators of a variance by He and by LeCun."""


@dataclass(frozen=True, slots=True)
class Mismatch:
    """A layer drawn by a fan that is not its own.

    Attributes:
        layer: The layer.
        counted: Fan that its variance shows.
        summed: Fan that its operation has.
        reason: Where the other number comes from.
    """

    layer: Layer
    counted: float
    summed: float
    reason: str

    @property
    def decades(self) -> float:
        """log10 of what the layer does to a mean square over what it would do with its own fan."""
        return math.log10(self.summed / self.counted)

    @property
    def mended(self) -> Distribution:
        """The law with the right fan."""
        if self.layer.weight is None:
            raise ValueError("a layer without a weight has no law")
        law, ratio = self.layer.weight.distribution, self.counted / self.summed
        root = math.sqrt(ratio)
        return replace(
            law, variance=ratio * law.variance, minimum=root * law.minimum, maximum=root * law.maximum, scheme=""
        )


def find_mismatch(layer: Layer) -> Mismatch | None:
    """What fan a layer was drawn by where that is another than its own, beyond sampling error; None where it is not."""
    if layer.weight is None or layer.head or layer.node.op not in {Op.LINEAR, Op.CONV, Op.CONV_TRANSPOSE}:
        return None
    law = layer.weight.distribution
    if not layer.fan_in or law.nonfinite or law.effective_mean != 0.0:
        return None
    mode, counted = counted_fan(law)
    groups = int(layer.node.attributes.get("groups", 1))
    if not mode:
        counted = _fan_of_all_groups(layer, groups)
        if not counted:
            return None
    summed = (layer.fan_in + layer.fan_out) / 2.0 if mode == "average" else float(layer.fan_in)
    least = max(SIGNIFICANCE * law.variance_relative_error, math.log(SMALLEST))
    if abs(math.log(counted / summed)) <= least:
        return None
    return Mismatch(layer, counted, summed, _reason(layer, mode, groups))


def _fan_of_all_groups(layer: Layer, groups: int) -> float:
    """Fan of a grouped convolution as if it had one group, where its variance shows that; 0 where it does not.

    It shows where the variance is 2, 1 or what the activation needs over that fan.
    """
    if groups == 1 or layer.weight is None:
        return 0.0
    law, fan = layer.weight.distribution, float(layer.fan_in * groups)
    function = str(layer.activation.attributes["function"]) if layer.activation else ""
    needed = critical_gain(function, layer.activation.attributes.get("arguments") if layer.activation else None)
    tolerance = max(SIGNIFICANCE * law.variance_relative_error, 1e-3)
    gains = (gain for gain in (*NAMED_GAINS, needed) if abs(law.variance * fan / gain - 1.0) < tolerance)
    return fan if next(gains, 0.0) else 0.0


def _reason(layer: Layer, mode: str, groups: int) -> str:
    if layer.node.op is Op.CONV_TRANSPOSE:
        return "nn.init counts a transposed convolution as a plain one, by its stored shape and without its stride"
    if layer.node.op is Op.LINEAR and layer.weight is not None and len(layer.weight.shape) > 2:
        return "nn.init takes every axis behind the second of a stacked weight for a kernel"
    if groups > 1:
        return f"the fan counts all {groups} groups of the convolution, of which a unit sees one"
    if mode == "fan_out":
        return "the variance is one over fan_out, which keeps the length of gradients, not that of the signal"
    return "nn.init takes the second axis of the stored weight for the one that is summed over"
