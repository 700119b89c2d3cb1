"""Random variables that signals are functions of, and what makes a signal attention logits or weights."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from initcheck.signal.quadrature import NODES, Table, expectation
from initcheck.signal.record import derived

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    from numpy.typing import NDArray

    from initcheck.signal.profile import Profile
    from initcheck.signal.signal import Signal

__all__ = ["Logits", "Mixing", "Source", "effective_elements", "gaussian_table"]


@dataclass(frozen=True)
class Source:
    """A random variable x0 = base(z), z ~ N(0, 1), one per unit, position and sample.

    Attributes:
        index: Identity: signals with one index are functions of the same z.
        base: Table of x0; linear in z when x0 is Gaussian.
        rho_position: Correlation of z between two positions of one sample, same unit.
        rho_sample: Correlation of z between two samples, same unit and position.
        perturbation: Mean square of the change of x0 when the model's input (the embedding's output for integer inputs)
            changes by an independent perturbation of mean square 1.
        rho_perturbation: Correlation of that change between two positions of one sample, same unit.
        scale_response: Change of ln of the scale of x0 under that perturbation, as a linear combination of independent
            unit-variance variables {index: coefficient}: δx0 = δ⊥ + ζ x0 (THEORY 2.11, coherent part).
        shift_response: Change of the mean of x0 beyond ζ times the mean, in the same form: what one summand adds to its
            own direction is not along the sum.
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
        unit_variation: Squared coefficient of variation over units of their mean squares, beyond that of finitely many
            positions and samples.
        average_of: The value of which x0 is a mean over positions, its own among them, or over features.
        extreme_of: The two values of which x0 is the larger (sign 1) or the smaller (sign -1).
        uncertainty: Variance, in squared decades, of the predicted log10 mean square that comes from not knowing the
            weights' law exactly.
    """

    index: int
    base: Table
    rho_position: float
    rho_sample: float
    perturbation: float
    rho_perturbation: float = 0.0
    scale_response: Mapping[int, float] = field(default_factory=dict)
    shift_response: Mapping[int, float] = field(default_factory=dict)
    noise: Mapping[int, float] = field(default_factory=dict)
    unit_variation: float = 0.0
    average_of: Signal | None = None
    extreme_of: tuple[Signal, Signal, float] | None = None
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

    @derived("base")
    def mean_square(self) -> float:
        """E[x0²]."""
        return expectation(self.base * self.base)

    @derived("base")
    def gaussian_variance(self) -> float | None:
        """Variance of x0 where it is normal; None where it is not."""
        spread = expectation(self.base * NODES)
        variance = self.mean_square - expectation(self.base) ** 2
        return spread * spread if variance - spread * spread <= 1e-9 * self.mean_square else None

    @derived("scale_response")
    def response_power(self) -> float:
        """Variance of ζ."""
        return math.fsum(c * c for c in self.scale_response.values())


@dataclass(frozen=True)
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
        response: The same for logits that change by independent amounts of mean square one.
        logits: Of which they are the softmax.
        profile: Of the logits.
    """

    same: float
    other: float
    perturbation: float
    response: float
    logits: Logits
    profile: Profile | None = None


def effective_elements(units: int, positions: int, shared: float) -> float:
    """Independent elements among n units at T positions that are correlated: 1/N = (1/n)(1/T + (1 - 1/T) ρ)."""
    positions = max(positions, 1)
    return max(units, 1) / (1.0 / positions + (1.0 - 1.0 / positions) * min(max(shared, 0.0), 1.0))


def gaussian_table(mean: float, variance: float) -> Table:
    """Table of a normal with the given moments."""
    return mean + math.sqrt(max(variance, 0.0)) * NODES
