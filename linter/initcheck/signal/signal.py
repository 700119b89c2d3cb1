"""The state that is folded through a graph: one ``Signal`` per value, a function of one Gaussian ``Source``.

A linear map, a sum or a normalisation makes a new source; elementwise functions only change the table over it. Two
signals over one source combine pointwise and exactly, which is why x * sigmoid(x), or a LayerNorm spelled out in nine
operations, needs no pattern (THEORY 2.1).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from initcheck.graph import Axis
from initcheck.signal.quadrature import (
    NODES,
    WEIGHTS,
    Table,
    cumulative,
    expectation,
    hermite_powers,
    pair_moment,
    trigamma,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

__all__ = ["Logits", "Mixing", "Signal", "Source", "gaussian_table"]


@dataclass(frozen=True, slots=True)
class Source:
    """A random variable x0 = base(z), z ~ N(0, 1), one per unit, position and sample.

    Attributes:
        index: Identity: signals with one index are functions of the same z.
        base: Table of x0; linear in z when x0 is Gaussian.
        rho_position: Correlation of z between two positions of one sample, same unit.
        rho_sample: Correlation of z between two samples, same unit and position.
        perturbation: Mean square of the change of x0 when the model's input (the embedding's output for integer inputs)
            changes by an independent perturbation of mean square 1.
        noise: ln M of the source as a linear combination of independent unit-variance variables {index: coefficient}.
        realized: Whether the mean square over units is fixed (after a normalisation, an orthogonal map or a sum) and
            only functions of it fluctuate.
        uncertainty: Variance, in squared decades, of the predicted log10 mean square that comes from not knowing the
            weights' law exactly.
    """

    index: int
    base: Table
    rho_position: float
    rho_sample: float
    perturbation: float
    noise: Mapping[int, float] = field(default_factory=dict)
    realized: bool = False
    uncertainty: float = 0.0


@dataclass(frozen=True, slots=True)
class Logits:
    """What makes a signal attention logits.

    Attributes:
        variance: Variance over keys of one query's logits.
        row_correlation: Correlation of two queries' logits.
        perturbation: Mean square of their small-perturbation response, over keys.
        mask: Additive mask, None for none.
    """

    variance: float
    row_correlation: float
    perturbation: float
    mask: NDArray[np.float64] | None = None


@dataclass(frozen=True, slots=True)
class Mixing:
    """What makes a signal attention weights A.

    Attributes:
        same: E Σ_b A_ab², the weight with which a query sees one value.
        other: E Σ_b A_ab A_a'b, the overlap of two queries.
        perturbation: Mean square of Σ_b δA_ab v_b per unit variance of v.
    """

    same: float
    other: float
    perturbation: float


@dataclass(frozen=True, slots=True)
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
        profile: Mean square over the spatial axes relative to its mean, None when uniform.
        assumed: Whether an operation before it in the segment was not understood.
        own_noise: What the finite number of units adds to ln M when x is summed over, beyond the source's noise, as a
            combination of independent variables; None while nobody asked.
        logits: Set on attention logits.
        mixing: Set on attention weights.
        mean_square: E[x²], filled in.
        mean: E[x], filled in.
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
    profile: NDArray[np.float64] | None = None
    assumed: bool = False
    own_noise: Mapping[int, float] | None = None
    logits: Logits | None = None
    mixing: Mixing | None = None
    mean_square: float = field(init=False)
    mean: float = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "mean_square", float(WEIGHTS @ (self.table * self.table)))
        object.__setattr__(self, "mean", float(WEIGHTS @ self.table))

    @property
    def variance(self) -> float:
        """Variance over units: mean square less the squared coherent mean."""
        return max(self.mean_square - self.mean * self.mean, 0.0)

    @property
    def gain(self) -> float:
        """Mean-square response to an independent unit perturbation of the input (THEORY 2.11)."""
        return float(WEIGHTS @ (self.slope * self.slope)) * self.source.perturbation

    @property
    def segment_gain(self) -> float:
        """Small-perturbation gain since the start of the segment."""
        return self.gain / self.reference if self.reference > 0.0 else 0.0

    @property
    def pair_position(self) -> float:
        """E[x_a x_b], two positions of one sample, same unit; where a profile exists, positions of mean length."""
        return self._pair(self.source.rho_position)

    @property
    def pair_sample(self) -> float:
        """E[x x'], two samples, same unit and position."""
        return self._pair(self.source.rho_sample)

    @property
    def elasticity(self) -> float:
        """D ln(mean square) / d ln(mean square of x0)."""
        if self.mean_square <= 0.0:
            return 0.0
        return expectation(self.table * self.stretch) / self.mean_square

    @property
    def units(self) -> int:
        """Number of features."""
        return self._size(Axis.FEATURE)

    @property
    def positions(self) -> int:
        """Number of positions."""
        return self._size(Axis.POSITION)

    @property
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

    def noise(self) -> dict[int, float]:
        """Ln M of x as a linear combination of independent variables, that of its own finite width included."""
        elasticity = self.elasticity
        combined = {k: elasticity * c for k, c in self.source.noise.items() if abs(elasticity * c) > 1e-9}
        for index, coefficient in (self.own_noise or {}).items():
            combined[index] = combined.get(index, 0.0) + coefficient
        return combined

    def log_length_variance(self) -> float:
        """Var[ln M] (nats squared) that has built up since the last normalisation (THEORY 2.9)."""
        return math.fsum(c * c for c in self.noise().values())

    def finite_width_noise(self) -> float:
        """Var[ln M] that n units and T positions add beyond the source's own length (THEORY 2.9).

        M is a mean of g = x²/E[x²] over units with coefficient of variation c² = Var(g)/n_eff, where
        1/n_eff = (1/C)(1/T + (1 - 1/T) ρ₂), ρ₂ the correlation of g between positions: positions count while
        decorrelated. ln of a gamma variable of that c² has variance ψ'(1/c²): c² to first order, and close to the exact
        value of narrow ReLU layers (n = 8: 0.86 against 1.25 where the first order says 0.63). Past c² = 2 hardly any
        unit is on and no law of large numbers
        holds: the variance is that of a single squared normal.
        """
        if self.mean_square <= 0.0 or not math.isfinite(self.mean_square):
            return 0.0
        g = self.table * self.table / self.mean_square
        if self.source.realized:
            base = self.source.base
            base_square = expectation(base * base)
            if base_square > 0.0:
                g = g - self.elasticity * base * base / base_square
        powers = hermite_powers(g)
        total = float(powers[1:].sum())
        if total <= 1e-12:
            return 0.0
        positions = max(self.positions, 1)
        shared = pair_moment(powers, max(self.source.rho_position, 0.0)) - float(powers[0])
        relative = (total / positions + (1.0 - 1.0 / positions) * max(shared, 0.0)) / max(self.units, 1)
        return trigamma(max(1.0 / relative, 0.5))

    def map(self, value: Table, slope: Table) -> Signal:
        """The signal f(x) for an elementwise f given by its value and derivative on this signal's table."""
        return replace(
            self,
            table=value,
            slope=slope * self.slope,
            stretch=slope * self.stretch,
        ).fresh()

    def fresh(self) -> Signal:
        """The same values without what was worked out for the old ones: finite-width noise and attention state."""
        return replace(self, own_noise=None, logits=None, mixing=None)

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
            logits=logits,
            mixing=None,
        )

    def _pair(self, rho: float) -> float:
        if rho >= 1.0:
            return self.mean_square
        return pair_moment(hermite_powers(self.table), rho)

    def _size(self, wanted: Axis) -> int:
        return math.prod((n for n, axis in zip(self.shape, self.axes, strict=True) if axis is wanted), start=1)


def gaussian_table(mean: float, variance: float) -> Table:
    """Table of a normal with the given moments."""
    return mean + math.sqrt(max(variance, 0.0)) * NODES
