"""The shape of a weight distribution, told from its kurtosis and its range."""

from __future__ import annotations

import math
from functools import cache

from initcheck.distribution import Family

__all__ = [
    "FEWEST",
    "SIGNIFICANCE",
    "TRUNCATION",
    "classify",
    "kurtosis_error",
    "truncated_kurtosis",
    "truncated_variance",
]

SIGNIFICANCE = 4.5
"""Standard errors within which a value counts as the one expected: missed by chance once in 150 000 tensors."""

TRUNCATION = 2.0
"""Where libraries cut a normal by default, in standard deviations."""

FEWEST = 256
"""Below this many elements uniform, truncated and normal overlap: a kurtosis is only known to 0.3."""

KURTOSIS_ALLOWANCE = 0.02
"""What rounding to 16 bits or a coarse generator may add to a kurtosis, however many elements there are."""


def classify(count: int, kurtosis: float, half_range: float) -> Family:
    """Shape of a distribution that was sampled independently.

    The bounds on the kurtosis lie halfway between those of a uniform (1.8), of a normal cut at two standard deviations
    (2.37) and of a normal (3). The half-range may exceed that of the law (1.73 and 2.27) by four and by two standard
    errors of the standard deviation: wider for the uniform, because 256 normal elements look cut far more often than
    flat. The shape must then agree with the sampled kurtosis, else it is unknown.

    Args:
        count: Number of independent elements.
        kurtosis: Fourth central moment over the squared variance.
        half_range: Half the difference of largest and smallest element, over the standard deviation.

    Returns:
        NORMAL, UNIFORM, TRUNCATED or UNKNOWN.
    """
    if count < FEWEST or not math.isfinite(kurtosis):
        return Family.UNKNOWN
    slack = 1.0 / math.sqrt(count)
    if kurtosis < 2.06 and half_range < math.sqrt(3.0) * (1.0 + 2.0 * slack):
        family, expected = Family.UNIFORM, 1.8
    elif kurtosis < 2.68 and half_range < TRUNCATION / math.sqrt(truncated_variance(TRUNCATION)) * (1.0 + slack):
        family, expected = Family.TRUNCATED, truncated_kurtosis(TRUNCATION)
    else:
        family, expected = Family.NORMAL, 3.0
    if abs(kurtosis - expected) <= SIGNIFICANCE * kurtosis_error(family, count) + KURTOSIS_ALLOWANCE:
        return family
    return Family.TRUNCATED if _cut_elsewhere(count, kurtosis, half_range) else Family.UNKNOWN


def _cut_elsewhere(count: int, kurtosis: float, half_range: float) -> bool:
    """Whether a normal cut where the range ends has this kurtosis."""
    low, high = 0.1, 6.0
    for _ in range(40):
        middle = (low + high) / 2.0
        if middle / math.sqrt(truncated_variance(middle)) < half_range:
            low = middle
        else:
            high = middle
    error = SIGNIFICANCE * kurtosis_error(Family.NORMAL, count) + KURTOSIS_ALLOWANCE
    return abs(kurtosis - truncated_kurtosis(low)) <= error


@cache
def _even_moments(cut: float) -> tuple[float, float, float, float]:
    """E[x²], E[x⁴], E[x⁶], E[x⁸] of a standard normal cut at ±``cut``, by partial integration."""
    density = math.exp(-cut * cut / 2.0) / math.sqrt(2.0 * math.pi)
    edge = 2.0 * density / math.erf(cut / math.sqrt(2.0))
    second = 1.0 - cut * edge
    fourth = 3.0 * second - cut**3 * edge
    sixth = 5.0 * fourth - cut**5 * edge
    return second, fourth, sixth, 7.0 * sixth - cut**7 * edge


def truncated_variance(cut: float) -> float:
    """Variance of a standard normal cut at ±``cut``: 0.774 for two standard deviations."""
    return _even_moments(cut)[0]


def truncated_kurtosis(cut: float) -> float:
    """Kurtosis of a normal cut at ±``cut`` of its standard deviations: 2.37 for two."""
    second, fourth, _, _ = _even_moments(cut)
    return fourth / (second * second)


def kurtosis_error(family: Family, count: int) -> float:
    """Standard error of a kurtosis estimated from ``count`` elements of a symmetric law.

    With standardised moments m₄ = k, m₆, m₈ the influence function x⁴ - 2k x² + k has variance m₈ - 4k m₆ + 4k³ - k²
    (24 for a normal).
    """
    if family is Family.UNIFORM:
        fourth, sixth, eighth = 9.0 / 5.0, 27.0 / 7.0, 9.0
    elif family is Family.TRUNCATED:
        variance, m4, m6, m8 = _even_moments(TRUNCATION)
        fourth, sixth, eighth = m4 / variance**2, m6 / variance**3, m8 / variance**4
    else:
        fourth, sixth, eighth = 3.0, 15.0, 105.0
    return math.sqrt((eighth - 4.0 * fourth * sixth + 4.0 * fourth**3 - fourth**2) / count)
