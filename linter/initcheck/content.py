"""Keys by which bit-identical weights are recognised."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import numpy as np

from initcheck.distribution import Family

if TYPE_CHECKING:
    from collections.abc import Iterable

    import numpy.typing as npt

    from initcheck.graph import Parameter

__all__ = ["content_key", "is_draw"]

FEWEST = 64
"""Elements from which equality is no chance, whatever was drawn."""


def is_draw(parameter: Parameter) -> bool:
    """Whether a parameter is a weight of random elements: copies of constants and identities mean nothing."""
    law = parameter.distribution
    drawn = law.family not in {Family.CONSTANT, Family.IDENTITY} and law.size >= FEWEST and law.variance > 0.0
    return drawn and not law.nonfinite and len(parameter.shape) >= 2


def content_key(blocks: Iterable[npt.NDArray[Any]]) -> str:
    """Digest of the bytes of a tensor.

    Args:
        blocks: Its consecutive parts in storage order.
    """
    digest = hashlib.blake2b(digest_size=16)
    for block in blocks:
        digest.update(np.ascontiguousarray(block).data)
    return digest.hexdigest()
