"""Tensors that are written part by part: ``out[:, t] = h`` in a loop, ``x[:, :n] += y``, and their functional forms."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch

from initcheck.graph import Op, Value
from initcheck.sources.torch.lowering.bound import NotUnderstoodError
from initcheck.sources.torch.lowering.known import Activation, View
from initcheck.sources.torch.lowering.views import range_of

if TYPE_CHECKING:
    from initcheck.sources.torch.lowering.bound import Bound
    from initcheck.sources.torch.lowering.builder import Builder
    from initcheck.sources.torch.lowering.known import Known
    from initcheck.sources.torch.lowering.views import Range

__all__ = ["HANDLERS", "Pieces", "put", "take"]


@dataclass(frozen=True, slots=True)
class Pieces:
    """A tensor as what was placed in it along one axis, over what it was before.

    Attributes:
        before: What it was.
        value: Its shape and type.
        axis: The axis.
        placed: First entry, entry after the last and name in the graph of every piece, in order.
    """

    before: Known
    value: Value
    axis: int
    placed: tuple[tuple[int, int, str], ...] = ()

    def with_piece(self, call: Bound, build: Builder, start: int, stop: int, piece: Known) -> Pieces:
        """With one more, in place of one at the same place.

        Raises:
            NotUnderstoodError: If it overlaps others.
        """
        others = [placed for placed in self.placed if placed[:2] != (start, stop)]
        if any(first < stop and start < last for first, last, _ in others):
            raise NotUnderstoodError
        name, part = build.activation(call, piece), self._range(start, stop)
        if build.values[name].shape != part.shape:
            name = build.emit(call, Op.RESHAPE, (name,), (build.fresh(f"{name}:piece"),), result=part)
        return replace(self, placed=tuple(sorted([*others, (start, stop, name)])))

    def assemble(self, call: Bound, build: Builder, wanted: str) -> Activation:
        """The whole tensor as a value of the graph.

        Raises:
            NotUnderstoodError: If what was there before has no name in the graph.
        """
        names, at = [], 0
        end = (self.value.shape or ())[self.axis]
        for start, stop, name in (*self.placed, (end, end, "")):
            if at < start:
                names.append(self._rest(call, build, at, start))
            names += [name] if name else []
            at = stop
        target = build.fresh(wanted)
        if len(names) > 1:
            build.emit(call, Op.CONCAT, names, (target,), result=self.value, axis=self.axis)
        else:
            build.emit(call, Op.IDENTITY, names, (target,), result=self.value)
        build.pieces[target] = self
        return Activation(target)

    def _rest(self, call: Bound, build: Builder, start: int, stop: int) -> str:
        """Entries that nothing was placed on."""
        if isinstance(self.before, torch.Tensor):
            return build.operand(self.before.narrow(self.axis, start, stop - start))
        if isinstance(self.before, View):
            return build.operand(self.before.moved(torch.narrow, self.axis, start, stop - start))
        name = build.operand(self.before)
        target = build.fresh(f"{name}:rest")
        where: dict[str, Any] = {"axes": (self.axis,), "dropped": (), "starts": (start,)}
        result = self._range(start, stop)
        return build.emit(call, Op.SLICE, (name,), (target,), result=result, layer="slice", **where)

    def _range(self, start: int, stop: int) -> Value:
        shape = self.value.shape or ()
        return Value((*shape[: self.axis], stop - start, *shape[self.axis + 1 :]), self.value.dtype)


def put(call: Bound, build: Builder, before: Known, place: Range, piece: Known, *, name: str) -> Activation:
    """A tensor after something was written on a range of it.

    Args:
        call: The call that writes.
        build: State of the lowering.
        before: The tensor.
        place: The range.
        piece: What is written.
        name: What the result is named after.

    Raises:
        NotUnderstoodError: If the range overlaps what was written earlier.
    """
    axis, start, stop = place
    earlier = build.pieces.get(before.name) if isinstance(before, Activation) else None
    if earlier is None or earlier.axis != axis:
        earlier = Pieces(before, Value(build.shape(before), call.result.dtype), axis)
    return earlier.with_piece(call, build, start, stop, piece).assemble(call, build, f"{name}:written")


def take(call: Bound, build: Builder, name: str, place: Range, target: str, value: Value) -> None:
    """Emit a range of a value: of the piece that it lies in, where the value was written part by part.

    Args:
        call: The call that reads.
        build: State of the lowering.
        name: The value.
        place: The range.
        target: Name of the result.
        value: Its shape, with or without the axis, and type.
    """
    axis, start, stop = place
    pieces = build.pieces.get(name)
    for first, last, piece in pieces.placed if pieces is not None and pieces.axis == axis else ():
        if first <= start and stop <= last:
            name, start, stop = piece, start - first, stop - first
            break
    shape = build.values[name].shape or ()
    dropped = (axis,) if len(shape) > len(value.shape or ()) else ()
    if (start, stop) != (0, shape[axis]):
        where: dict[str, Any] = {"axes": (axis,), "dropped": dropped, "starts": (start,)}
        build.emit(call, Op.SLICE, (name,), (target,), result=value, layer="slice", **where)
    else:
        build.emit(call, Op.RESHAPE if dropped else Op.IDENTITY, (name,), (target,), result=value)


def _scattered(call: Bound, build: Builder) -> None:
    """select_scatter and slice_scatter: a copy in which a part is replaced."""
    before = call["self"]
    place = range_of(call.call.op.rpartition("::")[2], build.shape(before), call.arguments)
    if place is None:
        raise NotUnderstoodError
    build.known[call.output] = put(call, build, before, place, call["src"], name=call.output)


HANDLERS = {"select_scatter": _scattered, "slice_scatter": _scattered}
