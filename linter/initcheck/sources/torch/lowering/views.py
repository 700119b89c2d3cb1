"""Which part of whose memory a view is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["Part", "Range", "Step", "ranges_of"]

Range = tuple[int, int, int]
"""Axis, first entry along it, entry after the last."""

_SAME_ORDER = frozenset({"_unsafe_view", "alias", "detach", "expand", "narrow", "slice", "view", "view_as"})
"""Views that are all of what they are taken of, in its order, where they have its shape; a transpose is not."""

_PARTS = frozenset({"chunk", "split", "split_with_sizes", "tensor_split", "unbind", "unsafe_chunk", "unsafe_split"})
"""Operators whose results lie one behind the other."""


@dataclass(frozen=True, slots=True)
class Step:
    """A view of a tensor.

    Attributes:
        name: Name of the view.
        source: Name of what it was taken of.
        range: The one range that it is; None for all of it, in its order or another.
        same_order: Whether it is all of it in its order.
    """

    name: str
    source: str
    range: Range | None
    same_order: bool = False


@dataclass(frozen=True, slots=True)
class Part:
    """What of its base a view is.

    Attributes:
        base: Name of the tensor whose memory it is.
        steps: Views of views that lead to it.
    """

    base: str
    steps: tuple[Step, ...] = ()

    @property
    def is_whole(self) -> bool:
        """Whether it is all of the base, in its order."""
        return all(step.same_order for step in self.steps)

    @property
    def range(self) -> Range | None:
        """The one range of the base that it is, None for all of it or where that cannot be said."""
        found = [step.range for step in self.steps if not step.same_order]
        return found[0] if len(found) == 1 else None

    def is_apart_from(self, other: Part) -> bool:
        """Whether two views of one base surely share no entry: they are different ranges of one view."""
        for mine, theirs in zip(self.steps, other.steps, strict=False):
            if mine.source != theirs.source:
                return False
            one, two = mine.range, theirs.range
            if one is not None and two is not None and one[0] == two[0] and (one[2] <= two[1] or two[2] <= one[1]):
                return True
            if mine.name != theirs.name:
                return False
        return False


def ranges_of(
    kind: str, shape: tuple[int, ...], results: Sequence[tuple[int, ...]], arguments: Mapping[str, Any]
) -> list[tuple[Range | None, bool]]:
    """For each view that an operator makes: its range, and whether it is all there is in its order.

    Args:
        kind: The operator, without namespace.
        shape: Shape of what is viewed.
        results: Shapes of the views.
        arguments: Of the operator by name.
    """
    if kind in _SAME_ORDER and len(results) == 1 and results[0] == shape:
        return [(None, True)]
    dim = arguments.get("dim", 0)
    if kind in _PARTS and shape and isinstance(dim, int):
        axis, at = dim % len(shape), 0
        found: list[tuple[Range | None, bool]] = []
        for result in results:
            stop = at + (1 if kind == "unbind" else result[axis])
            found.append(((axis, at, stop), False))
            at = stop
        return found
    where = range_of(kind, shape, arguments)
    return [(where, False) for _ in results]


def range_of(kind: str, shape: tuple[int, ...], arguments: Mapping[str, Any]) -> Range | None:
    """The range that an indexing operator picks, None where it is no one range.

    Args:
        kind: ``select``, ``slice`` or ``narrow`` and their functional forms, without namespace.
        shape: Shape of what is indexed.
        arguments: Of the operator by name.
    """
    numbers = [arguments.get(name) for name in ("dim", "index", "start", "end", "step", "length")]
    if not shape or any(number is not None and not isinstance(number, int) for number in numbers):
        return None
    dim, index, start, end, step, length = numbers
    axis = (dim or 0) % len(shape)
    size = shape[axis]
    if kind.startswith("select") and index is not None:
        first = index % max(size, 1)
        return axis, first, first + 1
    if kind == "narrow" and start is not None and length is not None:
        return axis, start % max(size, 1), start % max(size, 1) + length
    if kind.startswith("slice") and step in {None, 1}:
        first, last, _ = slice(start, end).indices(size)
        return axis, first, max(first, last)
    return None
