"""The distribution of an initial weight tensor: what a scheme draws from, or what its values tell."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum

__all__ = ["Distribution", "Family"]


class Family(StrEnum):
    """Shape of a weight distribution, independent of its scale."""

    NORMAL = "normal"
    UNIFORM = "uniform"
    TRUNCATED = "truncated normal"
    ORTHOGONAL = "orthogonal"
    CONSTANT = "constant"
    IDENTITY = "identity"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Distribution:
    """Moments of one tensor, exact (recorded from an initialiser) or estimated (read from values).

    Attributes:
        family: Shape of the distribution.
        size: Number of elements.
        mean: Mean of the elements.
        variance: Central second moment.
        kurtosis: Central fourth moment over the squared variance (3 for a normal); nan for a constant tensor.
        minimum: Smallest finite element.
        maximum: Largest finite element.
        zeros: Number of elements that are exactly zero.
        nonfinite: Number of elements that are nan or infinite; the other fields leave them out.
        exact: True when the moments are those of the law itself, False when they were estimated from ``size`` values.
        scheme: Name people use (``kaiming_normal``, ``kaiming_uniform(a=√5)``, ``normal(0, 0.02)``), empty if none
            fits.
    """

    family: Family
    size: int
    mean: float
    variance: float
    kurtosis: float = math.nan
    minimum: float = math.nan
    maximum: float = math.nan
    zeros: int = 0
    nonfinite: int = 0
    exact: bool = False
    scheme: str = ""

    @property
    def std(self) -> float:
        """Standard deviation."""
        return math.sqrt(self.variance)

    @property
    def mean_square(self) -> float:
        """E[w²], what propagation multiplies by (the paper's second moment)."""
        return self.variance + self.mean * self.mean

    @property
    def is_constant(self) -> bool:
        """Whether all finite elements are one number."""
        return self.family is Family.CONSTANT

    @property
    def is_zero(self) -> bool:
        """Whether every element is exactly zero."""
        return self.size > 0 and self.zeros == self.size

    @property
    def variance_relative_error(self) -> float:
        """Standard error of the variance relative to it: sqrt((kurtosis - 1) / size); 0 when exact or constant."""
        if self.exact or self.is_constant or self.size == 0:
            return 0.0
        kurtosis = self.kurtosis if math.isfinite(self.kurtosis) else 3.0
        return math.sqrt(max(kurtosis - 1.0, 0.0) / self.size)

    @property
    def effective_mean(self) -> float:
        """Mean, taken as zero while it is within five standard errors of it.

        A sampled symmetric law never has mean exactly zero; multiplied by a fan-in the error would look like a shift.
        """
        if self.is_constant or self.size == 0:
            return self.mean
        if not self.exact and abs(self.mean) < 5.0 * self.std / math.sqrt(self.size):
            return 0.0
        return self.mean
