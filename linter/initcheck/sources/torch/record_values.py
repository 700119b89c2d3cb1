"""Values behind tensors of the meta device: all of a small storage, 4096 of a large one.

What no law describes (``exp`` of a uniform, a division by a norm) is computed on these values as it happens. A value
of a large storage belongs to a position in it; an operation whose operands are not known at the positions it needs
gives no values at all.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import TYPE_CHECKING

import torch

from initcheck.distribution import Family

if TYPE_CHECKING:
    from collections.abc import Sequence

    from initcheck.sources.torch.record_law import Law

__all__ = ["SAMPLES", "Values", "draw", "locate", "positions"]

SAMPLES = 4096
"""Values kept of a storage that has more elements; moments of one draw come out to a part in a thousand."""


class Values:
    """What is kept of one storage.

    Attributes:
        full: All elements in storage order, with the storage's own dtype.
        sample: float64, the elements at ``positions(size)``; only where ``full`` is None.
    """

    __slots__ = ("full", "sample", "size")

    def __init__(self, size: int) -> None:
        self.size = size
        self.full: torch.Tensor | None = None
        self.sample: torch.Tensor | None = None

    def forget(self) -> None:
        """Values are not known any more."""
        self.full = self.sample = None

    def at(self, where: torch.Tensor) -> torch.Tensor | None:
        """Values at these positions of the storage, None where one of them is not kept."""
        if self.full is not None:
            values = self.full[where]
            return values.double() if values.is_floating_point() else values
        if self.sample is None:
            return None
        kept = positions(self.size)
        if where is kept:
            return self.sample
        index = torch.searchsorted(kept, where).clamp_(max=SAMPLES - 1)
        return self.sample[index] if bool((kept[index] == where).all()) else None


@lru_cache(maxsize=256)
def positions(size: int) -> torch.Tensor:
    """Ascending positions of the kept elements of a storage: one in each of ``SAMPLES`` equal parts."""
    generator = torch.Generator().manual_seed(size)
    jitter = torch.rand(SAMPLES, dtype=torch.float64, generator=generator, device="cpu")
    steps = torch.arange(SAMPLES, dtype=torch.float64, device="cpu")
    return ((steps + jitter) * (size / SAMPLES)).long().clamp_(max=size - 1)


def locate(
    where: torch.Tensor, offset: int, sizes: Sequence[int], strides: Sequence[int]
) -> tuple[torch.Tensor, tuple[torch.Tensor, ...]] | None:
    """Which positions of a storage a view shows, and where.

    Args:
        where: Positions in the storage.
        offset: First element of the view.
        sizes: Shape of the view.
        strides: Its strides.

    Returns:
        Mask over ``where``, and for those inside the index along each axis; None for a view that repeats elements.
    """
    axes = sorted(range(len(sizes)), key=lambda axis: (strides[axis], sizes[axis]), reverse=True)
    rest = where - offset
    inside = rest >= 0
    index: dict[int, torch.Tensor] = {}
    for axis in axes:
        if sizes[axis] == 1:
            index[axis] = torch.zeros_like(rest)
            continue
        if strides[axis] == 0:
            return None
        along = rest.div(strides[axis], rounding_mode="floor")
        inside &= along < sizes[axis]
        index[axis] = along
        rest = rest - along * strides[axis]
    inside &= rest == 0
    return inside, tuple(index[axis][inside] for axis in range(len(sizes)))


def draw(law: Law, count: int, generator: torch.Generator) -> torch.Tensor | None:
    """Values of a law, one from each of ``count`` equal shares of its probability in random order.

    None for a law that values cannot be drawn from one by one.
    """
    if law.value is not None:
        return torch.full((count,), law.value, dtype=torch.float64, device="cpu")
    if law.family not in {Family.NORMAL, Family.UNIFORM, Family.TRUNCATED} or law.zeros or not law.draws:
        return None
    order = torch.randperm(count, generator=generator, device="cpu")
    share = (order + torch.rand(count, dtype=torch.float64, generator=generator, device="cpu")) / count
    if law.family is Family.UNIFORM:
        return law.low + (law.high - law.low) * share
    if law.family is Family.NORMAL:
        quantiles: torch.Tensor = torch.special.ndtri(share.clamp_(min=1e-12))
        return law.mean + math.sqrt(law.second) * quantiles
    return None
