"""Three checks that people write without a theory, each as a list of quantities that are large when something is wrong.

* the rule of thumb per layer: a weight's mean square against 2/fan_in;
* the length alone: the mean square of activations from the first layer to the last, as the engine folds it;
* hooks on one forward and one backward pass of the real model: output and gradient sizes, last layer against first.

All quantities are decades of mean squares.
"""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from initcheck import Analysis, Op

if TYPE_CHECKING:
    from collections.abc import Mapping

BASELINES: Mapping[str, Mapping[str, float]] = {
    "std against 2/fan_in": {"variance": 0.302},
    "length alone": {"length": 4.0},
    "hooks on one pass": {"forward": 4.0, "backward": 4.0},
}
"""Name -> quantity -> the bound that one would choose: a factor of 2 per layer, a factor of 10^2 per amplitude."""


@dataclass(frozen=True)
class Suspicion:
    """What one baseline measures of one model.

    Attributes:
        values: Quantity -> decades, infinite for what is not finite.
        modes: Quantity -> failure mode, in the words of the corpus.
    """

    values: Mapping[str, float]
    modes: Mapping[str, str]


def suspicions(analysis: Analysis, module: nn.Module, example: Any) -> dict[str, Suspicion]:
    return {
        "std against 2/fan_in": _variance(analysis),
        "length alone": _length(analysis),
        "hooks on one pass": _hooks(module, example),
    }


def _suspicion(**signed: float) -> Suspicion:
    modes = {
        name: "nonfinite" if math.isnan(value) else "fm1-exploding" if value > 0 else "fm1-vanishing"
        for name, value in signed.items()
    }
    return Suspicion({name: math.inf if math.isnan(value) else abs(value) for name, value in signed.items()}, modes)


def _variance(analysis: Analysis) -> Suspicion:
    """The layer whose E[w²] is farthest from 2/fan_in."""
    laws = [(layer.weight.distribution, layer.fan_in) for layer in analysis.layers if layer.weight and layer.fan_in > 1]
    gains = [math.nan if law.nonfinite else (law.variance + law.mean**2) * fan_in / 2 for law, fan_in in laws]
    if any(math.isnan(gain) for gain in gains):
        return _suspicion(variance=math.nan)
    return _suspicion(variance=max(map(_decades, gains), key=abs, default=0.0))


def _length(analysis: Analysis) -> Suspicion:
    """Mean square of the last layer's input over that of the first layer's output, embeddings left out."""
    main = [layer for layer in analysis.layers if not layer.on_branch and layer.node.op is not Op.EMBEDDING]
    first = next((analysis.signal_out_of(layer.node) for layer in main), None)
    last = next((analysis.signal_into(layer.node) for layer in reversed(main)), None)
    if first is None or last is None:
        return _suspicion(length=0.0)
    return _suspicion(length=_ratio(last.mean_square, first.mean_square))


def _hooks(module: nn.Module, example: Any) -> Suspicion:
    """Sizes of the outputs of weighted leaf modules, and of the gradients there, last against first."""
    outputs: list[torch.Tensor] = []

    def keep(_module: nn.Module, _inputs: object, output: Any) -> None:
        tensor = output[0] if isinstance(output, tuple) else output
        if isinstance(tensor, torch.Tensor) and tensor.requires_grad:
            tensor.retain_grad()
            outputs.append(tensor)

    leaves = [child for child in module.modules() if not list(child.children()) and hasattr(child, "weight")]
    handles = [leaf.register_forward_hook(keep) for leaf in leaves if leaf.weight is not None and leaf.weight.dim() > 1]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        result = module.train()(example)
        result = result[0] if isinstance(result, tuple) else getattr(result, "logits", result)
        result.backward(torch.randn_like(result))
    for handle in handles:
        handle.remove()
    if len(outputs) < 2:
        return _suspicion(forward=0.0, backward=0.0)
    sizes = [float(output.detach().double().square().mean()) for output in outputs]
    slopes = [0.0 if output.grad is None else float(output.grad.double().square().mean()) for output in outputs]
    return _suspicion(forward=_ratio(sizes[-1], sizes[0]), backward=_ratio(slopes[0], slopes[-1]))


def _ratio(one: float, other: float) -> float:
    if not (math.isfinite(one) and math.isfinite(other)):
        return math.nan
    return _decades(one) - _decades(other) if one or other else math.nan


def _decades(value: float) -> float:
    return math.log10(value) if value > 0.0 else -math.inf
