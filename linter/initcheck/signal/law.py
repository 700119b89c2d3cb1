"""What a law is, and the factory every law makes its new sources with."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol, TypeAlias

import numpy as np

from initcheck.graph import Axis
from initcheck.signal.amplitude import mixture_drift
from initcheck.signal.fluctuation import combined
from initcheck.signal.marginal import powered_shape
from initcheck.signal.quadrature import (
    NODES,
    Table,
    correlation_of,
    digamma,
    expectation,
    hermite_powers,
    pair_moment,
)
from initcheck.signal.record import replace
from initcheck.signal.signal import Signal
from initcheck.signal.source import Source, effective_elements, gaussian_table

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from initcheck.graph import Constant, Node, Parameter, Value
    from initcheck.signal.marginal import Marginal
    from initcheck.signal.profile import Profile

__all__ = ["BATCH_SIZE", "Argument", "Context", "Law", "Moments", "moments_of"]

BATCH_SIZE = 32
"""Samples the analysis assumes, whatever the example inputs hold (batch normalisation depends on it)."""

_LARGEST = 1e140
_SMALLEST = 1e-140
_MAXIMUM_SHIFT = 4.0

Argument: TypeAlias = "Signal | Parameter | Constant | None"
"""Input of a law; None for an absent optional input, an integer activation or an unknown value."""


@dataclass(frozen=True)
class Moments:
    """Second moments of a value under construction.

    Attributes:
        mean_square: E[x²].
        mean: E[x], coherent over units.
        pair_position: E[x_a x_b], two positions of one sample.
        pair_sample: E[x x'], two samples.
        perturbation: Mean-square response to a small input perturbation.
        pair_perturbation: E[δx_a δx_b] of that response, two positions of one sample.
    """

    mean_square: float
    mean: float
    pair_position: float
    pair_sample: float
    perturbation: float
    pair_perturbation: float = 0.0

    @property
    def pair_apart(self) -> float:
        """E[x_a x'_b], two positions of two samples: no more than what either pair has in common."""
        return min(self.pair_position, self.pair_sample)

    def scaled(self, power: float, mean: float | None = None) -> Moments:
        """Multiplied by an independent factor of second moment ``power`` and mean ``mean`` (default its root)."""
        factor = math.sqrt(power) if mean is None else mean
        return Moments(
            power * self.mean_square,
            factor * self.mean,
            power * self.pair_position,
            power * self.pair_sample,
            power * self.perturbation,
            power * self.pair_perturbation,
        )


def moments_of(signal: Signal) -> Moments:
    """The moments of a signal."""
    return Moments(
        signal.mean_square, signal.mean, signal.pair_position, signal.pair_sample, signal.gain, signal.pair_gain
    )


@dataclass(slots=True)
class Segments:
    """Stretches between normalisations as the fold meets them.

    Attributes:
        parents: Segment -> the one it was opened inside of, -1 for none.
        starts: Segment -> node that opened it.
        closings: Normalising node -> small-perturbation gain of the segment it ends, relative to length: what the
            weights before a normalisation do to the length does not matter, what they do to the input's share of it
            does.
    """

    parents: list[int] = field(default_factory=list)
    starts: list[str] = field(default_factory=list)
    closings: dict[str, float] = field(default_factory=dict)

    def open(self, parent: int, start: str) -> int:
        """Number of a new segment."""
        self.parents.append(parent)
        self.starts.append(start)
        return len(self.parents) - 1

    def is_ancestor(self, older: int, younger: int) -> bool:
        """Whether ``younger`` was opened inside ``older`` or is the same."""
        while younger > older:
            younger = self.parents[younger]
        return younger == older

    def common(self, first: int, second: int) -> int:
        """Innermost segment both were opened inside of, -1 for none."""
        while first != second:
            if first > second:
                first = self.parents[first]
            else:
                second = self.parents[second]
            if min(first, second) < 0:
                return -1
        return first


@dataclass(slots=True)
class Context:
    """What laws need beside their arguments.

    Attributes:
        values: Shape and type of every activation.
        typical: Whether to follow the mean of ln M rather than the mean of M (THEORY 2.4).
        skip_index: For residual additions: node name -> index of the skip among the inputs.
        segments: Segments opened so far.
        batch: Samples in a batch.
    """

    values: Mapping[str, Value]
    typical: bool
    skip_index: Mapping[str, int] = field(default_factory=dict)
    segments: Segments = field(default_factory=Segments)
    batch: int = BATCH_SIZE
    _counter: Iterator[int] = field(default_factory=itertools.count)

    def next_index(self) -> int:
        """A number not used before, for sources and noises."""
        return next(self._counter)

    def root(self, mean_square: float) -> Signal:
        """Template of a signal with no history: it belongs to the segment at the model's input.

        Args:
            mean_square: What the length of the segment is compared with.
        """
        if not self.segments.parents:
            self.segments.open(-1, "")
        source = Source(self.next_index(), NODES, 0.0, 0.0, 1.0)
        start = mean_square if mean_square > 0.0 else 1.0
        return Signal(source, NODES, NODES, NODES, (), (), segment=0, reference=1.0, start_mean_square=start)

    def shape(self, node: Node, output: int = 0) -> tuple[int, ...] | None:
        """Shape of a node's output, None when unknown."""
        value = self.values.get(node.outputs[output])
        return value.shape if value is not None else None

    def create(
        self,
        moments: Moments,
        like: Signal,
        *,
        shape: tuple[int, ...],
        axes: tuple[Axis, ...],
        noise: Mapping[int, float] | None = None,
        scale_response: Mapping[int, float] | None = None,
        shift_response: Mapping[int, float] | None = None,
        unit_variation: float | None = None,
        parents: Sequence[Signal] = (),
        weights: Sequence[float] = (),
        coherence: Mapping[int, float] | None = None,
        alignment: Mapping[int, float] | None = None,
        realized: bool = False,
        excess_kurtosis: float = 0.0,
        freedom: float = 1.0,
        spread: tuple[float, float] | None = None,
        uncertainty: float = 0.0,
        marginal: Marginal | None = None,
        profile: Profile | None = None,
    ) -> Signal:
        """A signal over a new source.

        Args:
            moments: Its moments in mean field; on the typical path they are lowered by exp(-v/2), v the variance newly
                injected.
            like: Signal whose segment and marks it inherits.
            shape: Sizes of its axes.
            axes: What its axes run over.
            noise: ln M as a combination of independent variables.
            scale_response: ζ as a combination of independent variables, default that of an only parent. What the
                perturbation of a sum of random weights has along it by chance comes on top.
            shift_response: Change of the mean beyond ζ times the mean, in the same form.
            unit_variation: Squared coefficient of variation over units of their mean squares, default that of an only
                parent.
            parents: Signals whose own noise counts as new (THEORY 2.4).
            weights: What part of ln M each of them makes up, default all of it.
            coherence: Fluctuation of mean over root mean square, where ``realized``.
            alignment: Fluctuation of ln of the share of the mean square that all positions have in common.
            realized: Whether ``noise`` and ``coherence`` already say all about the units.
            excess_kurtosis: Of a Gaussian source's units, which a uniform bias or few uniform weights leave.
            freedom: Part of the fluctuation of independent units that ln M has.
            spread: Variances of the correlations between positions and between samples, default those of ``like``.
            uncertainty: Variance in squared decades.
            marginal: Shape of its distribution and response where it is not Gaussian.
            profile: Mean square over positions relative to its mean.
        """
        noise = noise or {}
        if self.typical and parents:
            moments = _typical(moments, noise, parents, tuple(weights) or (1.0,) * len(parents))
        mean_square = moments.mean_square
        if not math.isfinite(mean_square) or mean_square > _LARGEST:
            mean_square = _LARGEST
        mean = math.copysign(min(abs(moments.mean), math.sqrt(mean_square)), moments.mean)
        if mean_square < _SMALLEST:
            mean_square = mean = 0.0
        variance = max(mean_square - mean * mean, 0.0)
        base, powers = _shape_base(mean, variance, None if marginal is None else marginal.table)
        slope = _ONE if marginal is None else marginal.slope
        # T values of which each two have a correlation below -1/(T-1) do not exist: their sum has a square.
        lowest = -1.0 / max(_count(shape, axes, Axis.POSITION) - 1.0, 1.0)
        rho_position = max(_rho(moments.pair_position, mean, variance, powers), lowest)
        respond_alike = 1.0 if marginal is None else pair_moment(hermite_powers(slope), rho_position)
        perturbation = min(max(moments.perturbation, 0.0), _LARGEST)
        rho_perturbation = _share(moments.pair_perturbation, moments.perturbation * respond_alike)
        if scale_response is None:
            scale_response = parents[0].scale_response() if len(parents) == 1 else {}
        if unit_variation is None:
            unit_variation = parents[0].unit_variation if len(parents) == 1 else 0.0
        if not realized:
            shared = rho_perturbation * max(rho_position, 0.0)
            elements = effective_elements(_count(shape, axes, Axis.FEATURE), _count(shape, axes, Axis.POSITION), shared)
            scale_response = self._aligned(scale_response, perturbation, mean_square, elements)
        source = Source(
            index=self.next_index(),
            base=base,
            rho_position=rho_position,
            rho_sample=_rho(moments.pair_sample, mean, variance, powers),
            perturbation=perturbation,
            rho_perturbation=rho_perturbation,
            scale_response=scale_response,
            shift_response=shift_response or {},
            unit_variation=unit_variation,
            noise=noise,
            realized=realized,
            excess_kurtosis=excess_kurtosis,
            freedom=freedom,
            coherence=coherence or {},
            alignment=combined((_per_correlation(moments, variance, shape, axes), alignment or {})),
            spread_position=like.source.spread_position if spread is None else spread[0],
            spread_sample=like.source.spread_sample if spread is None else spread[1],
            uncertainty=uncertainty,
        )
        return like.fresh(source=source, table=base, slope=slope, stretch=base, shape=shape, axes=axes, profile=profile)

    def _aligned(
        self, response: Mapping[int, float], perturbation: float, mean_square: float, elements: float
    ) -> Mapping[int, float]:
        """ζ with what the rest of the perturbation has along a sum of random weights: δ⊥²/(q N) (THEORY 2.11)."""
        if mean_square <= 0.0 or perturbation <= 0.0:
            return {}
        across = perturbation / mean_square - math.fsum(c * c for c in response.values())
        if across <= 0.0:
            return response
        return {**response, self.next_index(): math.sqrt(across / elements)}


_ONE: Table = np.ones_like(NODES)
_ONE.flags.writeable = False


class Law(Protocol):
    """Propagation of one operation.

    A law is pure: the same arguments give the same signals up to the numbers of new sources. Where the theory stops it
    returns None or marks its output as assumed; it never extrapolates.
    """

    def forward(self, node: Node, args: Sequence[Argument], context: Context) -> tuple[Signal | None, ...]:
        """Signals of the node's outputs.

        Args:
            node: The operation.
            args: Its inputs in order.
            context: Shapes, the kind of fold, and the source of new indices.
        """
        ...


def _typical(
    moments: Moments, noise: Mapping[int, float], parents: Sequence[Signal], weights: Sequence[float]
) -> Moments:
    """Moments lowered by what is newly injected: the parents' own drift, and half the variance of new variables.

    Where lengths that fluctuate apart are added up, the sum fluctuates less than they do: what its typical length had
    been lowered by beyond that is given back, to second order ½ (Σ w Var - Var Σ).
    """
    known = {k for parent in parents for k in parent.noise}
    shift = -0.5 * math.fsum(c * c for k, c in noise.items() if k not in known)
    shift += math.fsum(w * w * parent.drift() for w, parent in zip(weights, parents, strict=True))
    if sum(weights) <= 1.0 + 1e-9:
        parts = [parent.inherited_noise for parent in parents]
        apart = math.fsum(w * math.fsum(c * c for c in part.values()) for w, part in zip(weights, parts, strict=True))
        together = combined(*zip(weights, parts, strict=True))
        second_order = 0.5 * max(apart - math.fsum(c * c for c in together.values()), 0.0)
        shift += mixture_drift(max(weights), second_order)
    answer = _response_shift(moments, shift, parents)
    shift, answer = (math.exp(min(max(part, -0.5 * _MAXIMUM_SHIFT), 0.5 * _MAXIMUM_SHIFT)) for part in (shift, answer))
    return replace(
        moments,
        mean_square=moments.mean_square * shift,
        mean=moments.mean * math.sqrt(shift),
        pair_position=moments.pair_position * shift,
        pair_sample=moments.pair_sample * shift,
        perturbation=moments.perturbation * answer,
        pair_perturbation=moments.pair_perturbation * answer,
    )


def _response_shift(moments: Moments, shift: float, parents: Sequence[Signal]) -> float:
    """What the response to a perturbation is lowered by, where a value and its response fluctuate apart.

    A response slope(z) δ with Gaussian δ of n units has relative variance (3 E[s⁴]/E[s²]² - 1)/n: 5/n for ReLU as its
    length, but 2/n where the length of a function that is far from zero does not fluctuate at all. Its correlation
    between positions counts as that of the length does.
    """
    if len(parents) != 1 or moments.perturbation <= 0.0:
        return shift
    x = parents[0]
    squares = x.slope * x.slope
    power = expectation(squares)
    power *= power
    if not 0.0 < power < math.inf:
        return shift
    # An orthogonal map keeps the length of a response too: of 2/n, what its weights are free to do is left.
    relative = max(3.0 * expectation(squares * squares) / power - 1.0 - 2.0 * (1.0 - x.source.freedom), 0.0)
    together = min(max(x.source.rho_perturbation, 0.0), 1.0) ** 2
    own = relative / effective_elements(x.units, x.positions, together)
    # What came before the value's own units acts on both alike.
    return shift - x.drift() + _log_gamma_mean(own)


def _log_gamma_mean(variance: float) -> float:
    """E[ln] of a gamma variable of mean 1 and given relative variance: -variance/2 for many units."""
    shape = max(1.0 / variance, 0.25) if variance > 0.0 else math.inf
    return 0.0 if math.isinf(shape) else digamma(shape) - math.log(shape)


def _per_correlation(moments: Moments, variance: float, shape: tuple[int, ...], axes: tuple[Axis, ...]) -> float:
    """D rho / d ln c of a Gaussian, c = 1/T + (1 - 1/T) p/q; 0 for one position."""
    positions = math.prod(n for n, axis in zip(shape, axes, strict=True) if axis is Axis.POSITION)
    if variance <= 0.0 or positions < 2:
        return 0.0
    ratio = (moments.mean_square / (positions - 1) + max(moments.pair_position, 0.0)) / variance
    # Beyond the range of floats nothing is known of it.
    return ratio if math.isfinite(ratio) else 0.0


def _shape_base(mean: float, variance: float, marginal: Table | None) -> tuple[Table, Table | None]:
    if marginal is None:
        return gaussian_table(mean, variance), None
    location = expectation(marginal)
    spread = math.sqrt(max(expectation(marginal * marginal) - location * location, 0.0))
    if spread <= 1e-12 * abs(location) or spread == 0.0:
        return gaussian_table(mean, variance), None
    base = mean + (marginal - location) * (math.sqrt(variance) / spread)
    if location * mean > 0.0 and float(base.min() * base.max()) < 0.0 <= float(marginal.min() * marginal.max()):
        base = mean * powered_shape(np.abs(marginal), variance / (mean * mean))
    return base, hermite_powers(base)


def _count(shape: tuple[int, ...], axes: tuple[Axis, ...], kind: Axis) -> int:
    return math.prod(n for n, axis in zip(shape, axes, strict=True) if axis is kind)


def _share(part: float, whole: float) -> float:
    return min(max(part / whole, 0.0), 1.0) if whole > 0.0 and math.isfinite(whole) else 0.0


def _rho(pair: float, mean: float, variance: float, powers: Table | None) -> float:
    if variance <= 1e-14 * mean * mean or variance <= 0.0:
        return 1.0
    if powers is None:
        return min(max((pair - mean * mean) / variance, -1.0), 1.0)
    return correlation_of(powers, pair)
