"""How the mean square of a value differs from position to position.

Zero padding, a causal mask, a class token beside patches or a table of sines make some positions longer than others.
A profile is an array that broadcasts to the value's shape, of size 1 along every axis it does not vary over: the mean
square at each position relative to the mean, so that its own mean is 1; None stands for all ones. Pair moments of two
positions are taken to go as the root of the product of their profiles (THEORY 2.2, profile).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from initcheck.graph import Axis
from initcheck.signal.axes import factor_groups

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = [
    "Profile",
    "joint",
    "levelled",
    "of_spatial",
    "padded",
    "pair_share",
    "part_of",
    "permuted",
    "powered",
    "product",
    "reshaped",
    "restricted",
    "root_share",
    "spatial",
]

Profile = NDArray[np.float64]

_UNIFORM = 1e-9
_LARGEST_EXPONENT = 8.0


def levelled(array: Profile) -> tuple[float, Profile | None]:
    """Mean of an array of mean squares, and their profile."""
    level = float(array.mean()) if array.size else 0.0
    if level <= 0.0 or not math.isfinite(level):
        return level, None
    profile = array / level
    return level, None if float(np.ptp(profile)) < _UNIFORM else profile


def padded(profile: Profile | None, rank: int) -> Profile | None:
    """Profile of a value that gets leading axes of size 1."""
    return None if profile is None else profile.reshape((1,) * (rank - profile.ndim) + profile.shape)


def root_share(profile: Profile | None) -> float:
    """Mean of sqrt(p_a p_b) over all positions a and b: what a mean over positions sees of a pair moment."""
    return 1.0 if profile is None else float(np.mean(np.sqrt(np.maximum(profile, 0.0)))) ** 2


def pair_share(profile: Profile | None, positions: int) -> float:
    """Mean of sqrt(p_a p_b) over two different positions: what a mean over pairs sees of a pair moment."""
    if profile is None or positions < 2:
        return 1.0
    return max((positions * root_share(profile) - 1.0) / (positions - 1.0), 0.0)


def joint(parts: Iterable[tuple[float, Profile | None]]) -> Profile | None:
    """Profile of a sum of independent values with given mean squares."""
    kept = [(square, profile) for square, profile in parts if square > 0.0]
    if all(profile is None for _, profile in kept):
        return None
    shapes = [np.shape(profile) for _, profile in kept if profile is not None]
    if not _fit(shapes):
        return None
    ones = np.ones(())
    total = sum((square * (ones if p is None else p) for square, p in kept), start=np.zeros(()))
    return levelled(total)[1]


def product(first: Profile | None, second: Profile | None) -> tuple[float, Profile | None]:
    """Mean of the product of two profiles, and the profile of a product of independent values."""
    if first is None or second is None:
        return 1.0, second if first is None else first
    return levelled(first * second) if _fit([first.shape, second.shape]) else (1.0, None)


def _fit(shapes: Sequence[tuple[int, ...]]) -> bool:
    """Whether profiles can be read together; those of a tiled axis cannot."""
    try:
        np.broadcast_shapes(*shapes)
    except ValueError:
        return False
    return True


def powered(profile: Profile | None, exponent: float) -> Profile | None:
    """Profile of f(x), whose mean square goes as that of x to the power of the elasticity."""
    if profile is None or exponent == 1.0:
        return profile
    bounded = min(max(exponent, -_LARGEST_EXPONENT), _LARGEST_EXPONENT)
    return levelled(np.maximum(profile, 1e-12) ** bounded)[1]


def restricted(profile: Profile | None, axes: Sequence[Axis]) -> Profile | None:
    """The part that varies over positions: elements of different features are averaged."""
    if profile is None:
        return None
    others = tuple(i for i, axis in enumerate(axes) if axis is not Axis.POSITION and profile.shape[i] > 1)
    return levelled(profile.mean(axis=others, keepdims=True))[1] if others else profile


def permuted(profile: Profile | None, permutation: Sequence[int]) -> Profile | None:
    """Profile after a transposition."""
    return None if profile is None else profile.transpose(tuple(permutation))


def reshaped(profile: Profile | None, before: Sequence[int], after: Sequence[int]) -> Profile | None:
    """Profile after a reshape between shapes of one size."""
    if profile is None or tuple(before) == tuple(after):
        return profile
    full, target = list(profile.shape), [1] * len(after)
    for left, right in factor_groups(before, after):
        if all(profile.shape[i] == 1 for i in left):
            continue
        for i in left:
            full[i] = before[i]
        for j in right:
            target[j] = after[j]
    if math.prod(full) != math.prod(target):
        return None
    return np.broadcast_to(profile, full).reshape(target)


def part_of(
    profile: Profile | None, starts: Sequence[int | None], sizes: Sequence[int], dropped: Iterable[int] = ()
) -> tuple[float, Profile | None]:
    """Mean of a part of a profile, and the profile of that part.

    Args:
        profile: Of the whole.
        starts: First index per axis; None where it is not known.
        sizes: Entries taken per axis.
        dropped: Axes that the part does not have.
    """
    if profile is None:
        return 1.0, None
    whole = profile
    for axis, (start, size) in enumerate(zip(starts, sizes, strict=True)):
        if whole.shape[axis] == 1 or whole.shape[axis] == size:
            continue
        whole = (
            whole.mean(axis=axis, keepdims=True)
            if start is None
            else whole.take(range(start, min(start + size, whole.shape[axis])), axis=axis)
        )
    gone = tuple(axis for axis in dropped)
    level, rest = levelled(whole)
    return level, None if rest is None else rest.mean(axis=gone) if gone else rest


def spatial(profile: Profile | None, shape: Sequence[int]) -> Profile | None:
    """Profile of a (batch, channel, *spatial) value as an array over all its spatial axes."""
    if profile is None:
        return None
    # A profile over samples or channels (a mask that names them) is averaged.
    return np.broadcast_to(profile.mean(axis=(0, 1)), tuple(shape[2:]))


def of_spatial(array: Profile | None) -> Profile | None:
    """The inverse of ``spatial``."""
    return None if array is None else levelled(array[None, None])[1]
