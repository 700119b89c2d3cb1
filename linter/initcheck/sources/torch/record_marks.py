"""Which law an operation leaves in which part of what it wrote."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
from torch.utils._pytree import tree_map

from initcheck.sources.torch.record_law import Law, constant
from initcheck.sources.torch.record_regions import CLOUDED, GARBAGE, Absence, Mark, Regions
from initcheck.sources.torch.record_rules import CHANGES, CREATIONS, PRESERVING, created, elementwise, is_empty

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from initcheck.sources.torch.record_content import Content, Contents
    from initcheck.sources.torch.record_schema import Operation

__all__ = ["Marker", "Outcome"]

Outcome = Any
"""A ``Mark`` for all of the target, a function from old marks to new ones, or the ``Regions`` of the whole storage."""

_REORDERING = frozenset({"flip", "roll"})
_INTEGERS = frozenset({torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64, torch.bool})


class Marker:
    """Finds the marks of what operations write.

    Args:
        contents: What is known of each storage.
    """

    def __init__(self, contents: Contents) -> None:
        self._contents = contents
        self._draws = itertools.count(1)

    def next_draw(self) -> int:
        """Number of a draw that happens now."""
        return next(self._draws)

    def mark(self, tensor: torch.Tensor) -> Mark:
        """Mark of an element anywhere in a tensor."""
        content = self._contents.find(tensor)
        return content.mark(tensor) if content is not None else None

    def is_absent(self, tensor: torch.Tensor) -> bool:
        """Whether part of a tensor was never written."""
        return isinstance(self.mark(tensor), Absence)

    def is_copy(self, source: torch.Tensor, target: torch.Tensor) -> bool:
        """Whether a copy of one tensor into another makes all of the target's storage that of the source."""
        content = self._contents.find(source)
        floats = target.is_floating_point() and source.is_floating_point()
        return floats and content is not None and self._is_same_order(content, source, target)

    def outcome(
        self,
        operation: Operation,
        func: Any,
        bound: Mapping[str, Any],
        read: Sequence[torch.Tensor],
        target: torch.Tensor,
    ) -> Outcome:
        """What an operation leaves in one of its targets.

        Args:
            operation: What ran.
            func: Its overload.
            bound: Its arguments by name.
            read: Tensors whose values it depends on.
            target: A tensor that it wrote.
        """
        if is_empty(operation.name):
            return GARBAGE
        if not target.is_floating_point() and target.dtype not in _INTEGERS:
            return None
        if operation.name in CREATIONS:
            return self._created(operation.name, bound, target)
        if operation.name in {"cat", "stack"}:
            return self._joined(operation.name, bound, target)
        marks = [self.mark(tensor) for tensor in read]
        if operation.stem in CHANGES and target.is_floating_point():
            return self._changed(operation, bound, target)
        if any(isinstance(mark, Absence) for mark in marks) and operation.name not in PRESERVING:
            return GARBAGE if all(mark is GARBAGE for mark in marks) else CLOUDED
        if operation.is_pointwise and operation.name not in PRESERVING:
            return self._constant(func, bound, read, marks, target)
        if operation.name in PRESERVING and read:
            return self._preserved(read[-1], target)
        if operation.name in _REORDERING and isinstance(marks[0], Law) and marks[0].alike:
            return marks[0]
        return None

    def _created(self, name: str, bound: Mapping[str, Any], target: torch.Tensor) -> Mark:
        if name == "fill_":
            law = self._operand(bound["value"])
            return _cast(law, target) if isinstance(law, Law) and law.value is not None else None
        law = created(name, bound, target.shape, self.next_draw())
        drawn = isinstance(law, Law) and law.value is None
        return None if drawn and not target.is_floating_point() else _cast(law, target)

    def _changed(self, operation: Operation, bound: Mapping[str, Any], target: torch.Tensor) -> Outcome:
        """Outcome of arithmetic that ``elementwise`` knows; other operands must be independent and as large."""
        first, second = bound["self"], bound.get("other")
        tensors = [value for value in (first, second) if isinstance(value, torch.Tensor)]
        if any(self._is_repeated(tensor, target) for tensor in tensors):
            return CLOUDED if any(self.is_absent(tensor) for tensor in tensors) else None
        swapped = not isinstance(first, torch.Tensor)
        base: torch.Tensor = second if swapped else first  # type: ignore[assignment]
        other = [self._operand(first if swapped else second)] if len(bound) > 1 and "other" in bound else []

        def change(mark: Mark) -> Mark:
            if isinstance(mark, Absence):
                return mark
            if any(isinstance(operand, Absence) for operand in other):
                return CLOUDED
            return elementwise(operation.stem, [*other, mark] if swapped else [mark, *other], bound)

        if operation.mutated:
            return change
        content = self._contents.find(base)
        if content is not None and self._is_same_order(content, base, target):
            return content.regions.map(change)
        return change(self.mark(base))

    def _preserved(self, source: torch.Tensor, target: torch.Tensor) -> Outcome:
        """Outcome of a copy, part by part where source and target are whole storages."""
        if self._is_repeated(source, target):
            return None
        if target.is_floating_point() != source.is_floating_point():
            mark = self.mark(source)
            return _cast(mark, target) if isinstance(mark, Law) and mark.value is not None else None
        content = self._contents.find(source)
        if content is not None and self._is_same_order(content, source, target):
            return content.regions.map(lambda mark: _cast(mark, target))
        return _cast(self.mark(source), target)

    def _joined(self, name: str, bound: Mapping[str, Any], target: torch.Tensor) -> Regions | None:
        """Regions of a concatenation."""
        content = self._contents.of(target)
        if not self._is_whole(target):
            return None
        regions = Regions(content.regions.size, None)
        dim, start = bound.get("dim", 0), 0
        for tensor in bound["tensors"]:
            if name == "cat" and tensor.dim() != target.dim():
                continue
            length = 1 if name == "stack" else tensor.shape[dim]
            runs = content.runs(target.narrow(dim, start, length))
            regions.paint(runs, _cast(self.mark(tensor), target) if runs is not None and runs.count else None)
            start += length
        return regions

    def _constant(
        self,
        func: Any,
        bound: Mapping[str, Any],
        read: Sequence[torch.Tensor],
        marks: Sequence[Mark],
        target: torch.Tensor,
    ) -> Mark:
        """A function of constants is a constant, computed on one element."""
        values = [mark.value if isinstance(mark, Law) else None for mark in marks]
        if not read or any(value is None for value in values) or not target.is_floating_point():
            return None
        known = {
            id(tensor): torch.tensor(value, dtype=tensor.dtype, device="cpu")
            for tensor, value in zip(read, values, strict=True)
        }
        arguments = tree_map(lambda leaf: known.get(id(leaf), leaf), dict(bound))
        try:
            return constant(float(func(**arguments)))
        except (RuntimeError, TypeError, ValueError):
            return None

    def _operand(self, value: object) -> Mark:
        if isinstance(value, torch.Tensor):
            return self.mark(value)
        return constant(float(value)) if isinstance(value, (int, float)) else None

    def _is_whole(self, tensor: torch.Tensor) -> bool:
        content: Content = self._contents.of(tensor)
        return content.is_whole(tensor)

    def _is_same_order(self, content: Content, source: torch.Tensor, target: torch.Tensor) -> bool:
        """Whether two tensors are whole storages of one size, so that regions of one are those of the other."""
        return source.numel() == target.numel() and content.is_whole(source) and self._is_whole(target)

    def _is_repeated(self, tensor: torch.Tensor, target: torch.Tensor) -> bool:
        """Whether drawn elements are fewer than those of the target, so that some are copies of others."""
        content = self._contents.find(tensor)
        mark = self.mark(tensor)
        if content is None or not isinstance(mark, Law) or not mark.draws:
            return False
        runs = content.runs(tensor)
        return runs is None or runs.count < target.numel()


def _cast(mark: Mark, target: torch.Tensor) -> Mark:
    """A law in the target's type: a constant and bounds are rounded, moments hardly feel it."""
    if not isinstance(mark, Law):
        return mark
    bounds = torch.tensor([mark.low, mark.high], dtype=torch.float64, device="cpu").to(target.dtype)
    low, high = (float(bound) for bound in bounds)
    return constant(low) if mark.value is not None else replace(mark, low=low, high=high)
