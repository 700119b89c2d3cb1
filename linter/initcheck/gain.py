"""What an activation asks of the weights before it, by quadrature."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from initcheck.signal.functions import FUNCTIONS, apply
from initcheck.signal.quadrature import NODES, expectation

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["critical_gain", "is_flat_at_zero", "is_zero_below_zero"]

NEARLY_ONE = 0.1
"""How far the signal gain per layer may be from 1 where the length is kept: 100 layers of SELU gain three decades."""

CANDIDATES = tuple(2.0**power for power in range(-3, 8))
"""Gains among which the critical one is bracketed; no initialiser draws beyond them."""

STEPS = 100
"""Layers after which a length map counts as settled."""


def critical_gain(function: str, arguments: Mapping[str, float] | None = None) -> float:
    """fan_in · Var(w) at which a deep stack of this activation keeps both length and signal.

    Where weights that keep a mean square of one, 1/E[f(z)²], also keep a small perturbation to within ten per cent per
    layer, they are the answer: 2 for ReLU (He et al. 2015), 1 for SELU (Klambauer et al. 2017), 2.35 for GELU.
    Elsewhere it is the gain at which χ = gain · E[f'(√q z)²] is 1 at the length q where the stack settles (Poole et
    al. 2016): 1 for tanh.

    Args:
        function: Name in the vocabulary of elementwise functions; empty for a linear layer.
        arguments: Its keyword arguments.

    Returns:
        The gain; nan for an unknown function or one through which no signal passes.
    """
    if not function:
        return 1.0
    if function not in FUNCTIONS:
        return math.nan
    return _critical_gain(function, tuple(sorted((arguments or {}).items())))


def is_flat_at_zero(function: str, arguments: Mapping[str, float] | None = None) -> bool:
    """Whether no gradient passes at an input of exactly zero, as in ReLU."""
    known = FUNCTIONS.get(function)
    return known is not None and float(known.derivative(np.zeros(1), **(arguments or {}))[0]) == 0.0


def is_zero_below_zero(function: str, arguments: Mapping[str, float] | None = None) -> bool:
    """Whether every input that is not positive gives exactly zero, as in ReLU."""
    known = FUNCTIONS.get(function)
    inputs = np.array([0.0, -1e-6, -1e-3, -1.0, -10.0, -1e3])
    return known is not None and not np.any(known.value(inputs, **(arguments or {})))


@lru_cache(maxsize=256)
def _critical_gain(function: str, arguments: tuple[tuple[str, float], ...]) -> float:
    square, slope = _moments(function, arguments, 1.0)
    if square > 0.0 and abs(slope / square - 1.0) < NEARLY_ONE:
        return 1.0 / square
    high = next((gain for gain in CANDIDATES if _settled_slope(function, arguments, gain) >= 1.0), math.nan)
    if math.isnan(high):
        return high
    low = high / 2.0
    for _ in range(30):
        middle = math.sqrt(low * high)
        if _settled_slope(function, arguments, middle) < 1.0:
            low = middle
        else:
            high = middle
    return high


def _moments(function: str, arguments: tuple[tuple[str, float], ...], mean_square: float) -> tuple[float, float]:
    """E[f(x)²] and E[f'(x)²] for x normal with this mean square."""
    value, slope = apply(function, math.sqrt(mean_square) * NODES, **dict(arguments))
    return expectation(value * value), expectation(slope * slope)


def _settled_slope(function: str, arguments: tuple[tuple[str, float], ...], gain: float) -> float:
    """χ at the length that a stack of this gain has settled at, started from one."""
    q = 1.0
    for _ in range(STEPS):
        following = gain * _moments(function, arguments, q)[0]
        if not 1e-12 < following < 1e12 or abs(following - q) < 1e-9 * q:
            q = min(max(following, 1e-12), 1e12)
            break
        q = following
    return gain * _moments(function, arguments, q)[1]
