"""What an adjoint is: the law of an operation walked back."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol, TypeAlias

import numpy as np

from initcheck.signal.gradient import Gradient
from initcheck.signal.law import BATCH_SIZE
from initcheck.signal.quadrature import NODES, WEIGHTS, Table, expectation

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from initcheck.graph import Axis, Node
    from initcheck.signal.law import Argument
    from initcheck.signal.profile import Profile
    from initcheck.signal.signal import Signal

__all__ = ["Adjoint", "BackwardContext", "Sent", "Summed", "size_of", "summed"]

_MAXIMUM_SHIFT = 4.0

Sent: TypeAlias = "Gradient | float | None"
"""What an adjoint sends to one input: a gradient to an activation, the mean square of its gradient to a parameter."""


@dataclass
class BackwardContext:
    """What adjoints need beside their arguments.

    Attributes:
        typical: Whether to follow the mean of the logarithm rather than the mean (THEORY 2.4).
        next_index: A number not used before, for carriers.
        skip_index: For residual additions: node name -> index of the skip among the inputs.
        shared_width: Node of attention logits -> width of the value that its keys and the values it mixes are both
            linear in, for those that have one.
        batch: Samples in a batch.
    """

    typical: bool
    next_index: Callable[[], int]
    skip_index: Mapping[str, int] = field(default_factory=dict)
    shared_width: Mapping[str, int] = field(default_factory=dict)
    batch: int = BATCH_SIZE

    def fresh(
        self,
        mean_square: float,
        *,
        rho_position: float = 0.0,
        rho_sample: float = 0.0,
        common: Table | None = None,
        split: float = 0.0,
        apart: float = 1.0,
        profile: Profile | None = None,
        assumed: bool = False,
    ) -> Gradient:
        """A gradient that a sum over random weights made: one new carrier, the same for all z."""
        amplitude = np.full_like(WEIGHTS, math.sqrt(max(mean_square, 0.0)))
        return Gradient(
            {self.next_index(): amplitude},
            common,
            split,
            apart,
            min(max(rho_position, -1.0), 1.0),
            min(max(rho_sample, -1.0), 1.0),
            profile,
            assumed=assumed,
        )


class Adjoint(Protocol):
    """Propagation of the gradient through one operation, from its outputs to its inputs."""

    def backward(
        self,
        node: Node,
        args: Sequence[Argument],
        outputs: Sequence[Signal | None],
        gradients: Sequence[Gradient | None],
        context: BackwardContext,
    ) -> tuple[Sent, ...]:
        """What each input receives.

        Args:
            node: The operation.
            args: Its inputs in order, as the forward fold left them.
            outputs: Signals of its outputs.
            gradients: Gradients at its outputs; None where the loss does not depend on one.
            context: The kind of fold, and the source of new carriers.

        Returns:
            One entry per input; None where no gradient goes or it is not known.
        """
        ...


@dataclass(frozen=True, slots=True)
class Summed:
    """A gradient as a sum over random weights sees it.

    Attributes:
        mean_square: E[g²].
        pair_position: E[g_a g_b], two positions.
        pair_sample: E[g g'], two samples.
        common: E[c(z) z]: what of the common part is along the fluctuation of the value.
        common_mean: E[c(z)].
        split: As the gradient's.
        apart: As the gradient's.
        uneven: As the gradient's.
        chance: E[z² g²] where the ξ may align with the fluctuation z of the value by chance; zero once that part was
            split off, since what is left of them is orthogonal to the activations on all the way back.
    """

    mean_square: float
    pair_position: float
    pair_sample: float
    common: float
    common_mean: float
    split: float
    apart: float
    uneven: float
    chance: float

    @property
    def rho_position(self) -> float:
        """Correlation of the gradient between two positions."""
        return self.pair_position / self.mean_square if self.mean_square > 0.0 else 0.0

    @property
    def rho_sample(self) -> float:
        """Correlation of the gradient between two samples."""
        return self.pair_sample / self.mean_square if self.mean_square > 0.0 else 0.0


def summed(gradient: Gradient, y: Signal, context: BackwardContext) -> Summed:
    """Moments of a gradient at a value that a weighted sum made.

    On the typical path the mean square is lowered by exp(-v/2), where v = (3 E[h⁴]/E[h²]² - 1)/n_eff is the relative
    variance of a sum of n_eff squares g² with Gaussian ξ: 5/n for ReLU, 2/n for a linear map, the same as forward
    (THEORY 2.9).
    """
    power = gradient.power
    square = expectation(power)
    positions, samples = gradient.pair_position(y), gradient.pair_sample(y)
    common = 0.0 if gradient.common is None else expectation(gradient.common * NODES)
    mean = 0.0 if gradient.common is None else expectation(gradient.common)
    chance = 0.0 if gradient.split > 0.0 else expectation(power * NODES * NODES)
    if context.typical and square > 0.0:
        count = max(y.positions, 1)
        correlation = min(max(positions / square, 0.0), 1.0)
        whole = square * square
        relative = 3.0 * expectation(power * power) / whole - 1.0 if 0.0 < whole < math.inf else 0.0
        effective = (1.0 / count + (1.0 - 1.0 / count) * correlation**2) / max(y.units, 1)
        shift = math.exp(-0.5 * min(relative * effective, _MAXIMUM_SHIFT))
        # The common part follows the length of the activations instead: x · g does not fluctuate.
        square, positions, samples, chance = (shift * part for part in (square, positions, samples, chance))
    return Summed(square, positions, samples, common, mean, gradient.split, gradient.apart, gradient.uneven, chance)


def size_of(x: Signal, wanted: Axis) -> int:
    """Number of elements along all axes of one kind."""
    return math.prod((n for n, axis in zip(x.shape, x.axes, strict=True) if axis is wanted), start=1)
