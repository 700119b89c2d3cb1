"""The state that is folded back through a graph: the gradient of the loss at one value, as tables over its source.

The gradient at x = table(z) is g = Σ_k ξ_k h_k(z) + ζ c(z). A *carrier* ξ_k has mean square one, is independent of z,
and differs from unit to unit; functions of the same source hand it on unit by unit, so that gradients that come back
along two such paths with one carrier add as numbers (x * sigmoid(x)), those of different carriers in quadrature. ζ is
one random number for all units of a sample: the part of the gradient along the scale of the activations, which a branch
that ends in a rectifier amplifies (THEORY 2.10).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from initcheck.signal.profile import joint
from initcheck.signal.quadrature import WEIGHTS, Table, expectation, pair_moment, summed_hermite_powers
from initcheck.signal.record import derived, replace

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from initcheck.signal.profile import Profile
    from initcheck.signal.signal import Signal

__all__ = ["Gradient", "is_flat"]

_MOST_CARRIERS = 6
_KEPT_CARRIERS = 3
"""A residual stream collects a carrier per branch: beyond the most, all but the strongest become one."""


@dataclass(frozen=True)
class Gradient:
    """Gradient of the loss with respect to a value, for an independent standard normal cotangent at the main output.

    Attributes:
        carriers: Identity of ξ_k -> amplitude h_k on the nodes of the value's source; root mean square where it is
            random beyond z.
        common: Amplitude c on the nodes, None for none.
        split: Share of the ξ that would lie along the value by chance, 1/n of n elements, but has been split off as
            ``common``; 0 for the cotangent, of which nothing was. After a sum, times the squared cosine of operand and
            sum.
        apart: Share of ``split`` that is still apart: where a batch normalisation has subtracted the means of its
            units, what was along the value behind it is so before it in part only.
        rho_position: Correlation of ξ between two positions of one sample, same unit.
        rho_sample: Correlation of ξ between two samples.
        profile: Mean square over positions relative to its mean, as a signal's.
        uneven: Mean square over units relative to that in which each counts by the mean square of the value there: what
            a normalisation enlarges has small weights.
        spread: Attention weights only: mean square of what differs between keys, the rest cancels in the softmax.
        balanced: Attention logits only: whether the gradients of one query sum to zero over the keys.
        assumed: Whether an operation after it was not understood.
    """

    carriers: Mapping[int, Table]
    common: Table | None = None
    split: float = 0.0
    apart: float = 1.0
    rho_position: float = 0.0
    rho_sample: float = 0.0
    profile: Profile | None = None
    uneven: float = 1.0
    spread: float | None = None
    balanced: bool = False
    assumed: bool = False

    @derived("carriers", "common")
    def mean_square(self) -> float:
        """E[g²] per element."""
        return expectation(self.power)

    @derived("carriers", "common")
    def power(self) -> Table:
        """E[g² | z] on the nodes."""
        total: Table = (self.amplitudes * self.amplitudes).sum(axis=0)
        return total

    @derived("carriers", "common")
    def amplitudes(self) -> Table:
        """All amplitudes as rows: those of the carriers in order, then the common one if there is one."""
        common = [] if self.common is None else [self.common]
        return np.array([*self.carriers.values(), *common]).reshape(-1, len(WEIGHTS))

    @derived("carriers", "common")
    def _powers(self) -> Table:
        return summed_hermite_powers(self.amplitudes)

    def pair_position(self, x: Signal) -> float:
        """E[g_a g_b] for two positions of one sample, same unit; x is the value."""
        return self.rho_position * self._pair(x.source.rho_position)

    def moments_with(self, x: Signal, table: Table) -> tuple[float, float, float]:
        """E[(g t)²] and its pair moments over positions and samples, for a function t of the same source."""
        product = self.times(table)
        return product.mean_square, product.pair_position(x), product.pair_sample(x)

    def with_pairs(self, x: Signal, position: float, sample: float) -> Gradient:
        """The same amplitudes with correlations of ξ such that g itself has these correlations."""
        square = self.mean_square
        of_position, of_sample = self._pair(x.source.rho_position), self._pair(_between_samples(x))
        rho_position = position * square / of_position if of_position > 0.0 else position
        rho_sample = sample * square / of_sample if of_sample > 0.0 else sample
        return replace(self, rho_position=min(max(rho_position, -1.0), 1.0), rho_sample=min(max(rho_sample, -1.0), 1.0))

    def pair_sample(self, x: Signal) -> float:
        """E[g g'] for two samples, same unit, any positions."""
        return self.rho_sample * self._pair(_between_samples(x))

    def scaled(self, factor: float) -> Gradient:
        """The gradient times a number."""
        return self.map(lambda h: h * factor)

    def times(self, table: Table) -> Gradient:
        """The gradient times a function of the same source."""
        return self.map(lambda h: h * table)

    def map(self, change: Callable[[Table], Table]) -> Gradient:
        """The same carriers with other amplitudes."""
        common = None if self.common is None else change(self.common)
        spread = self.spread
        if spread is not None:
            before = self.mean_square
            after = expectation(sum((change(h) ** 2 for h in self.carriers.values()), np.zeros_like(WEIGHTS)))
            spread = spread * after / before if before > 0.0 else 0.0
        return replace(
            self,
            carriers={key: change(h) for key, h in self.carriers.items()},
            common=common,
            spread=spread,
        )

    def plus(self, other: Gradient, merged: int) -> Gradient:
        """Sum of the gradients that two readers of a value send back.

        Args:
            other: The other reader's.
            merged: Identity of a carrier that may stand for the weak ones together.
        """
        carriers = dict(self.carriers)
        for key, table in other.carriers.items():
            carriers[key] = carriers[key] + table if key in carriers else table
        if len(carriers) > _MOST_CARRIERS:
            carriers = _fewer(carriers, merged)
        mine, theirs = self.mean_square, other.mean_square
        share = mine / (mine + theirs) if mine + theirs > 0.0 else 0.5
        return Gradient(
            carriers,
            _sum(self.common, other.common),
            max(self.split, other.split),
            max(self.apart, other.apart),
            share * self.rho_position + (1.0 - share) * other.rho_position,
            share * self.rho_sample + (1.0 - share) * other.rho_sample,
            joint([(mine, self.profile), (theirs, other.profile)]),
            share * self.uneven + (1.0 - share) * other.uneven,
            None if self.spread is None or other.spread is None else self.spread + other.spread,
            self.balanced and other.balanced,
            self.assumed or other.assumed,
        )

    def _pair(self, rho: float) -> float:
        return pair_moment(self._powers, max(rho, 0.0))


def _between_samples(x: Signal) -> float:
    """Correlation of z between two samples at two positions: no more than two samples or two positions have alone."""
    return x.source.rho_sample if x.positions <= 1 else min(x.source.rho_sample, x.source.rho_position)


def _sum(first: Table | None, second: Table | None) -> Table | None:
    if first is None or second is None:
        return first if second is None else second
    return first + second


def is_flat(tables: Table) -> bool:
    """Whether tables, given as rows, are the same on all nodes."""
    return bool((tables == tables[:, :1]).all())


def _fewer(carriers: dict[int, Table], merged: int) -> dict[int, Table]:
    order = sorted(carriers, key=lambda key: expectation(carriers[key] ** 2), reverse=True)
    kept = {key: carriers[key] for key in order[:_KEPT_CARRIERS]}
    kept[merged] = np.sqrt(np.sum([carriers[key] ** 2 for key in order[_KEPT_CARRIERS:]], axis=0))
    return kept
