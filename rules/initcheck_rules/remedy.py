"""The code to write instead, for the user's own activation and layer type."""

from __future__ import annotations

import math
from collections import Counter
from typing import TYPE_CHECKING

from initcheck import Op, critical_gain

if TYPE_CHECKING:
    from collections.abc import Iterable

    from initcheck import Layer

__all__ = ["initialization_code"]

LARGEST_GAIN = 10.0
"""Beyond this gain an activation is saturated at work, and its weights are not what should change."""

_NAMED = {"relu": 'nonlinearity="relu"', "": 'nonlinearity="linear"', "selu": 'nonlinearity="linear"'}


def initialization_code(layers: Iterable[Layer]) -> str:
    """PyTorch code that initialises these layers so that the signal keeps its length, for their commonest kind.

    Returns:
        One line; empty without a weighted layer.
    """
    lines = Counter(line for layer in layers if (line := _line(layer)))
    return lines.most_common(1)[0][0] if lines else ""


def _line(layer: Layer) -> str:
    if layer.weight is None or not layer.fan_in:
        return ""
    zero_bias = "; nn.init.zeros_(layer.bias)" if layer.bias is not None else ""
    activation = layer.activation
    function = str(activation.attributes["function"]) if activation else ""
    arguments = dict(activation.attributes.get("arguments", {})) if activation else {}
    gain = critical_gain(function, arguments)
    if math.isnan(gain) or gain > LARGEST_GAIN:
        return f"replace {function}, or normalise before it: no initialisation keeps a signal through it"
    if layer.node.op is Op.CONV_TRANSPOSE or (layer.node.op is Op.LINEAR and len(layer.weight.shape) > 2):
        # nn.init counts the fan of another operation.
        std = math.sqrt(gain / layer.fan_in)
        return f"nn.init.normal_(layer.weight, std={std:.3g}){zero_bias}"
    if function == "leaky_relu":
        slope = float(arguments.get("alpha", 0.01))
        named = f'a={slope:g}, nonlinearity="leaky_relu"'
    elif function in _NAMED:
        named = _NAMED[function]
    elif abs(gain - 1.0) < 0.15:
        named = _NAMED[""]
    else:
        return f"nn.init.normal_(layer.weight, std=({gain:.3g} / layer.weight[0].numel()) ** 0.5){zero_bias}"
    return f"nn.init.kaiming_normal_(layer.weight, {named}){zero_bias}"
