"""Activations that are off for every input, by signs alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

from initcheck import is_zero_below_zero

if TYPE_CHECKING:
    from initcheck import Analysis, Layer, Parameter

__all__ = ["is_switched_off"]


def is_switched_off(analysis: Analysis, layer: Layer) -> bool:
    """Whether weights that are never positive meet an input that is never negative, and feed a ReLU on every path.

    A moment expansion only sees that pre-activations are far below zero; their sign is certain.
    """
    activation = layer.activation
    signal = analysis.signal_into(layer.node)
    if activation is None or signal is None or layer.weight is None or layer.weight.distribution.is_zero:
        return False
    if activation.outputs[0] not in analysis.structure.bottlenecks:
        return False
    owned = (layer.weight, layer.bias) if layer.bias is not None else (layer.weight,)
    if float(signal.table.min()) < 0.0 or signal.gain == 0.0 or not all(_never_positive(part) for part in owned):
        return False
    return is_zero_below_zero(str(activation.attributes["function"]), activation.attributes.get("arguments"))


def _never_positive(parameter: Parameter) -> bool:
    law = parameter.distribution
    return not law.nonfinite and law.maximum <= 0.0
