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
    """Whether mean and standard deviation agree within the errors of both, and a known range holds all values.

    Errors of an exact law are its own: those of a mean, and of a mean of squares, sqrt((kurtosis - 1)/n), a little
    wider for few values, whose sums are not normal yet. What was estimated from one build has its error as well, and
    cannot tell that elements are copies of fewer draws: the draws themselves show by how much they differ.
    """
    law = tensor.distribution
    if law is None:
        return Comparison(tensor.name, False, False, True, "unknown")
    count, within = values.numel(), values.var(1, correction=0)
    mean, variance = float(values.mean()), float(values.var(correction=0) if law.exact else within.mean())
    scale = math.sqrt(variance)
    if law.exact:
        kurtosis = law.kurtosis if law.variance > 0 else 1.0
        mean_error = law.std / math.sqrt(count)
        variance_error = law.variance * math.sqrt((kurtosis - 1) / count) * (1 + 8 / count)
    else:
        kurtosis = float(((values - mean) ** 4).mean()) / variance**2 if variance > 0 else 1.0
        share = 1 / count + 1 / min(values.shape[1], 4096)
        mean_error = scale * math.sqrt(share) + float(values.mean(1).std())
        variance_error = variance * math.sqrt(max(kurtosis - 1, 0) * share) + float(within.std())
    rounding = 2.0**-8 if tensor.dtype in {"float16", "bfloat16"} else 1e-5
    slack = 2 * rounding
    right = abs(law.mean - mean) <= SIGNIFICANCE * mean_error + rounding * max(abs(mean), scale) + 1e-9
    right &= abs(law.variance - variance) <= SIGNIFICANCE * variance_error + slack * max(variance, mean**2) + 1e-12
    if law.exact and math.isfinite(law.minimum):
        reach = slack * max(abs(law.minimum), abs(law.maximum)) + 1e-9
        right &= float(values.min()) >= law.minimum - reach and float(values.max()) <= law.maximum + reach
    text = f"{law.family} recorded {law.mean:.4g} ± {law.std:.4g}, drawn {mean:.4g} ± {scale:.4g}"
    return Comparison(tensor.name, True, law.exact, right, text)
