"""Tensors that are written part by part: ``out[:, t] = h`` in a loop, ``x[:, :n] += y``, and their functional forms."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch

from initcheck.graph import Op, Value
from initcheck.sources.torch.lowering.bound import NotUnderstoodError
from initcheck.sources.torch.lowering.known import Activation, View

if TYPE_CHECKING:
    from collections.abc import Mapping

    from initcheck.sources.torch.lowering.bound import Bound
    from initcheck.sources.torch.lowering.builder import Builder
    from initcheck.sources.torch.lowering.known import Known

__all__ = ["HANDLERS", "Part", "Pieces", "put", "viewed"]


_SAME_ORDER = frozenset({"_unsafe_view", "alias", "detach", "expand", "narrow", "slice", "view", "view_as"})
"""Views that are all of what they are taken of, in its order, where they have its shape; a transpose is not."""


@dataclass(frozen=True, slots=True)
class Part:
    """Which part of its base a view is.

    Attributes:
        base: Name of the tensor whose memory it is.
        known: Whether the other fields say which part.
        axis: Axis of the base along which it is a part, None for the whole.
        start: First entry along the axis.
        stop: Entry after the last.
    """

    base: str
    known: bool = True
    axis: int | None = None
    start: int = 0
    stop: int = 0


def part_of(kind: str, shape: tuple[int, ...], arguments: Mapping[str, Any]) -> tuple[int, int, int] | None:
    """Axis, first entry and entry after the last that an indexing operator picks; None where it is no one range.

    Args:
        kind: ``select``, ``slice`` or ``narrow``, without namespace.
        shape: Of what is indexed.
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


def viewed(
    kind: str, source: Part, shape: tuple[int, ...], result: tuple[int, ...], arguments: Mapping[str, Any]
) -> Part:
    """Part of the base that a view of a view is.

    Args:
        kind: The operator that made the view, without namespace.
        source: Part that it was taken of.
        shape: Shape of that.
        result: Shape of the view.
        arguments: Of the operator by name.
    """
    if not source.known or (kind in _SAME_ORDER and shape == result):
        return source
    part = part_of(kind, shape, arguments)
    if part is None or source.axis is not None:
        return Part(source.base, known=False)
    return Part(source.base, True, *part)


@dataclass(frozen=True, slots=True)
class Pieces:
    """A tensor as what was placed in it along one axis, over what it was before.

    Attributes:
        before: What it was.
        shape: Its shape.
        axis: The axis.
        placed: First entry, entry after the last and name in the graph of every piece, in order.
    """

    before: Known
    shape: tuple[int, ...]
    axis: int
    placed: tuple[tuple[int, int, str], ...] = ()

    def with_piece(self, call: Bound, build: Builder, part: Part, value: Known, dtype: str) -> Pieces | None:
        """With one more, in place of one at the same place; None where it overlaps others."""
        others = [piece for piece in self.placed if piece[:2] != (part.start, part.stop)]
        if any(start < part.stop and part.start < stop for start, stop, _ in others):
            return None
        shape = self._range(part.start, part.stop)
        name = build.activation(call, value)
        if build.values[name].shape != shape:
            result = Value(shape, dtype)
            name = build.emit(call, Op.RESHAPE, (name,), (build.fresh(f"{part.base}:piece"),), result=result)
        return replace(self, placed=tuple(sorted([*others, (part.start, part.stop, name)])))

    def assemble(self, call: Bound, build: Builder, wanted: str, dtype: str) -> Activation:
        """The whole tensor as a value of the graph.

        Raises:
            NotUnderstoodError: If what was there before has no name in the graph.
        """
        names, at = [], 0
        for start, stop, name in (*self.placed, (self.shape[self.axis], self.shape[self.axis], "")):
            if at < start:
                names.append(self._rest(call, build, at, start, dtype))
            names += [name] if name else []
            at = stop
        target = build.fresh(wanted)
        if len(names) > 1:
            build.emit(call, Op.CONCAT, names, (target,), result=Value(self.shape, dtype), axis=self.axis)
        else:
            build.emit(call, Op.IDENTITY, names, (target,), result=Value(self.shape, dtype))
        build.pieces[target] = self
        return Activation(target)

    def _rest(self, call: Bound, build: Builder, start: int, stop: int, dtype: str) -> str:
        """Entries that nothing was placed on."""
        if isinstance(self.before, torch.Tensor):
            return build.operand(self.before.narrow(self.axis, start, stop - start))
        if isinstance(self.before, View):
            return build.operand(self.before.moved(torch.narrow, self.axis, start, stop - start))
        name = build.operand(self.before)
        result = Value(self._range(start, stop), dtype)
        target = build.fresh(f"{name}:rest")
        return build.emit(
            call,
            Op.SLICE,
            (name,),
            (target,),
            result=result,
            layer="slice",
            axes=(self.axis,),
            dropped=(),
            starts=(start,),
        )

    def _range(self, start: int, stop: int) -> tuple[int, ...]:
        return (*self.shape[: self.axis], stop - start, *self.shape[self.axis + 1 :])


def put(call: Bound, build: Builder, before: Known, part: Part, value: Known, dtype: str) -> Activation:
    """A tensor after something was written on a part of it.

    Args:
        call: The call that writes.
        build: State of the lowering.
        before: The tensor.
        part: The part.
        value: What is written.
        dtype: Type of its elements.

    Raises:
        NotUnderstoodError: If the part is no range, or overlaps what was written earlier.
    """
    if not part.known or part.axis is None:
        raise NotUnderstoodError
    earlier = build.pieces.get(before.name) if isinstance(before, Activation) else None
    if earlier is None or earlier.axis != part.axis:
        earlier = Pieces(before, build.shape(before), part.axis)
    pieces = earlier.with_piece(call, build, part, value, dtype)
    if pieces is None:
        raise NotUnderstoodError
    return pieces.assemble(call, build, f"{part.base}:written", dtype)


def _scattered(call: Bound, build: Builder) -> None:
    """select_scatter and slice_scatter: a copy in which a part is replaced."""
    before = call["self"]
    kind = call.call.op.rpartition("::")[2]
    place = part_of(kind, build.shape(before), call.arguments)
    if place is None:
        raise NotUnderstoodError
    build.known[call.output] = put(call, build, before, Part(call.output, True, *place), call["src"], call.result.dtype)


HANDLERS = {"select_scatter": _scattered, "slice_scatter": _scattered}
