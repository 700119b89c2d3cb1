"""Recorded laws against values: what several real builds with different seeds say."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import nn

if TYPE_CHECKING:
    from collections.abc import Callable

    from initcheck.sources.torch.built import RecordedTensor

DRAWS = 4
SIGNIFICANCE = 5.0
"""Standard errors: one of two million parameters by chance."""


@dataclass(frozen=True)
class Comparison:
    name: str
    known: bool
    exact: bool
    right: bool
    text: str


def draws(factory: Callable[[], nn.Module], count: int = DRAWS) -> dict[str, torch.Tensor]:
    """Name -> (draw, element) values of every float parameter."""
    found: dict[str, list[torch.Tensor]] = {}
    for seed in range(1, count + 1):
        torch.manual_seed(seed)
        for name, parameter in factory().named_parameters(remove_duplicate=False):
            if parameter.is_floating_point():
                found.setdefault(name, []).append(parameter.detach().double().flatten())
    return {name: torch.stack(values) for name, values in found.items()}


def compare(tensor: RecordedTensor, values: torch.Tensor) -> Comparison:
    """Whether mean and standard deviation agree within the errors of both.

    The error of a variance is that of a mean of squares, sqrt((kurtosis - 1)/n); that of an estimate adds its own.
    Rows that are copies of each other, and draws that differ more than independent elements would, widen it by what
    the draws themselves show.
    """
    law = tensor.distribution
    if law is None:
        return Comparison(tensor.name, False, False, True, "unknown")
    count = values.numel()
    within = values.var(1, correction=0)
    # What is estimated from one build cannot tell that elements are copies of fewer draws.
    mean, variance = float(values.mean()), float(values.var(correction=0) if law.exact else within.mean())
    scale = math.sqrt(variance)
    fourth = float(((values - mean) ** 4).mean())
    kurtosis = fourth / variance**2 if variance > 0 else 1.0
    share = 0.0 if law.exact else 1.0
    own = min(values.shape[1], 4096)
    spread = float(values.mean(1).std()) if values.shape[0] > 1 else 0.0
    mean_error = math.sqrt(variance / count + share * variance / own) + (1 + share) * spread / math.sqrt(DRAWS)
    deviation = float(within.std()) / math.sqrt(DRAWS) if values.shape[0] > 1 else 0.0
    variance_error = variance * math.sqrt(max(kurtosis - 1, 0) * (1 / count + share / own)) + (1 + share) * deviation
    rounding = 2.0**-8 if tensor.dtype in {"float16", "bfloat16"} else 1e-5
    slack = 2 * rounding
    right = abs(law.mean - mean) <= SIGNIFICANCE * mean_error + rounding * max(abs(mean), scale) + 1e-9
    right &= abs(law.variance - variance) <= SIGNIFICANCE * variance_error + slack * max(variance, mean**2) + 1e-12
    if law.exact and math.isfinite(law.minimum):
        reach = slack * max(abs(law.minimum), abs(law.maximum)) + 1e-9
        right &= float(values.min()) >= law.minimum - reach and float(values.max()) <= law.maximum + reach
    text = f"{law.family} recorded {law.mean:.4g} ± {law.std:.4g}, drawn {mean:.4g} ± {scale:.4g}"
    return Comparison(tensor.name, True, law.exact, right, text)
