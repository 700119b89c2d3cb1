"""What the units and positions of a value add to the fluctuation of its length over draws of the weights (THEORY 2.9).

Of a value's units two statistics matter: the mean square M, and the ratio of mean to root mean square, called its
*coherence*. A linear map with fresh weights sees M only; a rectifier also sees how many units happen to be positive,
and so does an addition to a value with a mean. On a residual stream both persist from block to block.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from initcheck.signal.log_mean import log_mean
from initcheck.signal.quadrature import NODES, TERMS, WEIGHTS, Table, expectation, hermite_coefficients, smoothed
from initcheck.signal.record import replace

if TYPE_CHECKING:
    from collections.abc import Mapping

    from initcheck.signal.signal import Signal
    from initcheck.signal.source import Source

__all__ = [
    "STEEPEST",
    "Alignment",
    "Averaging",
    "Noise",
    "Pattern",
    "Response",
    "alignment",
    "averaging",
    "combined",
    "common_elasticity",
    "correlation_spreads",
    "pattern",
    "powers_of",
    "response",
]

Noise = dict[int, float]
"""Linear combination of independent variables of unit variance: {index: coefficient}."""

_ORDERS = np.arange(TERMS)
_HERMITE_4 = NODES**4 - 6.0 * NODES**2 + 3.0
_PAIRS = 0.5 * _ORDERS * (_ORDERS - 1.0)
_NEGLIGIBLE = 1e-12
_MOST_LESS = 0.7
"""Part of a variance that a bounded law may take away; 0.6 for squares of uniform numbers."""
STEEPEST = 10.0
"""Elasticity beyond that of any power in use; exponentials that reach it have a length that is that of one unit."""
_LARGEST = 1e3
"""Standard deviation of ln M beyond which its size says nothing."""


def combined(*parts: tuple[float, Mapping[int, float]]) -> Noise:
    """Sum of noises times factors, without what is negligible, kept within bounds."""
    result: Noise = {}
    for factor, noise in parts:
        if not noise or abs(factor) < _NEGLIGIBLE:
            continue
        if not result:
            result = {index: factor * c for index, c in noise.items()}
            continue
        before = result.get
        for index, coefficient in noise.items():
            result[index] = before(index, 0.0) + factor * coefficient
    return {index: min(max(c, -_LARGEST), _LARGEST) for index, c in result.items() if not -1e-9 <= c <= 1e-9}


@dataclass(frozen=True)
class Averaging:
    """A mean over units and positions of functions of z.

    Attributes:
        units: Independent units.
        overlaps: By order n of the Hermite polynomial, the share of its variance that averaging over positions leaves.
        excess: Excess kurtosis of z over units.
    """

    units: float
    overlaps: Table
    excess: float = 0.0

    def covariances(self, functions: Table) -> tuple[Table, Table]:
        """Of the means of functions given as rows on the quadrature nodes, and of the functions themselves."""
        coefficients = hermite_coefficients(functions.T).T[:, 1:]
        centred = functions - (functions @ WEIGHTS)[:, None]
        single: Table = (centred * WEIGHTS) @ centred.T
        averaged = (coefficients * self.overlaps[1:]) @ coefficients.T
        # What lies above the last order is counted with it.
        averaged += self.overlaps[-1] * (single - coefficients @ coefficients.T)
        if self.excess:
            # First order of the Gram-Charlier series of the density of z.
            weighted = centred * (WEIGHTS * _HERMITE_4 * (self.excess / 24.0))
            shift = weighted.sum(axis=1)
            extra = weighted @ centred.T - np.outer(shift, shift)
            # It is the law's for squares; far steeper functions see tails that the series does not know.
            if np.all(np.diag(extra) >= -_MOST_LESS * np.diag(single)):
                single, averaged = single + extra, averaged + extra
        return averaged / self.units, single

    def group(self, groups: int) -> Averaging:
        """The mean over one of equal groups of units."""
        return replace(self, units=max(self.units / groups, 1.0))


def averaging(signal: Signal) -> Averaging:
    """The mean over all units and positions of a value.

    Two positions whose z have correlation ρ share ρⁿ of order n. ρ differs from pair to pair, since the C units of the
    layer before decide it: E ρⁿ = ρⁿ + n (n - 1)/2 ρⁿ⁻² Var ρ. Positions of unequal length w count as Σ w²/(Σ w)².
    """
    positions = max(signal.positions, 1)
    single = 1.0
    if positions > 1:
        concentration = (
            1.0 if signal.profile is None else float(np.vdot(signal.profile, signal.profile)) / signal.profile.size
        )
        single = min(concentration / positions, 1.0)
    shared = powers_of(signal.source.rho_position, signal.source.spread_position)
    return Averaging(float(max(signal.units, 1)), single + (1.0 - single) * shared, signal.source.excess_kurtosis)


@lru_cache(maxsize=256)
def powers_of(correlation: float, spread: float) -> Table:
    """E ρⁿ for every order n, of a correlation of given mean and variance."""
    correlation = min(max(correlation, 0.0), 1.0)
    spread = min(spread, 1.0 - correlation * correlation)
    powers = correlation**_ORDERS
    moments = np.array(powers, dtype=np.float64)
    moments[2:] += _PAIRS[2:] * spread * powers[:-2]
    np.minimum(moments, 1.0, out=moments)
    # Several values share the result.
    moments.flags.writeable = False
    return moments


@dataclass(frozen=True, slots=True)
class Pattern:
    """How the units' own draw changes a source's statistics.

    Attributes:
        length: Variance of ln M.
        shared: Covariance of ln M and the coherence.
        coherence: Variance of the coherence.
        drift: E ln M - ln q.
        excess: What ``length`` has beyond the first order.
    """

    length: float
    shared: float
    coherence: float
    drift: float
    excess: float


def pattern(source: Source, mean: Averaging) -> Pattern:
    """What independent units add to the statistics of their own source."""
    square = expectation(source.base * source.base)
    if square <= 0.0 or not math.isfinite(square):
        return Pattern(0.0, 0.0, 0.0, 0.0, 0.0)
    scaled = source.base / math.sqrt(square)
    functions = np.array([scaled * scaled, scaled])
    averaged, single = mean.covariances(functions)
    coherence = np.array([-0.5 * expectation(scaled), 1.0])
    drift, variance = _exact(functions[0], averaged[0, 0], single[0, 0], mean.units)
    return Pattern(
        length=variance,
        shared=float(averaged[0] @ coherence),
        coherence=float(coherence @ averaged @ coherence),
        drift=drift,
        excess=variance - float(averaged[0, 0]),
    )


@dataclass(frozen=True)
class Response:
    """How the statistics of x = f(x0) follow those of its source, and what their units add.

    Attributes:
        length: d ln M(x) / d ln M(x0), the elasticity.
        coherence: d ln M(x) / d coherence(x0).
        coherence_by_length: d coherence(x) / d ln M(x0).
        coherence_by_coherence: d coherence(x) / d coherence(x0).
        rest: Variance of ln M(x) that neither explains.
        excess: What of it goes beyond the first order in 1/n.
        rest_shared: Covariance with the coherence of x of that kind.
        rest_coherence: Variance of the coherence of x of that kind.
        drift: What all of this adds to E ln M - ln q beyond the source's own part.
    """

    length: float
    coherence: float
    coherence_by_length: float
    coherence_by_coherence: float
    rest: float
    excess: float
    rest_shared: float
    rest_coherence: float
    drift: float


_NO_RESPONSE = Response(0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0)


def response(x: Signal, mean: Averaging) -> Response:
    """The statistics of a value as functions of its source's.

    Scaling x0 acts with the elasticity; what remains of x² and x after that is regressed on the coherence of x0, and
    the residuals are what is new. For a rectified Gaussian, with n units, the three parts of 5/n are 2 (length of x0),
    8/π (coherence), and the rest.
    """
    square, square0 = x.mean_square, expectation(x.source.base * x.source.base)
    if min(square, square0) <= 0.0 or not math.isfinite(square) or not math.isfinite(square0):
        return _NO_RESPONSE
    scaled, scaled0 = x.table / math.sqrt(square), x.source.base / math.sqrt(square0)
    functions = np.array([scaled0 * scaled0, scaled0, scaled * scaled, scaled])
    averaged, single = mean.covariances(functions)
    elasticity = x.answer
    ratio = x.mean / math.sqrt(square)
    bend = 0.5 * (expectation(x.stretch) / math.sqrt(square) - ratio * elasticity)
    # As combinations of the four functions: the coherence of x0, and what a change of scale does not explain.
    coherence0 = np.array([-0.5 * expectation(scaled0), 1.0, 0.0, 0.0])
    length = np.array([-elasticity, 0.0, 1.0, 0.0])
    coherence = np.array([-bend, 0.0, -0.5 * ratio, 1.0])
    scale = float(coherence0 @ averaged @ coherence0)
    by_coherence = by_itself = 0.0
    if single[2, 2] <= _NEGLIGIBLE:
        # A mean over the units themselves, which is one number.
        return Response(elasticity, 0.0, bend, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0)
    if not abs(x.elasticity) < STEEPEST:
        # A single unit makes up the length: it is one squared number, whatever the scale of x0.
        drift, variance = _exact(functions[2], averaged[2, 2], single[2, 2], mean.units)
        return Response(0.0, 0.0, 0.0, 0.0, variance, 0.0, 0.0, 0.0, drift)
    if scale > _NEGLIGIBLE / mean.units:
        by_coherence = float(length @ averaged @ coherence0) / scale
        by_itself = float(coherence @ averaged @ coherence0) / scale
        length = length - by_coherence * coherence0
        coherence = coherence - by_itself * coherence0
    drift, exact = _exact(functions[2], averaged[2, 2], single[2, 2], mean.units)
    drift0, exact0 = _exact(functions[0], averaged[0, 0], single[0, 0], mean.units)
    excess = exact - averaged[2, 2] - elasticity * elasticity * (exact0 - averaged[0, 0])
    return Response(
        length=elasticity,
        coherence=by_coherence,
        coherence_by_length=bend,
        coherence_by_coherence=by_itself,
        rest=max(float(length @ averaged @ length + excess), 0.0),
        excess=float(excess),
        rest_shared=float(length @ averaged @ coherence),
        rest_coherence=max(float(coherence @ averaged @ coherence), 0.0),
        drift=drift - elasticity * drift0,
    )


@dataclass(frozen=True, slots=True)
class Alignment:
    """How the common share c of x fluctuates: what the mean over all positions keeps of the mean square.

    Attributes:
        slope: d ln c / d rho of the source.
        along: Covariance of ln c with what the units add to ln M, over the variance of that.
        rest: Variance of ln c that the units add beyond.
    """

    slope: float
    along: float
    rest: float


def alignment(x: Signal, mean: Averaging) -> Alignment:
    """Fluctuation of the common share.

    With q = 1 and F(u) = E[x | u], u what all positions of a unit share, the mean over T positions of a unit is F(u)
    and a rest, Gaussian of variance (1 - p)/T; its mean square over units is c M, and ln c the difference of two
    logarithms.
    """
    if x.mean_square <= 0.0 or not math.isfinite(x.mean_square):
        return Alignment(0.0, 0.0, 0.0)
    positions = x.positions
    table = x.table / math.sqrt(x.mean_square)
    rho = min(max(x.source.rho_position, 0.0), 1.0)
    even = smoothed(table, math.sqrt(rho))
    even_square = even * even
    pair = expectation(even_square)
    rest = max(1.0 - pair, 0.0) / positions
    pooled = pair + rest
    powers = hermite_coefficients(table)[1:] ** 2
    slope = (1.0 - 1.0 / positions) * float((powers * _ORDERS[1:]) @ rho ** _ORDERS[:-1]) / pooled
    squares = table * table
    averaged, _ = mean.covariances(squares[None, :])
    length = float(averaged[0, 0]) * mean.units
    if length <= _NEGLIGIBLE:
        return Alignment(slope, 0.0, 0.0)
    both = (expectation(even_square * smoothed(squares, math.sqrt(rho))) + rest) / pooled - 1.0
    fourth = expectation(even_square * even_square) + 6.0 * pair * rest + 3.0 * rest * rest
    variance = fourth / pooled**2 - 1.0
    along = both / length - 1.0
    remains = variance + length - 2.0 * both - along * along * length
    return Alignment(slope, along, max(remains, 0.0) / mean.units)


def common_elasticity(share: float, common: float) -> float:
    """D ln c' / d ln c of the common shares after and before a bias, which all positions have in common.

    Args:
        share: Part of the mean square that is not bias.
        common: c before.
    """
    after = share * common + 1.0 - share
    return share * common / after if after > 0.0 else 1.0


def _exact(g: Table, first: float, variance: float, units: float) -> tuple[float, float]:
    """E and Var of ln of a mean of g >= 0, E g = 1, over units and positions.

    A unit is off when it is off at all its positions, of which it has as many independent ones as the first order says.

    Args:
        g: On the quadrature nodes.
        first: First order of the variance.
        variance: Of g itself.
        units: Number of units.
    """
    if first <= _NEGLIGIBLE or variance <= _NEGLIGIBLE:
        return 0.0, max(float(first), 0.0)
    alive = float(WEIGHTS[g > 1e-20].sum())
    positions = max(float(variance / first) / units, 1.0)
    return log_mean(float(first) * units, 1.0 - (1.0 - alive) ** positions, units)


def correlation_spreads(x: Signal, units: float, taps: float, share: float) -> tuple[float, float]:
    """Variances of the correlations of W x + b between two positions and between two samples.

    Given x they are the cosines of x itself over its units: beside what made them vary so far, the cosine of C units
    varies by Var(x_a x_b - r (x_a² + x_b²)/2)/C, with q = 1; (1 - r²)²/C for a Gaussian. Taps average it as far as
    neighbouring pairs of positions are independent.

    Args:
        x: Input of the map.
        units: Features that an output sums over.
        taps: Positions that it sums over.
        share: Part of the output's mean square that is not bias.
    """
    square = x.mean_square
    if square <= 0.0 or not math.isfinite(square):
        return 0.0, 0.0
    scaled = x.table / math.sqrt(square)
    square_table = scaled * scaled
    coefficients = hermite_coefficients(np.array([scaled, square_table, square_table * scaled]).T).T
    kurtosis = expectation(square_table * square_table)
    source = x.source

    def spread(correlation: float, before: float) -> float:
        correlation = min(max(correlation, 0.0), 1.0)
        if correlation >= 1.0 - 1e-9:
            return 0.0
        powers = correlation**_ORDERS
        cosine = float(coefficients[0] ** 2 @ powers)
        squares = float(coefficients[1] ** 2 @ powers)
        cubes = float((coefficients[2] * coefficients[0]) @ powers)
        slope = float((coefficients[0][1:] ** 2 * _ORDERS[1:]) @ powers[:-1])
        fresh = squares + 0.5 * cosine**2 * (kurtosis + squares) - 2.0 * cosine * cubes
        alike = 1.0 / taps + (1.0 - 1.0 / taps) * cosine**2
        return share * share * alike * (max(fresh, 0.0) / units + slope * slope * before)

    between = spread(source.rho_position, source.spread_position) if x.positions > 1 else 0.0
    return between, spread(source.rho_sample, source.spread_sample)
