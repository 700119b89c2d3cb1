"""One-pass statistics of weight tensors, in blocks small enough for the cache.

Raw power sums of a chunk cost five dot products and are right while the mean is small beside the deviations, which
is how weights are drawn. Where they would cancel, overflow or underflow (gamma around one, values of 1e30), the
chunk is done again in float64 about its own mean. Chunks are joined by the pairwise formulas of Pébay, "Formulas for
robust, one-pass parallel computation of covariances and arbitrary-order statistical moments" (Sandia report
2008-6212, section 2), which do not cancel.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

__all__ = ["Moments", "array_moments", "moments", "widen"]

Array = npt.NDArray[Any]

CHUNK = 1 << 16
"""Elements per chunk: two float32 buffers of this size stay in the second-level cache."""

WIDE_CHUNK = 1 << 13
"""Elements per chunk of float64, which BLAS would spread over threads above 10 000 at several times the CPU time."""

SAFE_PEAK = {np.dtype(np.float32): (1e-6, 1e8), np.dtype(np.float64): (1e-60, 1e60)}
"""Range of the largest magnitude in which fourth powers of a chunk neither overflow nor lose their bits."""


@dataclass(frozen=True, slots=True)
class Moments:
    """Moments of the finite elements of a tensor.

    Attributes:
        count: Number of finite elements.
        mean: Their mean; nan without any.
        square_sum: Sum of squared deviations from the mean.
        cube_sum: Sum of cubed deviations.
        fourth_sum: Sum of fourth powers of deviations.
        minimum: Smallest of them; nan without any.
        maximum: Largest of them; nan without any.
        zeros: How many are exactly zero.
        nonfinite: Number of elements left out because they are nan or infinite.
    """

    count: int = 0
    mean: float = math.nan
    square_sum: float = 0.0
    cube_sum: float = 0.0
    fourth_sum: float = 0.0
    minimum: float = math.nan
    maximum: float = math.nan
    zeros: int = 0
    nonfinite: int = 0

    @property
    def size(self) -> int:
        """Number of elements, finite or not."""
        return self.count + self.nonfinite

    @property
    def variance(self) -> float:
        """Central second moment (divided by the count, not by count - 1); nan without finite elements."""
        return self.square_sum / self.count if self.count else math.nan

    @property
    def fourth_moment(self) -> float:
        """Central fourth moment; nan without finite elements."""
        return self.fourth_sum / self.count if self.count else math.nan

    @property
    def kurtosis(self) -> float:
        """Fourth central moment over the squared variance; nan where the variance is zero or its square no float64."""
        square = self.variance * self.variance
        return self.fourth_moment / square if 0.0 < square < math.inf else math.nan

    def __add__(self, other: Moments) -> Moments:
        """Moments of the two sets of elements together."""
        if not self.count or not other.count:
            filled = self if self.count else other
            return Moments(
                filled.count,
                filled.mean,
                filled.square_sum,
                filled.cube_sum,
                filled.fourth_sum,
                filled.minimum,
                filled.maximum,
                filled.zeros,
                self.nonfinite + other.nonfinite,
            )
        n, m = float(self.count), float(other.count)
        total = n + m
        d = other.mean - self.mean
        share = d * n * m / total
        square = self.square_sum + other.square_sum + d * share
        cube = (
            self.cube_sum
            + other.cube_sum
            + d * share * d * ((n - m) / total)
            + 3.0 * d * (n * other.square_sum - m * self.square_sum) / total
        )
        fourth = (
            self.fourth_sum
            + other.fourth_sum
            + d * d * d * share * ((n * n - n * m + m * m) / (total * total))
            + 6.0 * d * d * ((n / total) ** 2 * other.square_sum + (m / total) ** 2 * self.square_sum)
            + 4.0 * d * (n * other.cube_sum - m * self.cube_sum) / total
        )
        return Moments(
            self.count + other.count,
            self.mean + d * (m / total),
            square,
            cube,
            fourth,
            min(self.minimum, other.minimum),
            max(self.maximum, other.maximum),
            self.zeros + other.zeros,
            self.nonfinite + other.nonfinite,
        )


def moments(blocks: Iterable[Array], dtype: str = "") -> Moments:
    """Moments of a tensor that arrives in blocks; no block is kept.

    Args:
        blocks: Arrays of any shape, in any order; floats, integers or booleans. A 16-bit float may come as its raw
            ``uint16`` view.
        dtype: ``"float16"`` or ``"bfloat16"`` when ``uint16`` blocks are bit patterns; otherwise the arrays' own
            dtype counts.
    """
    total = Moments()
    with np.errstate(invalid="ignore"):
        for block in blocks:
            for part in _chunks(block.reshape(-1), dtype):
                total = total + part if total.size else part
    return total


def array_moments(array: Array, dtype: str = "") -> Moments:
    """Moments of one array; ``dtype`` as in :func:`moments`."""
    return moments((array,), dtype)


def widen(array: Array, dtype: str = "") -> Array:
    """The same numbers as float32 or float64: bit patterns decoded, integers and booleans converted.

    Args:
        array: Any shape.
        dtype: ``"float16"`` or ``"bfloat16"`` when a ``uint16`` array holds bit patterns.

    Returns:
        ``array`` itself where it is float32 or float64 already.
    """
    if array.dtype in SAFE_PEAK:
        return array
    if array.dtype == np.uint16 and dtype == "bfloat16":
        return (array.astype(np.uint32) << np.uint32(16)).view(np.float32)
    if array.dtype == np.uint16 and dtype == "float16":
        return array.view(np.float16).astype(np.float32)
    return array.astype(np.float32 if array.dtype == np.float16 else np.float64)


def _chunks(flat: Array, dtype: str) -> Iterator[Moments]:
    """Moments of each chunk of a one-dimensional array."""
    half = flat.dtype == np.float16 or (flat.dtype == np.uint16 and dtype == "float16")
    narrow = half or flat.dtype == np.float32 or (flat.dtype == np.uint16 and dtype == "bfloat16")
    step = CHUNK if narrow else WIDE_CHUNK
    square = np.empty(min(flat.size, step), np.float32 if narrow else np.float64)
    for start in range(0, flat.size, step):
        chunk = flat[start : start + step]
        yield _of_chunk(_decode_half(chunk) if half else widen(chunk, dtype), square)


def _decode_half(chunk: Array) -> Array:
    """float16 as float32, twice as fast as a cast: exponent and fraction moved in place, the bias mended by a product.

    Subnormals come out right because the product is exact; what would be 65536 or more was infinite or nan.
    """
    bits = chunk.view(np.int16).astype(np.int32)
    bits <<= 13
    # The sign was carried along by the wider integer; only its topmost copy is wanted.
    bits &= np.int32(-0x70002000)
    values = bits.view(np.float32)
    values *= np.float32(2.0**112)
    if values.size and max(-float(values.min()), float(values.max())) >= 65536.0:
        return chunk.view(np.float16).astype(np.float32)
    return values


def _of_chunk(x: Array, square: Array) -> Moments:
    """Moments of at most ``CHUNK`` elements; ``square`` is room for their squares."""
    low, high = float(x.min()), float(x.max())
    if not (math.isfinite(low) and math.isfinite(high)):
        finite = x[np.isfinite(x)]
        missing = Moments(nonfinite=x.size - finite.size)
        return missing + _of_chunk(finite, square) if finite.size else missing
    n = x.size
    if low == high:
        return Moments(n, low, minimum=low, maximum=high, zeros=0 if low else n)
    zeros = int(np.count_nonzero(np.equal(x, 0.0))) if low <= 0.0 <= high else 0
    peak = max(-low, high)
    smallest, largest = SAFE_PEAK[x.dtype]
    if smallest <= peak <= largest:
        q = np.multiply(x, x, out=square[:n])
        mean = float(x.dot(_ones(x.dtype)[:n])) / n
        second = float(x.dot(x)) / n
        if 4.0 * mean * mean < second:
            third, fourth = float(q.dot(x)) / n, float(q.dot(q)) / n
            mm = mean * mean
            return Moments(
                n,
                mean,
                n * (second - mm),
                n * (third - 3.0 * mean * second + 2.0 * mm * mean),
                n * (fourth - 4.0 * mean * third + 6.0 * mm * second - 3.0 * mm * mm),
                low,
                high,
                zeros,
            )
    y = x.astype(np.float64) / peak
    center = float(y.mean())
    y -= center
    q = y * y
    unit = peak * peak
    return Moments(
        n,
        center * peak,
        float(q.sum()) * unit,
        float((q * y).sum()) * unit * peak,
        float((q * q).sum()) * unit * unit,
        low,
        high,
        zeros,
    )


@cache
def _ones(dtype: np.dtype[Any]) -> Array:
    """A chunk of ones: ``x.dot(ones)`` is the fastest float32 sum and as good as a pairwise one over a chunk."""
    return np.ones(CHUNK, dtype)
