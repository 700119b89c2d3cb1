"""What an activation asks of the weights before it, by quadrature."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from initcheck.signal.functions import FUNCTIONS, Function, apply
from initcheck.signal.quadrature import NODES, expectation

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "critical_gain",
    "is_flat_at_zero",
    "is_homogeneous",
    "is_zero_at_zero",
    "is_zero_below_zero",
    "sensitive_range",
    "switched_off_below",
]

NEARLY_ONE = 0.1
"""How far the signal gain per layer may be from 1 where the length is kept: 100 layers of SELU gain three decades."""

CANDIDATES = tuple(2.0**power for power in range(-3, 8))
"""Gains among which the critical one is bracketed; no initialiser draws beyond them."""

STEPS = 100
"""Layers after which a length map counts as settled."""

NO_ACTIVATIONS = frozenset({"exp", "sqrt"})
"""Functions that change the scale of a number (a logarithm of a variance, a variance) and switch nothing off."""

OFF_SLOPE = 0.01
"""Slope up to which a unit counts as off: its weights see less than 10^-4 of the mean-square gradient."""


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


def is_zero_at_zero(function: str, arguments: Mapping[str, float] | None = None) -> bool:
    """Whether an input of exactly zero gives exactly zero, as in ReLU and tanh, unlike in sigmoid."""
    known = FUNCTIONS.get(function)
    return known is not None and float(known.value(np.zeros(1), **(arguments or {}))[0]) == 0.0


def is_homogeneous(function: str, arguments: Mapping[str, float] | None = None) -> bool:
    """Whether f(c x) = c f(x) for every c > 0, as for ReLU: the scale of its input passes through unchanged."""
    known = FUNCTIONS.get(function)
    if known is None:
        return False
    inputs = np.concatenate([sign * np.geomspace(1e-3, 30.0, 16) for sign in (-1.0, 1.0)])
    small, large = (known.value(scale * inputs, **(arguments or {})) for scale in (1.0, 7.3))
    return bool(np.allclose(large, 7.3 * small, rtol=1e-9, atol=0.0))


def switched_off_below(function: str, arguments: Mapping[str, float] | None = None) -> float:
    """Input below which an activation is off: neither it nor its slope (``OFF_SLOPE``) passes anything on.

    0 for ReLU, -3.1 for GELU, -6.3 for SiLU. Gates, which are open to some degree at zero and bounded (sigmoid), have
    no such side: being closed is one of their two states.

    Args:
        function: Name in the vocabulary of elementwise functions.
        arguments: Its keyword arguments.

    Returns:
        The largest such input that is not positive; nan where there is none.
    """
    known = FUNCTIONS.get(function)
    if known is None or function in NO_ACTIVATIONS:
        return math.nan
    options = dict(arguments or {})
    inputs = np.concatenate([-np.geomspace(1e4, 1e-3, 1401), np.zeros(1)])
    value = known.value(inputs, **options)
    slope = np.abs(known.derivative(inputs, **options))
    gate = abs(float(value[-1])) > OFF_SLOPE and float(known.value(np.array([1e4]), **options)[0]) < 10.0
    if gate or abs(float(value[0])) > 1e-6 or slope[0] > 1e-6 or _is_step(known, options):
        return math.nan
    on = np.flatnonzero(slope > OFF_SLOPE)
    return float(inputs[on[0] - 1]) if on.size else 0.0


def sensitive_range(function: str, arguments: Mapping[str, float] | None = None) -> tuple[float, float] | None:
    """Inputs between which a saturating activation has a slope of at least ``OFF_SLOPE`` of its largest.

    -3.0 to 3.0 for tanh, -6.0 to 6.0 for sigmoid, -1 to 1 for hard tanh.

    Args:
        function: Name in the vocabulary of elementwise functions.
        arguments: Its keyword arguments.

    Returns:
        The two ends; None for a function that does not rise from one constant to another on both sides of zero.
    """
    known = FUNCTIONS.get(function)
    if known is None or function in NO_ACTIVATIONS:
        return None
    positive = np.geomspace(1e-3, 1e4, 1401)
    inputs = np.concatenate([-positive[::-1], np.zeros(1), positive])
    options = dict(arguments or {})
    with np.errstate(all="ignore"):
        slope = known.derivative(inputs, **options)
        rise = float(np.ptp(known.value(inputs, **options)))
    largest = float(np.max(slope))
    bounded = max(abs(float(slope[0])), abs(float(slope[-1]))) <= 1e-6 * largest and rise < 1e2
    if not bounded or largest <= 0.0 or float(np.min(slope)) < 0.0:
        return None
    steep = inputs[slope >= OFF_SLOPE * largest]
    low, high = float(steep[0]), float(steep[-1])
    return (low, high) if low < 0.0 < high else None


def _is_step(function: Function, options: Mapping[str, float]) -> bool:
    """Whether no input at all has a slope, as in an indicator."""
    return not np.any(function.derivative(np.geomspace(1e-3, 1e4, 101), **options))


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
