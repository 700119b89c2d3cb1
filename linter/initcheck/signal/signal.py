"""The state that is folded through a graph: one ``Signal`` per value, a function of one Gaussian ``Source``.

A linear map, a sum or a normalisation makes a new source; elementwise functions only change the table over it. Two
signals over one source combine pointwise and exactly, which is why x * sigmoid(x), or a LayerNorm spelled out in nine
operations, needs no pattern (THEORY 2.1).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from initcheck.graph import Axis
from initcheck.signal.fluctuation import STEEPEST, Noise, averaging, combined, response
from initcheck.signal.functions import apply
from initcheck.signal.mehler import MehlerSeries, mehler_series
from initcheck.signal.profile import powered
from initcheck.signal.quadrature import (
    NODES,
    Table,
    cumulative,
    expectation,
    hermite_powers,
    pair_moment,
)
from initcheck.signal.record import derived, replace
from initcheck.signal.source import Logits, Mixing, Source, effective_elements

if TYPE_CHECKING:
    from collections.abc import Mapping

    from initcheck.signal.profile import Profile

__all__ = ["Signal"]


_NEGLIGIBLE = 1e-9


@dataclass(frozen=True)
class Signal:
    """An activation x = table(z), with shape and history.

    Attributes:
        source: What z is.
        table: Values of x on the quadrature nodes.
        slope: Response to the source's perturbation on the nodes: dx/dx0 times the source's own (1 for a Gaussian, of
            mean square 1 else), root mean square over the cell at kinks.
        stretch: dx/d(ln scale of x0) on the nodes.
        shape: Sizes of the axes.
        axes: What each axis runs over.
        segment: Stretch between normalisations it belongs to.
        reference: Small-perturbation mean square at the segment's start, so that ``gain / reference`` is the segment's
            gain.
        start_mean_square: Mean square at the segment's start.
        growth: log10 of the growth of the mean square over residual additions in the segment.
        profile: Mean square over positions relative to its mean, as an array that broadcasts to the shape; None when
            uniform (``signal/profile.py``).
        assumed: Whether an operation before it in the segment was not understood.
        own_noise: What ln M of x, when x is summed over, has beyond the elasticity times that of the source; None while
            nobody asked.
        own_excess: Part of ``own_noise`` that goes beyond the first order in 1/n.
        own_coherence: Fluctuation of mean over root mean square of x.
        own_alignment: Fluctuation of ln of the common share of x.
        own_drift: What the units add to E ln M - ln q beyond the elasticity times that of the source.
        own_response: What the response to the perturbation adds to ζ by pointing along x beyond the source's part, as
            a combination of independent variables; None while nobody asked.
        logits: Set on attention logits.
        mixing: Set on attention weights.
    """

    source: Source
    table: Table
    slope: Table
    stretch: Table
    shape: tuple[int, ...]
    axes: tuple[Axis, ...]
    segment: int
    reference: float
    start_mean_square: float
    growth: float = 0.0
    profile: Profile | None = None
    assumed: bool = False
    own_noise: Mapping[int, float] | None = None
    own_excess: Mapping[int, float] = field(default_factory=dict)
    own_coherence: Mapping[int, float] = field(default_factory=dict)
    own_alignment: Mapping[int, float] = field(default_factory=dict)
    own_drift: float = 0.0
    own_response: Mapping[int, float] | None = None
    logits: Logits | None = None
    mixing: Mixing | None = None

    @derived("table")
    def mean_square(self) -> float:
        """E[x²]."""
        return expectation(self.table * self.table)

    @derived("table")
    def mean(self) -> float:
        """E[x]."""
        return expectation(self.table)

    @property
    def variance(self) -> float:
        """Variance over units: mean square less the squared coherent mean."""
        return max(self.mean_square - self.mean * self.mean, 0.0)

    @derived("source", "slope", "stretch")
    def gain(self) -> float:
        """Mean-square response to an independent unit perturbation of the input (THEORY 2.11).

        What moves the source along itself moves x along its stretch, the rest meets the slope.
        """
        source = self.source
        across = self._slope_square * source.perturbation
        if not source.scale_response:
            return across
        along = min(source.response_power * source.mean_square, source.perturbation)
        if not along > 0.0 or source.mean_square <= 0.0:
            return across
        stretched = expectation(self.stretch * self.stretch) / source.mean_square
        return across + along * (stretched - across / source.perturbation)

    @property
    def segment_gain(self) -> float:
        """Small-perturbation gain since the start of the segment."""
        return self.gain / self.reference if self.reference > 0.0 else 0.0

    @derived("source", "table")
    def pair_position(self) -> float:
        """E[x_a x_b], two positions of one sample, same unit; where a profile exists, positions of mean length."""
        return self._pair(self.source.rho_position)

    @derived("source", "table")
    def pair_sample(self) -> float:
        """E[x x'], two samples, same unit and position."""
        return self._pair(self.source.rho_sample)

    @derived("source", "slope")
    def pair_gain(self) -> float:
        """E[δx_a δx_b], two positions of one sample, same unit; where a profile exists, positions of mean length."""
        return self.source.perturbation * self.source.rho_perturbation * self._slope_pair()

    @derived("table", "source", "shape", "axes")
    def common(self) -> float:
        """Share of the mean square that the mean over all positions keeps, 1/T + (1 - 1/T) p/q."""
        if self.mean_square <= 0.0:
            return 1.0
        single = 1.0 / max(self.positions, 1)
        return single + (1.0 - single) * max(self.pair_position, 0.0) / self.mean_square

    @derived("table", "stretch")
    def elasticity(self) -> float:
        """D ln(mean square) / d ln(mean square of x0)."""
        if self.mean_square <= 0.0:
            return 0.0
        return expectation(self.table * self.stretch) / self.mean_square

    @property
    def unit_variation(self) -> float:
        """Squared coefficient of variation over units of a unit's mean square (THEORY 2.6)."""
        return self.elasticity**2 * self.source.unit_variation if self.source.unit_variation else 0.0

    @property
    def answer(self) -> float:
        """Elasticity with which a fluctuation passes: none beyond what can be made sense of."""
        elasticity = self.elasticity
        return elasticity if abs(elasticity) < STEEPEST else 0.0

    @derived("shape", "axes")
    def units(self) -> int:
        """Number of features."""
        return self._size(Axis.FEATURE)

    @derived("shape", "axes")
    def positions(self) -> int:
        """Number of positions."""
        return self._size(Axis.POSITION)

    @derived("table")
    def is_gaussian(self) -> bool:
        """Whether the table is linear in z."""
        mean, slope = self.mean, expectation(self.table * NODES)
        rest = self.mean_square - mean * mean - slope * slope
        return rest <= 1e-6 * self.mean_square

    @property
    def uncertainty(self) -> float:
        """Half-width in decades of log10 of the mean square (one standard error)."""
        return abs(self.elasticity) * math.sqrt(self.source.uncertainty)

    def probability_below(self, limit: float) -> float:
        """P(x <= limit) for a unit, position and sample at random, the table joined by straight lines between nodes."""
        if self.is_gaussian:
            spread = math.sqrt(self.variance)
            return cumulative((limit - self.mean) / spread) if spread > 0.0 else float(self.mean <= limit)
        ends = np.array([cumulative(float(z)) for z in NODES])
        low, high = self.table[:-1], self.table[1:]
        with np.errstate(divide="ignore", invalid="ignore"):
            crossing = np.clip((limit - low) / (high - low), 0.0, 1.0)
        # A flat part at the limit ends somewhere in its last cell.
        crossing = np.where((low == limit) | (high == limit), 0.5, crossing)
        below = np.where(low == high, low <= limit, np.where(low < high, crossing, 1.0 - crossing))
        tails = ends[0] * (self.table[0] <= limit) + (1.0 - ends[-1]) * (self.table[-1] <= limit)
        return float(below @ np.diff(ends) + tails)

    @derived("source", "table", "stretch")
    def inherited_noise(self) -> Mapping[int, float]:
        """Ln M of x as a linear combination of independent variables, without what the units of its source add."""
        return combined((self.answer, self.source.noise))

    @derived("source", "table", "stretch", "own_noise")
    def noise(self) -> Mapping[int, float]:
        """Ln M of x as a linear combination of independent variables, that of its own finite width included."""
        answer = self.answer
        return combined((answer, self.source.noise), (answer, self.source.own_noise), (1.0, self.own_noise or {}))

    def diluted_noise(self, share: float) -> Noise:
        """What x adds to ln M of a sum of which it makes up a share: the smaller it is, the better the first order."""
        return combined((share, self.noise), (-share * (1.0 - min(abs(share), 1.0)), self.own_excess))

    def mean_noise(self) -> Noise:
        """Fluctuation of the mean of x over its units, relative to the root mean square."""
        root = math.sqrt(self.mean_square) if self.mean_square > 0.0 else 1.0
        return combined((0.5 * self.mean / root, self.noise), (1.0, self.own_coherence))

    def drift(self) -> float:
        """E ln M - ln q that the finite width of its own units gives x (THEORY 2.9); about minus half the variance."""
        return self._unit_drift + self.answer * self.source.own_drift

    def log_length_variance(self) -> float:
        """Var[ln M] (nats squared) that has built up since the last normalisation (THEORY 2.9)."""
        return math.fsum(c * c for c in self.noise.values())

    def scale_response(self) -> dict[int, float]:
        """ζ of x: change of ln of its length under the perturbation, as a combination of independent variables."""
        return self._response(self.elasticity, 1.0)

    def mean_response(self) -> dict[int, float]:
        """Change of the mean over units under the perturbation, as a combination of independent variables."""
        combined = self._response(expectation(self.stretch), self.mean)
        if self.source.shift_response:
            factor = self._steepness()
            for index, coefficient in self.source.shift_response.items():
                combined[index] = combined.get(index, 0.0) + factor * coefficient
        return combined

    def chance_response(self) -> float:
        """Variance that the response of n units and T positions adds to ζ by pointing along x by chance.

        δ = f'(x0) δ⊥ with δ⊥ orthogonal to x0 as a whole: E[g²] - E[g x0]²/E[x0²] with g = f f', per mean square
        squared and effective number of elements (THEORY 2.11, coherent part).
        """
        source, base = self.source, self.source.base
        square = source.mean_square
        if self.mean_square <= 0.0 or square <= 0.0 or not math.isfinite(self.mean_square):
            return 0.0
        inner, both = expectation(self.table * base), self.mean_square * square
        # A power of Python's raises where a product is infinite.
        if not math.isfinite(both) or both - inner * inner <= _NEGLIGIBLE * both:
            return 0.0
        across = max(source.perturbation - source.response_power * square, 0.0)
        power = self.mean_square * self.mean_square
        with np.errstate(over="ignore", invalid="ignore"):
            weight = self.slope * self.table
            inner, whole = expectation(weight * base), expectation(weight * weight)
        shared = source.rho_perturbation * max(source.rho_position, 0.0)
        result = (
            across * max(whole - inner * inner / square, 0.0) / effective_elements(self.units, self.positions, shared)
        )
        return result / power if math.isfinite(result) and 0.0 < power < math.inf else 0.0

    def under(self, function: str, arguments: Mapping[str, float]) -> tuple[Table, Table]:
        """Value and derivative of an elementwise function on the table; worked out once for both directions.

        Args:
            function: Key of ``FUNCTIONS``.
            arguments: Its keyword arguments.
        """
        key = (function, *sorted(arguments.items()))
        if key not in self._functions:
            self._functions[key] = apply(function, self.table, **arguments)
        return self._functions[key]

    @derived("table")
    def _functions(self) -> dict[tuple[Any, ...], tuple[Table, Table]]:
        return {}

    def map(self, value: Table, slope: Table) -> Signal:
        """The signal f(x) for an elementwise f given by its value and derivative on this signal's table."""
        profile = self.profile if self.profile is None else powered(self.profile, self._exponent(value, slope))
        return self.fresh(table=value, slope=slope * self.slope, stretch=slope * self.stretch, profile=profile)

    def fresh(self, **changes: Any) -> Signal:
        """A copy without what was worked out for the old values: finite-width noise and attention state.

        Args:
            changes: Other fields to change, by name.
        """
        return replace(self, **_FRESH, **changes)

    def scaled(self, factor: float) -> Signal:
        """The signal c * x."""
        logits = self.logits
        if logits is not None:
            square = factor * factor
            logits = replace(logits, variance=square * logits.variance, perturbation=square * logits.perturbation)
        return replace(
            self,
            table=factor * self.table,
            slope=factor * self.slope,
            stretch=factor * self.stretch,
            own_coherence=self.own_coherence if factor >= 0.0 else combined((-1.0, self.own_coherence)),
            logits=logits,
            mixing=None,
        )

    @derived("source", "table", "stretch", "shape", "axes", "profile", "own_noise", "own_drift")
    def _unit_drift(self) -> float:
        return self.own_drift if self.own_noise is not None else response(self, averaging(self)).drift

    @derived("slope")
    def _slope_square(self) -> float:
        return expectation(self.slope * self.slope)

    @derived("source", "table", "slope")
    def _series(self) -> MehlerSeries:
        """What the table says at two correlated nodes; its slope in z is known over a Gaussian source."""
        variance = self.source.gaussian_variance
        return mehler_series(self.table, None if variance is None else variance * self._slope_square)

    def _steepness(self) -> float:
        """D mean / d shift of x0: exact where x is affine in x0, whose own slope need not be 1 everywhere."""
        base = self.source.base - expectation(self.source.base)
        spread = expectation(base * base)
        factor = expectation(self.table * base) / spread if spread > 0.0 else 0.0
        affine = self.variance - factor * factor * spread <= _NEGLIGIBLE * self.mean_square
        return factor if affine else expectation(self.slope)

    def _response(self, of_source: float, of_own: float) -> dict[int, float]:
        combined = {k: of_source * c for k, c in self.source.scale_response.items()}
        for index, coefficient in (self.own_response or {}).items():
            combined[index] = combined.get(index, 0.0) + of_own * coefficient
        return combined

    def _pair(self, rho: float) -> float:
        if rho >= 1.0:
            return self.mean_square
        return self._series.at(rho)

    def _slope_pair(self) -> float:
        """E[f'(z_a) f'(z_b)] at two positions of one sample."""
        if self.source.rho_position >= 1.0:
            return self._slope_square
        return pair_moment(hermite_powers(self.slope), self.source.rho_position)

    def _exponent(self, value: Table, slope: Table) -> float:
        """D ln E[f²] / d ln E[x²] of a function given by its value and derivative on the table."""
        square = expectation(value * value)
        return expectation(value * slope * self.table) / square if square > 0.0 else 1.0

    def _size(self, wanted: Axis) -> int:
        return math.prod([n for n, axis in zip(self.shape, self.axes, strict=True) if axis is wanted])


_FRESH: Mapping[str, Any] = {
    "own_noise": None,
    "own_excess": {},
    "own_coherence": {},
    "own_alignment": {},
    "own_drift": 0.0,
    "own_response": None,
    "logits": None,
    "mixing": None,
}
