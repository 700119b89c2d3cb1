"""The state that is folded through a graph: one ``Signal`` per value, a function of one Gaussian ``Source``.

A linear map, a sum or a normalisation makes a new source; elementwise functions only change the table over it. Two
signals over one source combine pointwise and exactly, which is why x * sigmoid(x), or a LayerNorm spelled out in nine
operations, needs no pattern (THEORY 2.1).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from initcheck.graph import Axis
from initcheck.signal.fluctuation import STEEPEST, Noise, averaging, combined, response
from initcheck.signal.quadrature import NODES, WEIGHTS, Table, expectation, hermite_powers, pair_moment

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
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
        noise: ln M of the source, without what its own units add, as a linear combination of independent unit-variance
            variables {index: coefficient}.
        realized: Whether ``noise`` and ``coherence`` already say all about the units (after a sum or a normalisation).
        excess_kurtosis: Of z over units, where they are fresh.
        freedom: How free ln M of fresh units is: 1 for independent weights, 0 for an orthogonal map that keeps the
            length.
        own_noise: What its own units add to ln M.
        own_drift: E ln M - ln q that comes with it.
        coherence: Fluctuation of mean over root mean square of the units, all of it.
        alignment: Fluctuation of ``rho_position``, common to all pairs of positions.
        spread_position: Variance of ``rho_position`` over pairs of positions.
        spread_sample: Variance of ``rho_sample`` over draws of the weights.
        groups: Groups of units between which nothing has been mixed since a grouped convolution.
        group_variance: Variance of ln M of one such group.
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
    excess_kurtosis: float = 0.0
    freedom: float = 1.0
    own_noise: Mapping[int, float] = field(default_factory=dict)
    own_drift: float = 0.0
    coherence: Mapping[int, float] = field(default_factory=dict)
    alignment: Mapping[int, float] = field(default_factory=dict)
    spread_position: float = 0.0
    spread_sample: float = 0.0
    groups: int = 1
    group_variance: float = 0.0
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
        own_noise: What ln M of x, when x is summed over, has beyond the elasticity times that of the source; None while
            nobody asked.
        own_excess: Part of ``own_noise`` that goes beyond the first order in 1/n.
        own_coherence: Fluctuation of mean over root mean square of x.
        own_alignment: Fluctuation of ln of the common share of x.
        own_drift: What the units add to E ln M - ln q beyond the elasticity times that of the source.
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
    own_excess: Mapping[int, float] = field(default_factory=dict)
    own_coherence: Mapping[int, float] = field(default_factory=dict)
    own_alignment: Mapping[int, float] = field(default_factory=dict)
    own_drift: float = 0.0
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
    def common(self) -> float:
        """Share of the mean square that the mean over all positions keeps, 1/T + (1 - 1/T) p/q."""
        if self.mean_square <= 0.0:
            return 1.0
        single = 1.0 / max(self.positions, 1)
        return single + (1.0 - single) * max(self.pair_position, 0.0) / self.mean_square

    @property
    def elasticity(self) -> float:
        """D ln(mean square) / d ln(mean square of x0)."""
        if self.mean_square <= 0.0:
            return 0.0
        return expectation(self.table * self.stretch) / self.mean_square

    @property
    def answer(self) -> float:
        """Elasticity with which a fluctuation passes: none beyond what can be made sense of."""
        elasticity = self.elasticity
        return elasticity if abs(elasticity) < STEEPEST else 0.0

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

    def inherited_noise(self) -> Noise:
        """Ln M of x as a linear combination of independent variables, without what the units of its source add."""
        return combined((self.answer, self.source.noise))

    def noise(self) -> Noise:
        """Ln M of x as a linear combination of independent variables, that of its own finite width included."""
        answer = self.answer
        return combined((answer, self.source.noise), (answer, self.source.own_noise), (1.0, self.own_noise or {}))

    def diluted_noise(self, share: float) -> Noise:
        """What x adds to ln M of a sum of which it makes up a share: the smaller it is, the better the first order."""
        return combined((share, self.noise()), (-share * (1.0 - min(abs(share), 1.0)), self.own_excess))

    def mean_noise(self) -> Noise:
        """Fluctuation of the mean of x over its units, relative to the root mean square."""
        root = math.sqrt(self.mean_square) if self.mean_square > 0.0 else 1.0
        return combined((0.5 * self.mean / root, self.noise()), (1.0, self.own_coherence))

    def drift(self) -> float:
        """E ln M - ln q that the finite width of its own units gives x (THEORY 2.9); about minus half the variance."""
        own = self.own_drift if self.own_noise is not None else response(self, averaging(self)).drift
        return own + self.answer * self.source.own_drift

    def log_length_variance(self) -> float:
        """Var[ln M] (nats squared) that has built up since the last normalisation (THEORY 2.9)."""
        return math.fsum(c * c for c in self.noise().values())

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
        return replace(
            self,
            own_noise=None,
            own_excess={},
            own_coherence={},
            own_alignment={},
            own_drift=0.0,
            logits=None,
            mixing=None,
        )

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

    def _pair(self, rho: float) -> float:
        if rho >= 1.0:
            return self.mean_square
        return pair_moment(hermite_powers(self.table), rho)

    def _size(self, wanted: Axis) -> int:
        return math.prod((n for n, axis in zip(self.shape, self.axes, strict=True) if axis is wanted), start=1)


def gaussian_table(mean: float, variance: float) -> Table:
    """Table of a normal with the given moments."""
    return mean + math.sqrt(max(variance, 0.0)) * NODES
