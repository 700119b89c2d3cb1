"""Facts about the rows of a weight: norms, duplicates, orthogonality, identity.

A row is the weights of one output unit. The work per tensor is bounded (a fraction of what its moments cost),
because most facts show in a few thousand elements: only rows that agree in a few elements are compared in full.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from initcheck.graph import RowFacts
from initcheck.statistics import Moments, widen

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

__all__ = ["NORM_ROWS", "RowSample", "is_identity", "is_orthogonal", "row_facts"]

Array = npt.NDArray[Any]

KEEP_LIMIT = 1 << 22
"""Elements kept of a tensor that arrives in several blocks; of a larger one, evenly spaced runs of its first axis."""

RUNS = 64
"""Number of those runs: enough to meet every part of a stacked tensor."""

NORM_ROWS = 256
"""Rows whose norms are compared: their coefficient of variation is known to one part in sqrt(2 · 256)."""

NORM_ELEMENTS = 256
"""Elements of each of them that are looked at."""

GRAM_ROWS = 8
"""Rows whose inner products are formed: 28 of them vanish together in no random matrix."""

HASH_KEYS = np.array((0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9, 0xD6E8FEB86659FD93), dtype=np.uint64)
"""Odd multipliers, one per element by which rows are told apart before any is compared in full."""


class RowSample:
    """The part of a tensor that row facts are taken from, gathered while its blocks pass by.

    A tensor that arrives as one block is referred to, not copied, so the block must stay as it is until the facts
    are taken.

    Args:
        shape: Stored shape, at least one axis.
        limit: Elements to keep at most of a tensor in several blocks.
    """

    def __init__(self, shape: Sequence[int], limit: int = KEEP_LIMIT) -> None:
        self.shape = tuple(shape)
        self._size = math.prod(self.shape)
        self._length = self._size // self.shape[0] if self._size else 0
        self._kept: Array | None = None
        self._spans = self._plan(limit)

    @property
    def whole(self) -> bool:
        """Whether nothing was left out."""
        return self._kept is not None and self._kept.size == self._size

    @property
    def array(self) -> Array | None:
        """What was kept, of the tensor's shape but for a shorter first axis; None without a complete row."""
        if self._kept is None or not self._kept.size:
            return None
        return self._kept.reshape(-1, *self.shape[1:])

    def watch(self, blocks: Iterable[Array]) -> Iterator[Array]:
        """Yield the blocks unchanged and keep what is needed of them.

        Args:
            blocks: Consecutive parts of the tensor in storage order; each may be overwritten once the next is asked
                for.
        """
        start = 0
        for block in blocks:
            flat = block.reshape(-1)
            if flat.size == self._size:
                self._kept = flat
            else:
                self._copy(flat, start)
            start += flat.size
            yield block

    def _plan(self, limit: int) -> list[tuple[int, int]]:
        """Ranges of elements to keep: everything, or evenly spaced runs of whole rows of the first axis."""
        if self._size <= limit:
            return [(0, self._size)]
        rows = limit // self._length
        runs = min(rows, RUNS)
        if not runs:
            return []
        starts = [self.shape[0] * run // runs * self._length for run in range(runs)]
        return [(start, start + rows // runs * self._length) for start in starts]

    def _copy(self, flat: Array, start: int) -> None:
        """Copy the planned elements of a block whose first element is number ``start``."""
        if self._kept is None:
            self._kept = np.zeros(sum(stop - first for first, stop in self._spans), flat.dtype)
        position = 0
        for first, stop in self._spans:
            low, high = max(first, start), min(stop, start + flat.size)
            if low < high:
                into = position + low - first
                self._kept[into : into + high - low] = flat[low - start : high - start]
            position += stop - first


def row_facts(sample: Array, shape: Sequence[int], out_axis: int, moments: Moments, dtype: str = "") -> RowFacts:
    """Norms and duplicates of the rows of a weight.

    Norms are those of the first ``NORM_ELEMENTS`` elements of at most ``NORM_ROWS`` evenly spaced rows. Their
    expected variation is sqrt(Var[w²] / elements) / (2 E[w²]), the delta method on a mean of independent squares.
    Rows count as equal when every kept element is.

    Args:
        sample: The tensor, or runs of its first axis (``RowSample.array``).
        shape: Stored shape of the whole tensor, two or more axes.
        out_axis: The axis of output units.
        moments: Moments of the whole tensor.
        dtype: As in :func:`initcheck.statistics.widen`.
    """
    count = shape[out_axis]
    units = sample.shape[out_axis]
    if moments.nonfinite == 0 and moments.minimum == moments.maximum:
        return RowFacts(count, 1, units, 0.0, 0.0)
    table = sample.reshape(math.prod(sample.shape[:out_axis]), units, -1)
    variation = expected = math.nan
    if moments.nonfinite == 0:
        chosen = slice(None) if units <= NORM_ROWS else np.arange(NORM_ROWS) * units // NORM_ROWS
        rows = widen(_elements(table, chosen, NORM_ELEMENTS), dtype)
        rows = _in_range(rows, max(-moments.minimum, moments.maximum))
        norms = np.sqrt(np.einsum("ij,ij->i", rows, rows)).astype(np.float64)
        mean = float(norms.mean())
        variation = float(norms.std(ddof=1)) / mean if mean and len(norms) > 1 else 0.0
        expected = _square_variation(moments) / math.sqrt(rows.shape[1]) / 2.0
    return RowFacts(count, _distinct(table, dtype), units, variation, expected)


def is_orthogonal(sample: Array, whole: bool, dtype: str = "") -> bool:
    """Whether the shorter side of a matrix is orthogonal with equal norms; a tensor is flattened behind its first axis.

    Args:
        sample: The tensor, or runs of its first axis (``RowSample.array``).
        whole: Whether nothing is missing; the columns of a tall matrix are not orthogonal over some of its rows.
        dtype: As in :func:`initcheck.statistics.widen`; 16-bit types are compared more loosely.
    """
    matrix = sample.reshape(sample.shape[0], -1)
    wide = matrix.shape[0] <= matrix.shape[1]
    if min(matrix.shape) < 4 or not (wide or whole):
        return False
    if wide:
        chosen = min(GRAM_ROWS, matrix.shape[0])
        vectors = matrix[np.arange(chosen) * matrix.shape[0] // chosen]
    else:
        vectors = matrix[:, :GRAM_ROWS].T
    rows = widen(vectors, dtype)
    peak = max(-float(rows.min()), float(rows.max()))
    if not 0.0 < peak < math.inf:
        return False
    rows = _in_range(rows, peak)
    gram = rows @ rows.T
    norms = np.diag(gram)
    tolerance = 2e-3 if matrix.dtype.itemsize <= 2 else 1e-4
    return float(np.abs(gram - np.eye(len(gram)) * norms.mean()).max()) < tolerance * float(norms.mean())


def is_identity(array: Array, zeros: int, groups: int = 1, dtype: str = "") -> bool:
    """Whether a weight passes its input through: one positive number on the diagonal, at the centre of a kernel.

    Args:
        array: The whole tensor, (out, in, *kernel).
        zeros: Number of its elements that are zero.
        groups: Groups of a convolution; each has a diagonal of its own.
        dtype: As in :func:`initcheck.statistics.widen`.
    """
    per_group, channels = array.shape[0] // groups, array.shape[1]
    diagonal = min(per_group, channels)
    if zeros == 0 or array.size - zeros != groups * diagonal:
        return False
    unit = (np.arange(groups)[:, None] * per_group + np.arange(diagonal)).reshape(-1)
    center = tuple(side // 2 for side in array.shape[2:])
    values = widen(array[(unit, np.tile(np.arange(diagonal), groups), *center)], dtype)
    return bool(values[0] > 0) and bool((values == values[0]).all())


def _square_variation(moments: Moments) -> float:
    """Standard deviation of w² over its mean; sqrt(kurtosis - 1) for a mean of zero, nan without a kurtosis."""
    if math.isnan(moments.kurtosis):
        return math.nan
    mean, variance = moments.mean / math.sqrt(moments.variance), moments.variance
    skewness = moments.cube_sum / moments.count / (variance * math.sqrt(variance))
    return math.sqrt(max(moments.kurtosis - 1.0 + 4.0 * mean * (skewness + mean), 0.0)) / (1.0 + mean * mean)


def _in_range(rows: Array, peak: float) -> Array:
    """The rows, in units of their largest magnitude where its square is no float32."""
    return rows if 1e-15 < peak < 1e15 else rows.astype(np.float64) / peak


def _elements(table: Array, units: Array | slice, wanted: int) -> Array:
    """(unit, element) matrix of about ``wanted`` elements of each unit from a (before, unit, behind) table."""
    behind = min(table.shape[2], wanted)
    before = min(table.shape[0], -(-wanted // behind))
    step = max(1, table.shape[0] // before)
    part = table[: step * before : step, :, :behind][:, units]
    return part.transpose(1, 0, 2).reshape(part.shape[1], -1)


def _distinct(table: Array, dtype: str) -> int:
    """Number of different units in a (before, unit, behind) table, zeros of either sign being equal."""
    prints = widen(_elements(table, slice(None), len(HASH_KEYS)), dtype).astype(np.float64)[:, : len(HASH_KEYS)] + 0.0
    hashes = (prints.view(np.uint64) * HASH_KEYS[: prints.shape[1]]).sum(axis=1, dtype=np.uint64)
    ordered = np.sort(hashes)
    repeated = ordered[1:][ordered[1:] == ordered[:-1]]
    if not repeated.size:
        return len(hashes)
    shared = np.flatnonzero(np.isin(hashes, repeated))
    compared = {(widen(table[:, unit], dtype) + 0.0).tobytes() for unit in shared}
    return len(hashes) - len(shared) + len(compared)
