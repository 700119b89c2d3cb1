"""New elements for a stored weight, from the distribution that its values show."""

from __future__ import annotations

import math
import zlib
from typing import TYPE_CHECKING, Any

import numpy as np

from initcheck.distribution import Distribution, Family
from initcheck.families import FEWEST, TRUNCATION, truncated_variance
from initcheck.naming import drawn_part

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

__all__ = ["family_to_draw", "generator", "redraw"]

_DRAWN = frozenset({Family.NORMAL, Family.UNIFORM, Family.TRUNCATED, Family.ORTHOGONAL})
"""Families that say how to draw; constants stay what they are, and of the unknown nobody knows."""

BETWEEN = 2.4
"""Kurtosis halfway between those of a uniform and of a normal."""


def family_to_draw(law: Distribution) -> Family | None:
    """The family to draw a weight from, None to leave the weight as it is.

    A short one of unknown family counts as uniform or normal, whichever its kurtosis is nearer to: a network hardly
    notices which, only the variance.
    """
    if law.nonfinite:
        return None
    if law.family is Family.UNKNOWN and 1 < law.size < FEWEST:
        return Family.UNIFORM if drawn_part(law).kurtosis < BETWEEN else Family.NORMAL
    return law.family if law.family in _DRAWN else None


def generator(seed: int, purpose: str) -> np.random.Generator:
    """A stream of its own for every purpose, so that leaving one draw out changes no other."""
    return np.random.default_rng((seed, zlib.crc32(purpose.encode("utf-8", "backslashreplace"))))


def redraw(stored: NDArray[Any], law: Distribution, seed: int, name: str) -> NDArray[Any]:
    """Another draw of the same law.

    Args:
        stored: The weight in the file. Elements that are exactly zero where others are drawn (a padding row) stay so.
        law: Its distribution, which has a ``family_to_draw``.
        seed: Of the initialisation.
        name: Of the weight.

    Returns:
        An array of the stored shape and type.
    """
    part = drawn_part(law)
    family = family_to_draw(law)
    drawn = _standard(stored.shape, family, generator(seed, name))
    if family is Family.ORTHOGONAL:
        # The mean of its elements is what their number leaves of zero; to shift it would bend the rotation.
        drawn *= math.sqrt(part.mean_square)
    else:
        drawn = drawn * part.std + part.effective_mean
    if part.size != law.size:
        drawn[stored == 0] = 0.0
    return drawn.astype(stored.dtype)


def _standard(shape: Sequence[int], family: Family | None, rng: np.random.Generator) -> NDArray[np.float64]:
    """Elements of mean 0 and variance 1."""
    if family is Family.UNIFORM:
        return rng.uniform(-math.sqrt(3.0), math.sqrt(3.0), shape)
    if family is Family.ORTHOGONAL:
        return _orthogonal(shape, rng)
    if family is Family.TRUNCATED:
        drawn = rng.standard_normal(shape)
        while (outside := np.abs(drawn) > TRUNCATION).any():
            drawn[outside] = rng.standard_normal(int(outside.sum()))
        return drawn / math.sqrt(truncated_variance(TRUNCATION))
    return rng.standard_normal(shape)


def _orthogonal(shape: Sequence[int], rng: np.random.Generator) -> NDArray[np.float64]:
    """Rows or columns orthogonal, whichever are fewer; the signs make the matrix uniformly distributed."""
    rows, columns = shape[0], math.prod(shape[1:])
    tall = rng.standard_normal((max(rows, columns), min(rows, columns)))
    basis, upper = np.linalg.qr(tall)
    basis = basis * np.sign(np.diag(upper)) * math.sqrt(max(rows, columns))
    return (basis if rows >= columns else basis.T).reshape(shape)
