"""How far a weight is from anything that an initialiser draws, in standard errors; its scale plays no part.

Each score is about standard normal for independent elements of a normal, a truncated normal or a uniform law,
whatever their variance, and large where training has been at work.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from initcheck.distribution import Family
from initcheck.families import kurtosis_error, truncated_kurtosis, truncated_variance

if TYPE_CHECKING:
    from typing import Any

    import numpy.typing as npt

    from initcheck.distribution import Distribution
    from initcheck.graph import RowFacts

__all__ = ["row_score", "shape_score", "spectrum_score"]

KURTOSIS_ALLOWANCE = 0.05
"""Excess over a normal's kurtosis that rounding, or parts drawn with slightly different scales, may cause."""

UNIFORM_KURTOSIS = 1.8

ITERATIONS = 12
"""Steps of the power method; its result is a lower bound on the largest singular value however few there are."""


def shape_score(law: Distribution) -> float:
    """How far the kurtosis is from what an initialiser with this range gives.

    Above: tails heavier than a normal's, by the transform of Anscombe and Glynn (1983), which makes the kurtosis of a
    normal sample normal. Below: elements beyond where a law with so light tails ends; a normal cut at the observed
    range has the least kurtosis that a drawn weight of that range can have, the uniform law (cut at √3) the least of
    all. What is flatter still (signs, sines) is drawn or computed: training blurs edges and does not sharpen them.

    Args:
        law: Estimated from at least 64 values.
    """
    if law.kurtosis > 3.0 + KURTOSIS_ALLOWANCE:
        return _normal_kurtosis_score(law.kurtosis - KURTOSIS_ALLOWANCE, law.size)
    if law.kurtosis < UNIFORM_KURTOSIS - KURTOSIS_ALLOWANCE:
        return -math.inf
    half_range = (law.maximum - law.minimum) / 2.0 / law.std
    spread_error = math.sqrt(max(law.kurtosis - 1.0, 0.0) / law.size) / 2.0
    least = _kurtosis_at(half_range * (1.0 - 5.0 * spread_error))
    return (least - KURTOSIS_ALLOWANCE - law.kurtosis) / kurtosis_error(Family.NORMAL, law.size)


def row_score(rows: RowFacts) -> float:
    """How far the norms of units differ beyond sampling.

    The variance of the norms goes through the transform of Wilson and Hilferty (1931).

    Args:
        rows: Of at least eight units that are all distinct.
    """
    free = min(rows.examined, 256) - 1
    ratio = (rows.norm_variation / rows.norm_variation_expected) ** 2
    return (math.cbrt(ratio) - (1.0 - 2.0 / (9.0 * free))) / math.sqrt(2.0 / (9.0 * free))


def spectrum_score(values: npt.NDArray[Any], enough: float) -> float:
    """How far the largest singular value lies beyond the edge of a matrix of independent elements.

    Gradient steps add few directions of large norm. By Johnstone (2001) the squared largest singular value of an n by p
    matrix of unit variance is (√(n-1) + √p)² + (√(n-1) + √p) (1/√(n-1) + 1/√p)^⅓ · TW, where TW exceeds 6.5 once in a
    million (Tracy and Widom's law for real matrices).

    Args:
        values: The weight, units on the first axis; flattened behind it.
        enough: Score at which to stop.

    Returns:
        A lower bound in units of TW.
    """
    matrix = values.reshape(values.shape[0], -1)
    matrix = matrix - matrix.mean()
    scale = float(np.sqrt(np.mean(matrix * matrix)))
    if min(matrix.shape) < 2 or scale == 0.0:
        return 0.0
    n, p = math.sqrt(max(matrix.shape) - 1.0), math.sqrt(min(matrix.shape))
    edge, width = (n + p) ** 2, (n + p) * (1.0 / n + 1.0 / p) ** (1.0 / 3.0)
    vector = matrix[int(np.argmax(np.linalg.norm(matrix, axis=1)))]
    score = -math.inf
    for _ in range(ITERATIONS):
        image = matrix @ (vector / np.linalg.norm(vector))
        score = (float(image @ image) / (scale * scale) - edge) / width
        if score >= enough:
            break
        vector = matrix.T @ image
    return score


def _normal_kurtosis_score(kurtosis: float, count: int) -> float:
    n = float(count)
    expected = 3.0 * (n - 1.0) / (n + 1.0)
    variance = 24.0 * n * (n - 2.0) * (n - 3.0) / ((n + 1.0) ** 2 * (n + 3.0) * (n + 5.0))
    skew = 6.0 * (n * n - 5.0 * n + 2.0) / ((n + 7.0) * (n + 9.0))
    skew *= math.sqrt(6.0 * (n + 3.0) * (n + 5.0) / (n * (n - 2.0) * (n - 3.0)))
    freedom = 6.0 + 8.0 / skew * (2.0 / skew + math.sqrt(1.0 + 4.0 / (skew * skew)))
    x = (kurtosis - expected) / math.sqrt(variance)
    ratio = (1.0 - 2.0 / freedom) / (1.0 + x * math.sqrt(2.0 / (freedom - 4.0)))
    spread = 2.0 / (9.0 * freedom)
    return (1.0 - spread - math.cbrt(ratio)) / math.sqrt(spread)


def _kurtosis_at(half_range: float) -> float:
    """Kurtosis of a normal cut where its range is this many of its standard deviations after the cut."""
    if half_range <= math.sqrt(3.0):
        return UNIFORM_KURTOSIS
    low, high = 0.1, 8.0
    for _ in range(40):
        middle = (low + high) / 2.0
        if middle / math.sqrt(truncated_variance(middle)) < half_range:
            low = middle
        else:
            high = middle
    return truncated_kurtosis(low)
