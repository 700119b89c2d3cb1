"""What operations do to laws.

A rule gets the marks of what is read and returns the mark of what is written; None wherever it is not certain.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch

from initcheck.distribution import Family
from initcheck.sources.torch.record_law import Law, constant, identity, normal, truncated, uniform

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from initcheck.sources.torch.record_regions import Mark

__all__ = ["CHANGES", "CREATIONS", "FIXED", "IGNORES_TARGET", "PRESERVING", "created", "elementwise", "is_empty"]

LARGEST = 1e30
"""Numbers beyond it are left to the values, which know when a type ends."""

FIXED = frozenset(
    {
        *("zeros", "zeros_like", "new_zeros", "zero_", "ones", "ones_like", "new_ones", "full", "full_like"),
        *("new_full", "fill_", "scalar_tensor", "eye", "arange", "linspace", "logspace", "tril_indices"),
        *("triu_indices", "hann_window", "hamming_window", "range"),
    }
)
"""Operations that make values from nothing but their arguments, the same ones each time."""

CREATIONS = FIXED | frozenset(
    {
        *("randn", "randn_like", "rand", "rand_like", "normal_", "normal", "uniform_", "uniform", "bernoulli_"),
        *("random_", "log_normal_", "cauchy_", "exponential_", "geometric_", "randint", "randint_like", "randperm"),
    }
)
"""The same with those that draw."""

IGNORES_TARGET = CREATIONS | {"copy_"}
"""Operations that do not look at what they overwrite."""

PRESERVING = frozenset({"clone", "_to_copy", "contiguous", "_unsafe_view", "view_copy", "lift_fresh_copy", "copy_"})
"""Operations whose result is their operand, in order."""

_EMPTY = frozenset({"empty", "empty_like", "empty_strided", "new_empty", "new_empty_strided", "empty_permuted"})


def created(name: str, arguments: Mapping[str, Any], shape: Sequence[int], draw: int) -> Mark:
    """Law of what an operation of ``CREATIONS`` writes.

    Args:
        name: Base name of the operation.
        arguments: Its arguments by name, without defaults left out.
        shape: Shape of what it writes.
        draw: Number of this draw.
    """
    if name in {"zeros", "zeros_like", "new_zeros", "zero_"}:
        return constant(0.0)
    if name in {"ones", "ones_like", "new_ones"}:
        return constant(1.0)
    if name in {"randn", "randn_like"}:
        return normal(0.0, 1.0, draw)
    if name in {"rand", "rand_like"}:
        return uniform(0.0, 1.0, draw)
    if name == "eye" and len(shape) == 2:
        return identity(shape)
    if name in {"full", "full_like", "new_full", "scalar_tensor"}:
        value = arguments.get("fill_value", arguments.get("s"))
        return constant(float(value)) if _is_number(value) else None
    if name in {"normal_", "normal"}:
        mean, std = arguments.get("mean", 0.0), arguments.get("std", 1.0)
        return normal(float(mean), float(std), draw) if _is_usual(mean) and _is_usual(std) else None
    if name in {"uniform_", "uniform"}:
        low, high = arguments.get("from", 0.0), arguments.get("to", 1.0)
        return uniform(float(low), float(high), draw) if _is_usual(low) and _is_usual(high) else None
    return None


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, complex)


def _is_usual(value: object) -> bool:
    """Whether an argument is a number with which to calculate."""
    return _is_number(value) and abs(value) < LARGEST  # type: ignore[arg-type]


def _scale(name: str, other: float, alpha: float) -> tuple[float, float] | None:
    """Factor and shift of an operation with a number; None for a division by zero."""
    if name in {"mul", "multiply"}:
        return other, 0.0
    if name in {"div", "divide", "true_divide"}:
        return (1.0 / other, 0.0) if other else None
    return 1.0, alpha * other if name == "add" else -alpha * other


CHANGES = frozenset({"mul", "div", "add", "sub", "rsub", "neg", "erfinv", "clamp", "clamp_min", "clamp_max"})
"""Operations that ``elementwise`` knows."""


def elementwise(name: str, marks: Sequence[Mark], arguments: Mapping[str, Any]) -> Mark:
    """Law of an operation of ``CHANGES`` on independent operands.

    Args:
        name: Base name, without the underscore of in-place operations.
        marks: Laws of its operands; numbers stand as constants.
        arguments: The other arguments by name.
    """
    if not all(isinstance(mark, Law) for mark in marks):
        return None
    first: Law = marks[0]
    if name in {"neg", "erfinv"} or name.startswith("clamp"):
        return _changed_alone(name, first, arguments)
    second: Law = marks[1]
    alpha = float(arguments.get("alpha", 1.0))
    if arguments.get("rounding_mode") is not None:
        return None
    if name == "rsub":
        name, first, second = "sub", second, first
    if second.value is not None:
        return _with_number(name, first, second.value, alpha)
    if first.value is not None and name != "div":
        if not _is_usual(first.value) or not _is_usual(alpha):
            return None
        if name == "mul":
            return second.affine(first.value)
        return second.affine(alpha if name == "add" else -alpha, first.value)
    return _sum(first, second, alpha if name == "add" else -alpha) if name in {"add", "sub"} else None


def _with_number(name: str, law: Law, number: float, alpha: float) -> Law | None:
    """A law changed by a number; only a constant by any, since masks are filled with the lowest float."""
    change = _scale(name, number, alpha)
    if change is None or not all(map(math.isfinite, change)):
        return None
    usual = all(map(_is_usual, change)) or (law.value is not None and math.isfinite(law.value))
    return law.affine(*change) if usual else None


def _sum(first: Law, second: Law, factor: float) -> Law | None:
    """A sum of independent normals is normal; other sums are left to their values."""
    both = first.family is Family.NORMAL and second.family is Family.NORMAL
    if not both or first.zeros or second.zeros or first.draws & second.draws:
        return None
    scaled = second.affine(factor)
    law = normal(first.mean + scaled.mean, math.sqrt(first.second + scaled.second), 0)
    return replace(law, draws=first.draws | second.draws)


def _changed_alone(name: str, law: Law, arguments: Mapping[str, Any]) -> Law | None:
    """Law of an operation on one tensor."""
    if name == "neg":
        return law.affine(-1.0)
    return _erfinv(law) if name == "erfinv" else _clamp(name, law, arguments)


def _erfinv(law: Law) -> Law | None:
    """√2 erfinv(2Φ - 1) is the standard normal quantile, so a uniform becomes a truncated N(0, 1/2)."""
    if law.family is not Family.UNIFORM or law.low < -1.0 or law.high > 1.0 or len(law.draws) != 1:
        return None
    low, high = (_quantile((bound + 1.0) / 2.0) for bound in (law.low, law.high))
    std = math.sqrt(0.5)
    return truncated(0.0, std, std * low, std * high, next(iter(law.draws)))


def _quantile(share: float) -> float:
    return float(torch.special.ndtri(torch.tensor(share, dtype=torch.float64, device="cpu")))


def _clamp(name: str, law: Law, arguments: Mapping[str, Any]) -> Law | None:
    """The law itself where nothing lies beyond the bounds but rounding, a constant where all does."""
    low, high = arguments.get("min"), arguments.get("max")
    low = -math.inf if low is None or name == "clamp_max" else low
    high = math.inf if high is None or name == "clamp_min" else high
    if isinstance(low, torch.Tensor) or isinstance(high, torch.Tensor):
        return None
    if law.value is not None:
        return constant(min(max(law.value, float(low)), float(high)))
    slack = 1e-5 * math.sqrt(law.second)
    return law if law.low >= low - slack and law.high <= high + slack else None


def is_empty(name: str) -> bool:
    """Whether an operation allocates without writing."""
    return name in _EMPTY
