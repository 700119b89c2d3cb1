"""Which part of a storage was written by which law.

A storage is cut into consecutive segments, each with one label. A view of it is a number of runs of equal length, so
that rows, columns, diagonals and chunks are painted and read exactly, whatever the size of the storage.
"""

from __future__ import annotations

import math
from enum import Enum
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from initcheck.sources.torch.record_law import Law

__all__ = ["CLOUDED", "GARBAGE", "Absence", "Mark", "Regions", "Runs", "view_runs"]

MOST_RUNS = 1 << 20
"""Runs of a view that are followed: a column of a vocabulary is a quarter of a million."""

Indices = npt.NDArray[np.int64]


class Absence(Enum):
    """Why there is no value to speak of."""

    UNWRITTEN = 1
    PARTIAL = 2


GARBAGE = Absence.UNWRITTEN
"""The mark of memory that nothing ever wrote."""

CLOUDED = Absence.PARTIAL
"""The mark of what may come from such memory in part, so that even its values tell nothing."""

Mark = Any
"""``Law``, None where no law is known but values would tell, or an ``Absence``."""


class Runs:
    """Elements of a view as runs of consecutive elements of its storage.

    Attributes:
        starts: First element of each run, ascending.
        length: Elements of each run.
    """

    def __init__(self, starts: Indices, length: int) -> None:
        self.starts = starts
        self.length = length

    @property
    def count(self) -> int:
        """Number of elements, each counted once."""
        return len(self.starts) * self.length


def view_runs(offset: int, sizes: Sequence[int], strides: Sequence[int]) -> Runs | None:
    """Runs of a strided view, repeated elements once; None for more than ``MOST_RUNS``."""
    axes = sorted((stride, size) for size, stride in zip(sizes, strides, strict=True) if size != 1 and stride != 0)
    length = 1
    outer: list[tuple[int, int]] = []
    for stride, size in axes:
        if not outer and stride == length:
            length *= size
        else:
            outer.append((stride, size))
    if math.prod(size for _, size in outer) > MOST_RUNS:
        return None
    starts = np.array([offset], np.int64)
    for stride, size in reversed(outer):
        starts = (starts[:, None] + np.arange(size, dtype=np.int64) * stride).reshape(-1)
    if len(starts) > 1:
        starts = np.unique(starts)
        if length > 1 and int(np.diff(starts).min()) < length:
            return None
    return Runs(starts, length)


class Regions:
    """Marks of all elements of a storage.

    Args:
        size: Number of elements.
        mark: Mark of all of them.
    """

    def __init__(self, size: int, mark: Mark) -> None:
        self.size = size
        self._starts: Indices = np.zeros(1, np.int64)
        self._labels: Indices = np.zeros(1, np.int64)
        self._marks: list[Mark] = [mark]

    def is_whole(self, runs: Runs) -> bool:
        """Whether the runs cover everything."""
        return runs.count >= self.size

    def fill(self, mark: Mark) -> None:
        """Give all elements one mark."""
        self._starts = np.zeros(1, np.int64)
        self._labels = np.zeros(1, np.int64)
        self._marks = [mark]

    def read(self, runs: Runs | None = None) -> list[tuple[Mark, int]]:
        """Marks and numbers of elements within the runs; a law that depends on the part is None for a part."""
        if len(self._marks) == 1 and (runs is None or self.is_whole(runs)):
            return [(self._marks[0], self.size)]
        inside = self._counts(runs) if runs is not None else self._totals()
        totals = self._totals()
        return [
            (mark if inside[label] == totals[label] else _part(mark), int(inside[label]))
            for label, mark in enumerate(self._marks)
            if inside[label]
        ]

    def paint(self, runs: Runs | None, mark: Mark) -> None:
        """Give the elements of the runs one mark; None for runs that are not known unsettles everything."""
        if runs is not None and self.is_whole(runs):
            self.fill(mark)
        else:
            self.update(runs, lambda _: mark)

    def update(self, runs: Runs | None, change: Callable[[Mark], Mark]) -> None:
        """Change the mark of each part within the runs."""
        if runs is None:
            self.fill(None)
            return
        if self.is_whole(runs):
            self._marks = [change(mark) for mark in self._marks]
            self._merge()
            return
        totals, inside = self._totals(), self._counts(runs)
        points = np.unique(np.concatenate((self._starts, runs.starts, runs.starts + runs.length)))
        points = points[points < self.size]
        labels = self._labels[np.searchsorted(self._starts, points, "right") - 1]
        run = np.searchsorted(runs.starts, points, "right") - 1
        within = (run >= 0) & (points < runs.starts[np.maximum(run, 0)] + runs.length)
        old = len(self._marks)
        for label in range(old):
            mark = self._marks[label]
            split = 0 < inside[label] < totals[label]
            if split:
                self._marks[label] = _part(mark)
            self._marks.append(change(_part(mark) if split else mark) if inside[label] else None)
        self._starts, self._labels = points, np.where(within, labels + old, labels)
        self._merge()

    def copy(self) -> Regions:
        """The same marks for another storage of this size."""
        other = Regions(self.size, None)
        other._starts, other._labels, other._marks = self._starts, self._labels, list(self._marks)
        return other

    def map(self, change: Callable[[Mark], Mark]) -> Regions:
        """A copy with each mark changed."""
        other = self.copy()
        other.update(Runs(np.zeros(1, np.int64), self.size), change)
        return other

    def _totals(self) -> Indices:
        lengths = np.diff(np.append(self._starts, self.size))
        return np.bincount(self._labels, lengths, len(self._marks)).astype(np.int64)

    def _counts(self, runs: Runs) -> Indices:
        """Elements of each label within the runs."""
        points = np.unique(np.concatenate((self._starts, runs.starts, runs.starts + runs.length)))
        points = points[points < self.size]
        lengths = np.diff(np.append(points, self.size))
        run = np.searchsorted(runs.starts, points, "right") - 1
        within = (run >= 0) & (points < runs.starts[np.maximum(run, 0)] + runs.length)
        labels = self._labels[np.searchsorted(self._starts, points, "right") - 1]
        return np.bincount(labels[within], lengths[within], len(self._marks)).astype(np.int64)

    def _merge(self) -> None:
        """Join labels of equal marks, but not parts of unknown ones that are known apart by their values."""
        unique: dict[Mark, int] = {}
        renamed = np.array([unique.setdefault(mark, len(unique)) for mark in self._marks], np.int64)
        labels = renamed[self._labels]
        keep = np.append(True, labels[1:] != labels[:-1])
        self._starts, labels = self._starts[keep], labels[keep]
        used, self._labels = np.unique(labels, return_inverse=True)
        marks = list(unique)
        self._marks = [marks[label] for label in used]


def _part(mark: Mark) -> Mark:
    """Mark of a part of what had this mark."""
    if mark is None or isinstance(mark, Absence):
        return mark
    law: Law = mark
    return law.part()
