"""From the values of a tensor to everything the analysis knows of it: one call, one pass."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from initcheck.distribution import Distribution, Family
from initcheck.families import classify
from initcheck.naming import drawn_part, name_scheme
from initcheck.rows import RowSample, is_identity, is_orthogonal, row_facts
from initcheck.schemes import init_fans, parse_scheme
from initcheck.statistics import Moments
from initcheck.statistics import moments as moments_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import numpy.typing as npt

    from initcheck.graph import RowFacts

__all__ = ["estimate"]


def estimate(
    blocks: Iterable[npt.NDArray[Any]],
    shape: Sequence[int],
    dtype: str = "",
    *,
    out_axis: int | None = 0,
    fans: tuple[float, float] | None = None,
    groups: int = 1,
) -> tuple[Distribution, RowFacts | None]:
    """Distribution of a tensor, its scheme named, and the facts of its rows.

    Args:
        blocks: Consecutive parts in storage order, each free to be overwritten once the next is asked for; a whole
            array is ``(array,)``.
        shape: Stored shape, whose product is the number of elements in all blocks.
        dtype: ``"float16"`` or ``"bfloat16"`` when the blocks are ``uint16`` bit patterns, otherwise of no effect.
        out_axis: Axis of output units, None if there is none or it is not known; then no row facts.
        fans: (fan_in, fan_out) as the initialiser counted, for a bias those of the weight beside it. Default:
            ``init_fans(shape, out_axis)``.
        groups: Groups of a convolution.

    Returns:
        The distribution (mean and variance are 0 without a finite element) and the row facts, None for vectors,
        scalars and rows longer than what is kept.
    """
    shape = tuple(shape)
    sample = RowSample(shape) if len(shape) >= 2 and all(shape) else None
    moments = moments_of(sample.watch(blocks) if sample else blocks, dtype)
    part = sample.array if sample else None
    rows = None
    family = _family_by_values(moments)
    if sample is not None and part is not None:
        if out_axis is not None:
            rows = row_facts(part, shape, out_axis, moments, dtype)
        if family is not Family.CONSTANT and not moments.nonfinite:
            family = _family_by_rows(part, sample.whole, moments, groups, dtype) or family
    distribution = Distribution(
        family,
        moments.size,
        moments.mean if moments.count else 0.0,
        moments.variance if moments.count else 0.0,
        moments.kurtosis,
        moments.minimum,
        moments.maximum,
        moments.zeros,
        moments.nonfinite,
    )
    if family is Family.UNKNOWN:
        distribution = replace(distribution, family=_family_of_drawn(distribution))
    fan_in, fan_out = fans or init_fans(shape, out_axis)
    scheme = name_scheme(distribution, shape, fan_in, fan_out)
    family = parse_scheme(scheme).family if scheme else distribution.family
    return replace(distribution, scheme=scheme, family=family), rows


def _family_by_values(moments: Moments) -> Family:
    """CONSTANT where all elements are one number, else UNKNOWN."""
    constant = moments.count > 0 and moments.nonfinite == 0 and moments.minimum == moments.maximum
    return Family.CONSTANT if constant else Family.UNKNOWN


def _family_by_rows(part: npt.NDArray[Any], whole: bool, moments: Moments, groups: int, dtype: str) -> Family | None:
    """IDENTITY or ORTHOGONAL, which only the arrangement of the elements shows."""
    if whole and is_identity(part, moments.zeros, groups, dtype):
        return Family.IDENTITY
    return Family.ORTHOGONAL if is_orthogonal(part, whole, dtype) else None


def _family_of_drawn(distribution: Distribution) -> Family:
    """Family of the elements that a padding row did not clear."""
    drawn = drawn_part(distribution)
    if math.isnan(drawn.kurtosis):
        return Family.UNKNOWN
    return classify(drawn.size, drawn.kurtosis, (drawn.maximum - drawn.minimum) / drawn.std / 2.0)
