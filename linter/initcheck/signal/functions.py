"""Elementwise functions of the vocabulary: value and derivative, once each.

The names are those of ``Op.ELEMENTWISE``'s attribute ``function``; keyword arguments are its ``arguments``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from initcheck.signal.quadrature import Table

__all__ = ["FUNCTIONS", "Function", "apply"]


@dataclass(frozen=True, slots=True)
class Function:
    """An elementwise function.

    Attributes:
        value: f(x, **arguments).
        derivative: f'(x, **arguments); at a kink either side's.
        kinked: Whether the derivative jumps or bends, so that its mean square needs averaging over a quadrature cell.
        bounded: Whether values stay in a range, so that large arguments confine the slope to a few of them, which fall
            between two nodes.
    """

    value: Callable[..., Table]
    derivative: Callable[..., Table]
    kinked: bool = False
    bounded: bool = False


_ERF = np.frompyfunc(math.erf, 1, 1)
_SQRT_2 = math.sqrt(2.0)
_SQRT_2_OVER_PI = math.sqrt(2.0 / math.pi)
_SELU_ALPHA = 1.6732632423543772
_SELU_SCALE = 1.0507009873554805
_TINY = 1e-150


def _erf(x: Table) -> Table:
    return np.asarray(_ERF(x), dtype=np.float64)


def _density(x: Table) -> Table:
    return np.exp(-0.5 * x * x) / math.sqrt(2.0 * math.pi)


def _cumulative(x: Table) -> Table:
    return 0.5 * (1.0 + _erf(x / _SQRT_2))


def _sigmoid(x: Table) -> Table:
    return 0.5 * (1.0 + np.tanh(0.5 * x))


def _sigmoid_derivative(x: Table) -> Table:
    s = _sigmoid(x)
    return s * (1.0 - s)


def _softplus(x: Table, beta: float = 1.0) -> Table:
    return np.logaddexp(0.0, beta * x) / beta


def _gelu_tanh_inner(x: Table) -> Table:
    return np.tanh(_SQRT_2_OVER_PI * (x + 0.044715 * x**3))


def _gelu_tanh_derivative(x: Table) -> Table:
    t = _gelu_tanh_inner(x)
    return 0.5 * (1.0 + t) + 0.5 * x * (1.0 - t * t) * _SQRT_2_OVER_PI * (1.0 + 3 * 0.044715 * x * x)


def _quick_gelu_derivative(x: Table) -> Table:
    s = _sigmoid(1.702 * x)
    return s + 1.702 * x * s * (1.0 - s)


def _silu_derivative(x: Table, beta: float = 1.0) -> Table:
    s = _sigmoid(beta * x)
    return s + beta * x * s * (1.0 - s)


def _mish_derivative(x: Table) -> Table:
    t = np.tanh(_softplus(x))
    return t + x * (1.0 - t * t) * _sigmoid(x)


def _expm1_negative(x: Table) -> Table:
    return np.expm1(np.minimum(x, 0.0))


def _exp_negative(x: Table) -> Table:
    return np.exp(np.minimum(x, 0.0))


def _hard_sigmoid(x: Table, alpha: float = 1.0 / 6.0, beta: float = 0.5) -> Table:
    return np.clip(alpha * x + beta, 0.0, 1.0)


def _hard_sigmoid_derivative(x: Table, alpha: float = 1.0 / 6.0, beta: float = 0.5) -> Table:
    inner = alpha * x + beta
    return np.where((inner > 0.0) & (inner < 1.0), alpha, 0.0)


def _clip(x: Table, minimum: float = -math.inf, maximum: float = math.inf) -> Table:
    return np.clip(x, minimum, maximum)


def _clip_derivative(x: Table, minimum: float = -math.inf, maximum: float = math.inf) -> Table:
    return ((x > minimum) & (x < maximum)).astype(np.float64)


def _power(x: Table, exponent: float) -> Table:
    base = x if float(exponent).is_integer() and exponent >= 0 else np.maximum(x, _TINY)
    if float(exponent).is_integer() and exponent < 0:
        base = np.where(np.abs(x) < _TINY, _TINY, x)
    return np.power(base, exponent)


def _power_derivative(x: Table, exponent: float) -> Table:
    return np.zeros_like(x) if exponent == 0 else exponent * _power(x, exponent - 1.0)


def _positive(x: Table) -> Table:
    return (x > 0.0).astype(np.float64)


def _zero(x: Table, **_: float) -> Table:
    return np.zeros_like(x)


FUNCTIONS: dict[str, Function] = {
    "abs": Function(np.abs, np.sign, kinked=True),
    "above": Function(lambda x, threshold=0.0: (x > threshold).astype(np.float64), _zero),
    "asinh": Function(np.arcsinh, lambda x: 1.0 / np.sqrt(1.0 + x * x)),
    "atan": Function(np.arctan, lambda x: 1.0 / (1.0 + x * x), bounded=True),
    "below": Function(lambda x, threshold=0.0: (x < threshold).astype(np.float64), _zero),
    "ceil": Function(np.ceil, _zero),
    "celu": Function(
        lambda x, alpha=1.0: np.maximum(x, 0.0) + alpha * _expm1_negative(x / alpha),
        lambda x, alpha=1.0: np.where(x > 0.0, 1.0, _exp_negative(x / alpha)),
    ),
    "clip": Function(_clip, _clip_derivative, kinked=True),
    "cos": Function(np.cos, lambda x: -np.sin(x), bounded=True),
    "cosh": Function(lambda x: np.cosh(np.clip(x, -300.0, 300.0)), lambda x: np.sinh(np.clip(x, -300.0, 300.0))),
    "elu": Function(
        lambda x, alpha=1.0: np.maximum(x, 0.0) + alpha * _expm1_negative(x),
        lambda x, alpha=1.0: np.where(x > 0.0, 1.0, alpha * _exp_negative(x)),
        kinked=True,
    ),
    "erf": Function(_erf, lambda x: 2.0 / math.sqrt(math.pi) * np.exp(-x * x), bounded=True),
    "exp": Function(lambda x: np.exp(np.minimum(x, 300.0)), lambda x: np.exp(np.minimum(x, 300.0))),
    "floor": Function(np.floor, _zero),
    "gelu": Function(lambda x: x * _cumulative(x), lambda x: _cumulative(x) + x * _density(x)),
    "gelu_tanh": Function(lambda x: 0.5 * x * (1.0 + _gelu_tanh_inner(x)), _gelu_tanh_derivative),
    "hard_sigmoid": Function(_hard_sigmoid, _hard_sigmoid_derivative, kinked=True),
    "hard_swish": Function(
        lambda x: x * _hard_sigmoid(x),
        lambda x: _hard_sigmoid(x) + x * _hard_sigmoid_derivative(x),
        kinked=True,
    ),
    "hard_tanh": Function(
        lambda x, minimum=-1.0, maximum=1.0: np.clip(x, minimum, maximum),
        lambda x, minimum=-1.0, maximum=1.0: _clip_derivative(x, minimum, maximum),
        kinked=True,
    ),
    "leaky_relu": Function(
        lambda x, alpha=0.01: np.where(x > 0.0, x, alpha * x),
        lambda x, alpha=0.01: np.where(x > 0.0, 1.0, alpha),
        kinked=True,
    ),
    "log": Function(lambda x: np.log(np.maximum(x, _TINY)), lambda x: _positive(x) / np.maximum(x, _TINY)),
    "log_sigmoid": Function(lambda x: -_softplus(-x), lambda x: _sigmoid(-x)),
    "mish": Function(lambda x: x * np.tanh(_softplus(x)), _mish_derivative),
    "neg": Function(np.negative, lambda x: -np.ones_like(x)),
    "power": Function(_power, _power_derivative),
    "quick_gelu": Function(lambda x: x * _sigmoid(1.702 * x), _quick_gelu_derivative),
    "reciprocal": Function(lambda x: _power(x, -1.0), lambda x: _power_derivative(x, -1.0)),
    "relu": Function(lambda x: np.maximum(x, 0.0), lambda x: (x > 0.0).astype(np.float64), kinked=True),
    "relu6": Function(
        lambda x: np.clip(x, 0.0, 6.0), lambda x: ((x > 0.0) & (x < 6.0)).astype(np.float64), kinked=True
    ),
    "round": Function(np.round, _zero),
    "selu": Function(
        lambda x, alpha=_SELU_ALPHA, gamma=_SELU_SCALE: gamma * (np.maximum(x, 0.0) + alpha * _expm1_negative(x)),
        lambda x, alpha=_SELU_ALPHA, gamma=_SELU_SCALE: gamma * np.where(x > 0.0, 1.0, alpha * _exp_negative(x)),
        kinked=True,
    ),
    "sigmoid": Function(_sigmoid, _sigmoid_derivative, bounded=True),
    "sign": Function(np.sign, _zero),
    "silu": Function(lambda x, beta=1.0: x * _sigmoid(beta * x), _silu_derivative),
    "sin": Function(np.sin, np.cos, bounded=True),
    "sinh": Function(lambda x: np.sinh(np.clip(x, -300.0, 300.0)), lambda x: np.cosh(np.clip(x, -300.0, 300.0))),
    "softplus": Function(_softplus, lambda x, beta=1.0: _sigmoid(beta * x)),
    "softsign": Function(lambda x: x / (1.0 + np.abs(x)), lambda x: 1.0 / (1.0 + np.abs(x)) ** 2, kinked=True),
    "sqrt": Function(
        lambda x: np.sqrt(np.maximum(x, 0.0)), lambda x: 0.5 * _positive(x) / np.sqrt(np.maximum(x, _TINY))
    ),
    "tan": Function(np.tan, lambda x: 1.0 / np.cos(x) ** 2),
    "tanh": Function(np.tanh, lambda x: 1.0 - np.tanh(x) ** 2, bounded=True),
    "tanh_shrink": Function(lambda x: x - np.tanh(x), lambda x: np.tanh(x) ** 2),
    "soft_shrink": Function(
        lambda x, threshold=0.5: np.sign(x) * np.maximum(np.abs(x) - threshold, 0.0),
        lambda x, threshold=0.5: (np.abs(x) > threshold).astype(np.float64),
        kinked=True,
    ),
    "hard_shrink": Function(
        lambda x, threshold=0.5: np.where(np.abs(x) > threshold, x, 0.0),
        lambda x, threshold=0.5: (np.abs(x) > threshold).astype(np.float64),
        kinked=True,
    ),
    "thresholded_relu": Function(
        lambda x, alpha=1.0: np.where(x > alpha, x, 0.0),
        lambda x, alpha=1.0: (x > alpha).astype(np.float64),
        kinked=True,
    ),
}
"""Name -> function. What is not here is ``opaque``."""

_CELL_POINTS = (np.arange(32) + 0.5) / 32.0 - 0.5

_WIDE = 0.6
"""Distance of two nodes' arguments from which the slope of a bounded function is averaged between them."""


def _central_differences(table: Table) -> Table:
    """``np.gradient`` at unit distance, without what that does for other cases."""
    width = np.empty_like(table)
    width[1:-1] = 0.5 * (table[2:] - table[:-2])
    width[0], width[-1] = table[1] - table[0], table[-1] - table[-2]
    return width


def apply(name: str, table: Table, **arguments: float) -> tuple[Table, Table]:
    """Value and root-mean-square derivative of a function on a table.

    On quadrature nodes 0.26 apart a jump of the derivative would be placed to 5 % only, and a quarter of the slope of
    tanh would be seen at a standard deviation of 8; the squared derivative is therefore averaged over each node's cell
    where the function has kinks, and where it is bounded and the cell wide.

    Args:
        name: Key of ``FUNCTIONS``.
        table: Argument on the quadrature nodes.
        arguments: Keyword arguments of the function.

    Returns:
        f(x) and f'(x) on the nodes.

    Raises:
        KeyError: The function is not known.
    """
    function = FUNCTIONS[name]
    value = function.value(table, **arguments)
    slope = function.derivative(table, **arguments)
    width = _central_differences(table)
    coarse = (np.abs(width) > _WIDE) & function.bounded | function.kinked
    if coarse.any():
        cell = function.derivative(table + _CELL_POINTS[:, None] * width, **arguments)
        averaged = np.where(slope < 0.0, -1.0, 1.0) * np.sqrt((cell * cell).sum(axis=0) / len(cell))
        slope = np.where(coarse, averaged, slope)
    return value, slope
