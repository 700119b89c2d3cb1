"""Naming of noises: which layer's width each is, what uses of one weight share, and merging where paths meet."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from initcheck.graph import WEIGHTED, Graph, Node, Op
from initcheck.signal.amplitude import Amplitude, amplitude
from initcheck.signal.fluctuation import (
    Averaging,
    alignment,
    averaging,
    combined,
    pattern,
    powers_of,
    response,
)
from initcheck.signal.joined_fluctuation import group_noise
from initcheck.signal.record import replace

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    from initcheck.signal.fluctuation import Noise
    from initcheck.signal.law import Context
    from initcheck.signal.signal import Signal
    from initcheck.signal.source import Source
    from initcheck.structure import Structure

__all__ = ["Owner", "Settling"]

Owner = tuple[str, str, str]
"""Node, layer path and reason of a noise."""

_NO_FINITE_WIDTH = frozenset({Op.ELEMENTWISE, Op.NORMALIZE})
"""Readers that do not sum over units: their input's finite-width noise is not asked for."""


@dataclass(slots=True)
class _SharedNoise:
    """What one kind of noise of all uses of a weight has in common.

    Two uses see inputs that are correlated like two samples were at the earlier of them (THEORY 2.3), so their
    covariance is what that use could share: each use adds a variable that all later ones contain.
    """

    parts: dict[int, float] = field(default_factory=dict)

    def draw(self, variance: float, common: float, next_index: Callable[[], int]) -> tuple[Noise, int | None]:
        """Noise of one more use, and the number of the variable that later uses share, if there is a new one.

        Args:
            variance: Of this use.
            common: Part of it that later uses share.
            next_index: Gives numbers to variables.
        """
        variance, reached = max(variance, 0.0), math.fsum(self.parts.values())
        shrink = min(1.0, math.sqrt(variance / reached)) if reached > 0.0 else 1.0
        noise = {index: shrink * math.sqrt(part) for index, part in self.parts.items()}
        added = min(common, variance) - reached
        new = None
        if added > 1e-3 * variance:
            new = next_index()
            self.parts[new] = added
            noise[new] = math.sqrt(added)
        rest = variance - math.fsum(c * c for c in noise.values())
        if rest > 0.0:
            noise[next_index()] = math.sqrt(rest)
        return noise, new


class Settling:
    """Gives every source and every value that is summed over the noise of its own units."""

    def __init__(self, graph: Graph, structure: Structure, context: Context) -> None:
        self.structure = structure
        self.next_index = context.next_index
        self.typical = context.typical
        # Only averages over positions ask for the cosine between positions.
        self.averages = any(node.op in {Op.POOL_AVERAGE, Op.REDUCE} for node in graph.nodes)
        self.owners: dict[int, Owner] = {}
        self.shared: dict[tuple[str, str], _SharedNoise] = {
            (name, kind): _SharedNoise()
            for name in graph.parameters
            if sum(node.op in WEIGHTED for node in structure.consumers.get(name, ())) > 1
            for kind in ("length", "coherence", "rest")
        }
        # Variables of shared weights, which later uses add to.
        self.kept: set[int] = set()

    def rooted(self, name: str, signal: Signal, inputs: Sequence[Signal], node: Node, weight: str, path: str) -> Signal:
        """A signal over a new source, with what its units add to the source's statistics."""
        source = signal.source
        owner = (node.name, path, f"width {signal.units}")
        if name in self.structure.bottlenecks:
            source = self._merged(source, owner)
        if source.realized:
            return replace(signal, source=source)
        mean = averaging(signal)
        groups = int(node.attributes.get("groups", 1)) if node.op in {Op.CONV, Op.CONV_TRANSPOSE} else 1
        if groups > 1 and inputs:
            return replace(signal, source=self._grouped(source, mean, groups, inputs[0], owner))
        own = pattern(source, mean)
        length, coherence = source.freedom * own.length, own.coherence
        if (weight, "length") in self.shared:
            alike = pattern(source, self._alike(mean, source))
            ratio = alike.length / own.length if own.length > 0.0 else 0.0
            noise = self._drawn(weight, "length", length, ratio * length, owner)
            pattern_noise = self._drawn(weight, "coherence", coherence, alike.coherence, owner)
        else:
            first, second = self._named(owner), self._named(owner)
            along = own.shared / math.sqrt(own.length) if own.length > 0.0 and source.freedom > 0.0 else 0.0
            noise = {first: math.sqrt(length)}
            pattern_noise = {first: along, second: math.sqrt(max(coherence - along * along, 0.0))}
        source = replace(
            source,
            own_noise=combined((1.0, noise)),
            own_drift=source.freedom * own.drift,
            coherence=combined((1.0, pattern_noise)),
        )
        return replace(signal, source=source)

    def settled(self, name: str, signal: Signal, node: Node, weight: str, path: str) -> Signal:
        """Name the noise that the signal's units add, when something sums over them."""
        readers = self.structure.consumers.get(name, ())
        if signal.own_noise is not None or all(reader.op in _NO_FINITE_WIDTH for reader in readers):
            return signal
        source = signal.source
        owner = (node.name, path, f"width {signal.units}")
        mean = averaging(signal)
        if signal.table is source.base:
            alike = self._aligned(signal, {}, mean, owner)
            return replace(signal, own_noise={}, own_coherence=source.coherence, own_alignment=alike)
        if source.groups > 1:
            added = response(signal, mean.group(source.groups))
            before = added.length**2 * source.group_variance
            drift, variance = group_noise(source.groups, before, _of_one_group(signal, mean))
            return replace(signal, own_noise={self._named(owner): math.sqrt(variance)}, own_drift=drift)
        own = response(signal, mean)
        bent = self._amplitude(signal)
        if bent is not None:
            # The elasticity is read off the stretch.
            signal = replace(signal, stretch=signal.stretch * (bent.elasticity / own.length))
            own = replace(
                own,
                rest=own.rest + bent.rest,
                drift=own.drift + bent.drift - bent.elasticity * source.own_drift,
            )
        excess: Noise = {}
        if (weight, "rest") in self.shared:
            common = response(signal, self._alike(mean, source)).rest
            rest = self._drawn(weight, "rest", own.rest, min(common, own.rest), owner)
            rest_coherence: Noise = {self._named(owner): math.sqrt(own.rest_coherence)}
        else:
            first, second = self._named(owner), self._named(owner)
            beyond = min(max(own.excess, 0.0), own.rest)
            plain = own.rest - beyond
            along = own.rest_shared / math.sqrt(plain) if plain > 0.0 else 0.0
            excess = {self._named(owner): math.sqrt(beyond)}
            rest = {first: math.sqrt(plain), **excess}
            rest_coherence = {first: along, second: math.sqrt(max(own.rest_coherence - along * along, 0.0))}
        own_noise = combined((own.coherence, source.coherence), (1.0, rest))
        return replace(
            signal,
            own_noise=own_noise,
            own_excess=excess,
            own_coherence=combined(
                (own.coherence_by_length, source.noise),
                (own.coherence_by_length, source.own_noise),
                (own.coherence_by_coherence, source.coherence),
                (1.0, rest_coherence),
            ),
            own_drift=own.drift - own.coherence * self._covariance(source),
            own_alignment=self._aligned(signal, own_noise, mean, owner),
        )

    def _amplitude(self, signal: Signal) -> Amplitude | None:
        """How a function answers a length that fluctuates widely; only the typical path knows where it does."""
        if not self.typical or abs(signal.answer) < 1e-6:
            return None
        source = signal.source
        noise = combined((1.0, source.noise), (1.0, source.own_noise))
        return amplitude(signal, math.fsum(c * c for c in noise.values()), source.own_drift)

    def _covariance(self, source: Source) -> float:
        """Of ln M and the coherence of a source.

        The mean of x over units has no preferred sign, and no more has M times the coherence: so where both fluctuate
        together, E coherence = -covariance (THEORY 2.4).
        """
        kept = self.kept
        return math.fsum(c * source.noise.get(k, 0.0) for k, c in source.coherence.items() if k not in kept)

    def _aligned(self, signal: Signal, own_noise: Noise, mean: Averaging, owner: Owner) -> Noise:
        """Fluctuation of ln of the cosine between positions."""
        source = signal.source
        if not self.averages or signal.positions < 2 or source.groups > 1:
            return {}
        own = alignment(signal, mean)
        fresh = {} if source.realized and signal.table is source.base else {self._named(owner): math.sqrt(own.rest)}
        return combined(
            (own.slope, source.alignment),
            (own.along * signal.answer, source.own_noise),
            (own.along, own_noise),
            (1.0, fresh),
        )

    def _named(self, owner: Owner) -> int:
        index = self.next_index()
        self.owners[index] = owner
        return index

    def _drawn(self, weight: str, kind: str, variance: float, common: float, owner: Owner) -> Noise:
        noise, new = self.shared[weight, kind].draw(variance, common, lambda: self._named(owner))
        if new is not None:
            self.kept.add(new)
        return noise

    @staticmethod
    def _alike(mean: Averaging, source: Source) -> Averaging:
        """What the means over units of two samples have in common."""
        return replace(mean, overlaps=mean.overlaps * powers_of(source.rho_sample, source.spread_sample))

    def _grouped(self, source: Source, mean: Averaging, groups: int, x: Signal, owner: Owner) -> Source:
        """Groups that share nothing multiply lengths of their own; M is their mean (THEORY 2.9, grouped)."""
        noise: Mapping[int, float] = source.noise
        extra = 0.0
        if x.source.groups == groups:
            before = x.answer**2 * x.source.group_variance
            before += math.log1p(_of_one_group(x, averaging(x)))
        else:
            own = combined((x.answer, x.source.own_noise), (1.0, x.own_noise or {}))
            together = math.fsum(c * c for c in own.values())
            before = math.log1p(groups * together)
            drift, variance = group_noise(groups, 0.0, groups * together)
            extra = drift + 0.5 * together
            if variance > together:
                noise = {**noise, self._named(owner): math.sqrt(variance - together)}
        one = pattern(source, mean.group(groups))
        length = source.freedom * (one.length - one.excess)
        drift, variance = group_noise(groups, before, length)
        return replace(
            source,
            noise=noise,
            own_noise={self._named(owner): math.sqrt(variance)},
            own_drift=drift + extra,
            groups=groups,
            group_variance=before + math.log1p(length),
        )

    def _merged(self, source: Source, owner: Owner) -> Source:
        """One variable for all noises of ln M, and one more for each other fluctuation, but for shared weights."""
        kinds = (source.noise, source.coherence, source.alignment)
        loose = {index for kind in kinds for index in kind if index not in self.kept}
        if len(loose) < 2:
            return source
        order = sorted(loose)
        rows = np.array([[kind.get(index, 0.0) for index in order] for kind in kinds])
        # Cholesky factor of the covariances, row by row.
        axes: list[NDArray[np.float64]] = []
        merged: list[Noise] = [{index: c for index, c in kind.items() if index in self.kept} for kind in kinds]
        names: list[int] = []
        for row, noise in zip(rows, merged, strict=True):
            rest = row.copy()
            for axis, index in zip(axes, names, strict=True):
                noise[index] = float(row.dot(axis))
                rest -= noise[index] * axis
            length = math.sqrt(float(rest.dot(rest)))
            if length > 1e-9:
                axes.append(rest / length)
                names.append(self._named(owner))
                noise[names[-1]] = length
        return replace(source, noise=merged[0], coherence=merged[1], alignment=merged[2])


def _of_one_group(x: Signal, mean: Averaging) -> float:
    """Relative variance that a function of its source adds to M of one group."""
    one = mean.group(x.source.groups)
    own = response(x, one)
    return max(own.rest - own.excess, 0.0) + own.coherence**2 * pattern(x.source, one).coherence
