"""Initialisation schemes by the names people use, and the law each of them draws from.

A name is a word and, in parentheses, what differs from the word's default: ``kaiming_normal``,
``kaiming_uniform(a=√5)``, ``normal(0, 0.02)``. Fans are those of PyTorch's ``nn.init``
(``_calculate_fan_in_and_fan_out``): of the stored shape, without regard to groups or transposition.
"""

from __future__ import annotations

import difflib
import math
import re
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from initcheck.distribution import Distribution, Family
from initcheck.errors import UsageError
from initcheck.families import TRUNCATION, truncated_kurtosis, truncated_variance

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["SCHEMES", "Scheme", "counted_fan", "init_fans", "parse_scheme", "scheme_distribution"]

SCHEMES = {
    "kaiming_normal": "variance 2/fan; arguments fan_out, a=, gain=, truncated, uncorrected",
    "kaiming_uniform": "variance 2/fan; arguments fan_out, a=, gain=",
    "xavier_normal": "variance 2/(fan_in + fan_out); arguments gain=, truncated, uncorrected",
    "xavier_uniform": "variance 2/(fan_in + fan_out); argument gain=",
    "lecun_normal": "variance 1/fan_in; arguments gain=, truncated, uncorrected",
    "lecun_uniform": "variance 1/fan_in; argument gain=",
    "pytorch_default": "kaiming_uniform(a=√5), what Linear and Conv draw when nobody initialises them",
    "orthogonal": "orthonormal rows or columns; argument gain=",
    "normal": "normal(mean, std), normal(std); default (0, 1)",
    "uniform": "uniform(±bound), uniform(low, high), uniform(±1/√fan_in); default (0, 1)",
    "truncated_normal": "truncated_normal(std=s), cut at two standard deviations; default 1",
    "trunc_normal": "trunc_normal(std=s), cut at -2 and 2 whatever the standard deviation; default 1",
    "zeros": "all zero",
    "ones": "all one",
    "constant": "constant(value)",
    "identity": "one on the diagonal; argument gain=",
    "dirac": "identity of a convolution; argument gain=",
}
"""Every word that is understood, with what may stand in its parentheses."""

_FAN_BASES = {"kaiming": ("fan_in", math.sqrt(2.0)), "xavier": ("average", 1.0), "lecun": ("fan_in", 1.0)}
_ALIASES = {"he": "kaiming", "glorot": "xavier", "eye": "identity"}


@dataclass(frozen=True, slots=True)
class Scheme:
    """A law whose scale may depend on the shape.

    Attributes:
        family: Shape of the law.
        scale: Standard deviation of the law before it is cut, in units of 1/sqrt(fan) where ``fan`` is set;
            gain of an orthogonal matrix or of an identity.
        fan: ``fan_in``, ``fan_out`` or ``average``; empty when the shape does not matter.
        mean: Mean of the law.
        cut: Where a truncated normal is cut, in standard deviations before the cut; infinite otherwise.
    """

    family: Family
    scale: float = 1.0
    fan: str = ""
    mean: float = 0.0
    cut: float = math.inf

    def variance(self, fan_in: float, fan_out: float) -> float:
        """Variance of one weight; nan where the fan is not known (zero) and for an identity, which is no draw."""
        if self.family in {Family.CONSTANT, Family.IDENTITY}:
            return 0.0 if self.family is Family.CONSTANT else math.nan
        fan = 1.0
        if self.fan:
            fan = (fan_in + fan_out) / 2.0 if self.fan == "average" else fan_in if self.fan == "fan_in" else fan_out
        if fan <= 0.0:
            return math.nan
        return self.scale * self.scale / fan * (truncated_variance(self.cut) if self.cut < math.inf else 1.0)


def init_fans(shape: Sequence[int], out_axis: int | None = 0) -> tuple[int, int]:
    """(fan_in, fan_out) as ``nn.init`` counted them when the weight was drawn; (0, 0) for fewer than two axes.

    A convolution, also a transposed one, is counted by its stored shape. A matrix stored as (in, out), which is how
    exporters write the second operand of MatMul, was drawn as (out, in).

    Args:
        shape: Stored shape.
        out_axis: Axis of output units of the stored weight, None if not known.
    """
    if len(shape) < 2:
        return 0, 0
    field = math.prod(shape[2:])
    fan_in, fan_out = shape[1] * field, shape[0] * field
    return (fan_out, fan_in) if len(shape) == 2 and out_axis == 1 else (fan_in, fan_out)


def counted_fan(law: Distribution) -> tuple[str, float]:
    """Which fan a weight was drawn by, and the number that its variance shows was put in for it.

    Returns:
        ``fan_in``, ``fan_out`` or ``average`` (half of their sum) with the number; ``("", 0.0)`` for a law whose scale
        does not come from a fan.
    """
    scheme = parse_scheme(law.scheme) if law.scheme else None
    if scheme is None or not scheme.fan or not law.variance > 0.0:
        return "", 0.0
    return scheme.fan, scheme.variance(1.0, 1.0) / law.variance


def scheme_distribution(
    name: str, shape: Sequence[int], fan_in: float | None = None, fan_out: float | None = None
) -> Distribution:
    """The exact law by which a scheme draws a tensor of this shape.

    Args:
        name: As in ``SCHEMES``.
        shape: Stored shape of the tensor.
        fan_in: Overrides the fan that ``nn.init`` would count.
        fan_out: The same.

    Raises:
        UsageError: If the name or its arguments are not understood, or the scheme needs a fan and the tensor has none.
    """
    scheme = parse_scheme(name)
    size = math.prod(shape)
    default_in, default_out = init_fans(shape)
    fan_in, fan_out = fan_in or default_in, fan_out or default_out
    family, scale = scheme.family, scheme.scale
    if family is Family.CONSTANT:
        zeros = 0 if scheme.mean else size
        return Distribution(
            family, size, scheme.mean, 0.0, math.nan, scheme.mean, scheme.mean, zeros, exact=True, scheme=name
        )
    if family in {Family.ORTHOGONAL, Family.IDENTITY} and len(shape) < 2:
        raise UsageError(f"scheme {name!r} needs a weight of two or more axes, not shape {tuple(shape)}")
    if family is Family.IDENTITY:
        share = min(shape[0], shape[1]) / size if size else 0.0
        variance = scale * scale * share * (1.0 - share)
        kurtosis = (1.0 - 3.0 * share * (1.0 - share)) / (share * (1.0 - share)) if 0.0 < share < 1.0 else math.nan
        zeros = size - min(shape[0], shape[1])
        return Distribution(family, size, scale * share, variance, kurtosis, 0.0, scale, zeros, exact=True, scheme=name)
    if family is Family.ORTHOGONAL:
        longer = max(shape[0], size // max(shape[0], 1), 1)
        kurtosis = 3.0 * longer / (longer + 2.0)
        return Distribution(family, size, 0.0, scale * scale / longer, kurtosis, exact=True, scheme=name)
    variance = scheme.variance(fan_in, fan_out)
    if math.isnan(variance):
        raise UsageError(
            f"scheme {name!r} needs a fan, and shape {tuple(shape)} has none",
            "use a scheme with a scale of its own, such as normal(0, 0.02) or zeros",
        )
    if family is Family.UNIFORM:
        bound = math.sqrt(3.0 * variance)
        low, high = scheme.mean - bound, scheme.mean + bound
        return Distribution(family, size, scheme.mean, variance, 1.8, low, high, exact=True, scheme=name)
    if scheme.cut < math.inf:
        bound = scheme.cut * math.sqrt(variance / truncated_variance(scheme.cut))
        kurtosis = truncated_kurtosis(scheme.cut)
        return Distribution(family, size, 0.0, variance, kurtosis, -bound, bound, exact=True, scheme=name)
    return Distribution(family, size, scheme.mean, variance, 3.0, exact=True, scheme=name)


@lru_cache(maxsize=1024)
def parse_scheme(name: str) -> Scheme:
    """The scheme that a name stands for.

    Raises:
        UsageError: If the word or an argument is not understood; names near misses.
    """
    match = re.fullmatch(r"\s*(\w+)\s*(?:\((.*)\))?\s*", name)
    word = match[1].lower().rstrip("_") if match else name.strip()
    head, _, tail = word.partition("_")
    word = "_".join(filter(None, (_ALIASES.get(head, head), tail)))
    if match is None or word not in SCHEMES:
        near = difflib.get_close_matches(word, SCHEMES, n=3, cutoff=0.5)
        raise UsageError(f"there is no initialisation scheme {name!r}", f"use {' or '.join(near or SCHEMES)}")
    arguments = [part.strip() for part in (match[2] or "").split(",") if part.strip()]
    try:
        return _build(word, arguments)
    except (ValueError, ZeroDivisionError) as error:
        raise UsageError(f"the arguments of scheme {name!r} are not understood", f"{word}: {SCHEMES[word]}") from error


def _build(word: str, arguments: list[str]) -> Scheme:
    """The scheme of a known word; ValueError if an argument does not belong to it."""
    base, _, shape = word.partition("_")
    if base in _FAN_BASES:
        return _build_fan(base, shape == "uniform", arguments)
    if word == "pytorch_default" and not arguments:
        return _build_fan("kaiming", True, ["a=√5"])
    if word in {"zeros", "ones"} and not arguments:
        return Scheme(Family.CONSTANT, mean=float(word == "ones"))
    if word == "constant":
        (value,) = arguments
        return Scheme(Family.CONSTANT, mean=_number(value.removeprefix("value=")))
    if word == "normal":
        mean, std = _pair(arguments, "std=", (0.0, 1.0))
        return Scheme(Family.NORMAL, _positive(std), mean=mean)
    if word == "uniform":
        return _build_uniform(arguments)
    if word in {"orthogonal", "identity", "dirac"}:
        family = Family.ORTHOGONAL if word == "orthogonal" else Family.IDENTITY
        return Scheme(family, _positive(_single(arguments, "gain=")))
    if word == "truncated_normal":
        return Scheme(Family.TRUNCATED, _positive(_single(arguments, "std=")), cut=TRUNCATION)
    if word == "trunc_normal":
        std = _positive(_single(arguments, "std="))
        # Beyond five standard deviations nothing is left to cut.
        return Scheme(Family.TRUNCATED, std, cut=2.0 / std) if std > 0.4 else Scheme(Family.NORMAL, std)
    raise ValueError(word)


def _build_fan(base: str, uniform: bool, arguments: list[str]) -> Scheme:
    """A scheme that divides by a fan."""
    fan, scale = _FAN_BASES[base]
    family, cut, correction = (Family.UNIFORM if uniform else Family.NORMAL), math.inf, 1.0
    for argument in arguments:
        key, _, value = argument.rpartition("=")
        if base == "kaiming" and key in {"", "mode"} and value in {"fan_in", "fan_out"}:
            fan = value
        elif key == "gain":
            scale = _positive(_number(value))
        elif base == "kaiming" and key == "a":
            scale = math.sqrt(2.0 / (1.0 + _number(value) ** 2))
        elif argument in {"truncated", "uncorrected"} and not uniform:
            family, cut = Family.TRUNCATED, TRUNCATION
            correction = 1.0 if "uncorrected" in arguments else math.sqrt(truncated_variance(TRUNCATION))
        else:
            raise ValueError(argument)
    return Scheme(family, scale / correction, fan, cut=cut)


def _build_uniform(arguments: list[str]) -> Scheme:
    """``uniform(±a)``, ``uniform(low, high)`` or PyTorch's law of biases."""
    if arguments == ["±1/√fan_in"]:
        return Scheme(Family.UNIFORM, 1.0 / math.sqrt(3.0), "fan_in")
    if len(arguments) == 1:
        high = _number(arguments[0].removeprefix("±"))
        low = -high
    else:
        low, high = _pair(arguments, "", (0.0, 1.0))
    return Scheme(Family.UNIFORM, _positive((high - low) / math.sqrt(12.0)), mean=(low + high) / 2.0)


def _single(arguments: list[str], prefix: str) -> float:
    """The only argument, with or without its keyword; 1 if there is none."""
    if not arguments:
        return 1.0
    (value,) = arguments
    return _number(value.removeprefix(prefix))


def _pair(arguments: list[str], prefix: str, default: tuple[float, float]) -> tuple[float, float]:
    """Two numbers; one is the second with the default's first."""
    if not arguments:
        return default
    *first, second = arguments
    if len(first) > 1:
        raise ValueError(arguments)
    return (_number(first[0].removeprefix("mean=")) if first else default[0]), _number(second.removeprefix(prefix))


def _positive(value: float) -> float:
    if value <= 0.0:
        raise ValueError(value)
    return value


def _number(text: str) -> float:
    """A finite number as people write it: ``0.02``, ``√5``, ``5/3``, ``1/√2``."""
    over, _, under = text.partition("/")
    value = _root(over) / _root(under) if under else _root(over)
    if not math.isfinite(value):
        raise ValueError(text)
    return value


def _root(text: str) -> float:
    text = text.strip()
    return math.sqrt(float(text[1:])) if text.startswith("√") else float(text)
