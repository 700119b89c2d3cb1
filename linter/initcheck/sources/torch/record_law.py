"""Laws of initial values: what is known exactly of the elements of a tensor, and what arithmetic does to it."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from initcheck.distribution import Distribution, Family
from initcheck.naming import PADDING, name_scheme

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Law", "constant", "distribution", "identity", "mixture", "normal", "orthogonal", "truncated", "uniform"]

NAMING_SIZE = 1 << 20
"""Elements that a law is named by: so many that only the scheme itself fits, however small the tensor."""

UNCUT = 8.0
"""Standard deviations beyond which a cut leaves a normal as it is: 1e-15 of it lie outside."""


@dataclass(frozen=True, slots=True)
class Law:
    """Moments of one element of a tensor.

    Attributes:
        family: Its shape.
        mean: Its mean.
        second: Second central moment.
        third: Third central moment.
        fourth: Fourth central moment.
        low: Smallest value, -inf for a normal.
        high: Largest value.
        zeros: Probability of an exact zero.
        draws: Numbers of the draws it comes from; laws that share one are not independent. Empty for a fixed value.
        alike: Whether any part of the tensor has this law, which that of an identity matrix has not.
        shape: Shape that an orthogonal or identity matrix was made in; empty for independent elements.
        nonfinite: Probability of nan or infinity, which the moments leave out.
    """

    family: Family
    mean: float
    second: float
    third: float
    fourth: float
    low: float
    high: float
    zeros: float = 0.0
    draws: frozenset[int] = frozenset()
    alike: bool = True
    shape: tuple[int, ...] = ()
    nonfinite: float = 0.0

    @property
    def value(self) -> float | None:
        """The number that all elements are, None if they differ."""
        return self.mean if self.family is Family.CONSTANT else None

    def affine(self, factor: float, shift: float = 0.0) -> Law:
        """Law of ``factor * x + shift``."""
        if self.family is Family.CONSTANT or (factor == 0.0 and not self.nonfinite):
            return constant(factor * self.mean + shift)
        low, high = sorted((factor * self.low + shift, factor * self.high + shift))
        structured = bool(self.shape)
        keeps = not structured or (shift == 0.0 and (self.family is Family.ORTHOGONAL or factor > 0.0))
        return replace(
            self,
            family=self.family if keeps else Family.UNKNOWN,
            mean=factor * self.mean + shift,
            second=factor**2 * self.second,
            third=factor**3 * self.third,
            fourth=factor**4 * self.fourth,
            low=low,
            high=high,
            zeros=self.zeros if shift == 0.0 else 0.0,
        )

    def part(self) -> Law | None:
        """Law of a part of the tensor, None where it depends on the part."""
        if not self.alike:
            return None
        return replace(self, family=Family.UNKNOWN, shape=()) if self.shape else self


def constant(value: float) -> Law:
    """All elements are one number, or none at all: then they are nan, and what is made of them is nan too."""
    if not math.isfinite(value):
        return Law(Family.CONSTANT, math.nan, math.nan, math.nan, math.nan, math.nan, math.nan, nonfinite=1.0)
    return Law(Family.CONSTANT, value, 0.0, 0.0, 0.0, value, value, float(value == 0.0))


def normal(mean: float, std: float, draw: int) -> Law:
    """N(mean, std²)."""
    if std == 0.0:
        return constant(mean)
    return Law(Family.NORMAL, mean, std**2, 0.0, 3.0 * std**4, -math.inf, math.inf, draws=frozenset({draw}))


def uniform(low: float, high: float, draw: int) -> Law:
    """U(low, high): variance (high - low)²/12, fourth moment (high - low)⁴/80."""
    if low == high:
        return constant(low)
    width = high - low
    return Law(
        Family.UNIFORM, (low + high) / 2.0, width**2 / 12.0, 0.0, width**4 / 80.0, low, high, draws=frozenset({draw})
    )


def truncated(mean: float, std: float, low: float, high: float, draw: int) -> Law | None:
    """N(mean, std²) redrawn until within [low, high]; None where next to nothing of it lies there.

    Moments by E[zᵏ] = (k-1) E[zᵏ⁻²] - [zᵏ⁻¹ φ(z)] / (Φ(β) - Φ(α)), partial integration of the cut density.
    """
    if std <= 0.0 or low >= high:
        return None
    alpha, beta = (low - mean) / std, (high - mean) / std
    if alpha < -UNCUT and beta > UNCUT:
        return normal(mean, std, draw)
    alpha, beta = max(alpha, -40.0), min(beta, 40.0)
    inside = (math.erf(beta / math.sqrt(2.0)) - math.erf(alpha / math.sqrt(2.0))) / 2.0
    # Below this share the recursion cancels, most of all for narrow windows, and nobody initialises like that.
    if inside < 1e-2 or beta - alpha < 0.2:
        return None
    raw = [1.0]
    for k in range(1, 5):
        edge = (beta ** (k - 1) * _density(beta) - alpha ** (k - 1) * _density(alpha)) / inside
        raw.append(((k - 1) * raw[k - 2] if k > 1 else 0.0) - edge)
    first, second, third, fourth = raw[1:]
    return Law(
        Family.TRUNCATED,
        mean + std * first,
        std**2 * (second - first**2),
        std**3 * (third - 3.0 * first * second + 2.0 * first**3),
        std**4 * (fourth - 4.0 * first * third + 6.0 * first**2 * second - 3.0 * first**4),
        low,
        high,
        draws=frozenset({draw}),
    )


def _density(z: float) -> float:
    return math.exp(-z * z / 2.0) / math.sqrt(2.0 * math.pi)


def orthogonal(shape: Sequence[int], gain: float, draw: int) -> Law:
    """Rows or columns of a random rotation: element variance gain²/n and kurtosis 3n/(n+2), n the longer side."""
    longer = max(shape[0], math.prod(shape[1:]))
    second = gain**2 / longer
    fourth = 3.0 * longer / (longer + 2.0) * second**2
    bound = abs(gain)
    return Law(Family.ORTHOGONAL, 0.0, second, 0.0, fourth, -bound, bound, draws=frozenset({draw}), shape=tuple(shape))


def identity(shape: Sequence[int], groups: int = 1) -> Law:
    """Ones on the diagonal of a matrix, or at the centre of a convolution's kernels."""
    size = math.prod(shape)
    ones = groups * min(shape[0] // groups, shape[1])
    law = mixture([(constant(1.0), ones), (constant(0.0), size - ones)])
    return replace(law, family=Family.IDENTITY, alike=False, shape=tuple(shape))


def mixture(parts: Sequence[tuple[Law, int]]) -> Law:
    """Law of an element picked anywhere in a tensor whose parts have laws of their own.

    Args:
        parts: Laws and the numbers of elements they hold for.

    Returns:
        The only law where there is one; a padding row does not change the family of the rest.
    """
    total = sum(count for _, count in parts)
    shares = [(law, count / total) for law, count in parts if count]
    nonfinite = sum(share * law.nonfinite for law, share in shares)
    if 0.0 < nonfinite < 1.0:
        sound = [(replace(law, nonfinite=0.0), round(count * (1.0 - law.nonfinite))) for law, count in parts]
        rest = mixture([(law, count) for law, count in sound if count])
        return replace(rest, nonfinite=nonfinite, alike=False)
    first = shares[0][0]
    if len({law for law, _ in shares}) == 1:
        return first
    draws = frozenset[int]().union(*(law.draws for law, _ in shares))
    if not first.shape and len({replace(law, draws=frozenset()) for law, _ in shares}) == 1:
        return replace(first, draws=draws)
    mean = sum(share * law.mean for law, share in shares)
    second = third = fourth = 0.0
    for law, share in shares:
        shift = law.mean - mean
        second += share * (law.second + shift**2)
        third += share * (law.third + 3.0 * shift * law.second + shift**3)
        fourth += share * (law.fourth + 4.0 * shift * law.third + 6.0 * shift**2 * law.second + shift**4)
    zeros = sum(share * law.zeros for law, share in shares)
    drawn = {replace(law, draws=frozenset()) for law, _ in shares if law.zeros < 1.0}
    padded = len(drawn) == 1 and 0.0 < zeros <= PADDING
    return Law(
        next(iter(drawn)).family if padded else Family.UNKNOWN,
        mean,
        second,
        third,
        fourth,
        min(law.low for law, _ in shares),
        max(law.high for law, _ in shares),
        zeros,
        draws,
        alike=False,
    )


def distribution(law: Law, shape: tuple[int, ...], fans: tuple[int, int]) -> Distribution:
    """What the analysis knows of a tensor with this law, its scheme named as one estimated from values would be.

    Args:
        law: Law of its elements.
        shape: Its shape.
        fans: (fan_in, fan_out) of the tensor, for a bias those of the weight beside it; 0 if unknown.
    """
    size = math.prod(shape)
    if law.nonfinite == 1.0:
        return Distribution(Family.UNKNOWN, size, 0.0, 0.0, nonfinite=size, exact=True)
    family = law.family
    if law.shape and law.shape != shape:
        family = Family.UNKNOWN
    kurtosis = law.fourth / law.second**2 if law.second > 0.0 else math.nan
    finite = math.isfinite(law.low) and math.isfinite(law.high)
    result = Distribution(
        family,
        size,
        law.mean,
        law.second,
        kurtosis,
        law.low if finite else math.nan,
        law.high if finite else math.nan,
        round(law.zeros * (1.0 - law.nonfinite) * size),
        nonfinite=round(law.nonfinite * size),
        exact=True,
    )
    named = result
    if not law.shape:
        named = replace(result, size=NAMING_SIZE, zeros=round(law.zeros * NAMING_SIZE))
    return replace(result, scheme=name_scheme(named, shape, *fans) if size else "")
