"""Operations that join several values: arithmetic, concatenation, choice."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from initcheck.graph import Op, Value
from initcheck.sources.torch.lowering.bound import Bound, NotUnderstoodError
from initcheck.sources.torch.lowering.known import Activation
from initcheck.sources.torch.lowering.pairs import rotate

if TYPE_CHECKING:
    from initcheck.sources.torch.lowering.builder import Builder

__all__ = ["HANDLERS"]

Handler = Callable[[Bound, "Builder"], None]


def _binary(op: Op, *, swapped: bool = False) -> Handler:
    """A op (alpha b), with broadcasting."""

    def lower(call: Bound, build: Builder) -> None:
        if not call.result.is_float or call.get("rounding_mode") is not None:
            raise NotUnderstoodError
        first, second = list(call.arguments.values())[:2]
        names = [build.operand(first), _times(call, build, second, float(call.get("alpha", 1.0)))]
        build.emit(call, op, names[::-1] if swapped else names, (call.output,))

    return lower


def _product(call: Bound, build: Builder) -> None:
    if call.result.dtype.startswith("complex"):
        rotate(call, build)
    _binary(Op.MUL)(call, build)


def _times(call: Bound, build: Builder, known: Any, factor: float) -> str:
    """An operand times a number."""
    if factor == 1.0:
        return build.operand(known)
    if isinstance(known, (int, float)):
        return build.constant(float(known) * factor)
    target, _ = build.temporary(call)
    value = Value(build.shape(known), call.result.dtype)
    return build.emit(call, Op.MUL, (build.operand(known), build.constant(factor)), (target,), result=value)


def _fused(op: Op) -> Handler:
    """Self + value tensor1 op tensor2."""

    def lower(call: Bound, build: Builder) -> None:
        x, first, second = list(call.arguments.values())[:3]
        product, _ = build.temporary(call)
        shape = np.broadcast_shapes(build.shape(first), build.shape(second))
        value = Value(tuple(shape), call.result.dtype)
        build.emit(call, op, (build.operand(first), build.operand(second)), (product,), result=value)
        addend = _times(call, build, Activation(product), float(call["value"]))
        build.emit(call, Op.ADD, (build.operand(x), addend), (call.output,))

    return lower


def _lerp(call: Bound, build: Builder) -> None:
    """Start + weight (end - start), as (1 - weight) start + weight end where the weight is a number."""
    start, end, weight = list(call.arguments.values())[:3]
    if isinstance(weight, torch.Tensor) and weight.numel() == 1:
        weight = float(weight)
    if isinstance(weight, (int, float)):
        names = (_times(call, build, start, 1.0 - weight), _times(call, build, end, float(weight)))
        build.emit(call, Op.ADD, names, (call.output,))
        return
    difference, value = build.temporary(call)
    build.emit(call, Op.SUB, (build.operand(end), build.operand(start)), (difference,), result=value)
    share, value = build.temporary(call)
    build.emit(call, Op.MUL, (difference, build.operand(weight)), (share,), result=value)
    build.emit(call, Op.ADD, (build.operand(start), share), (call.output,))


def _concatenate(call: Bound, build: Builder) -> None:
    tensors = [known for known in call["tensors"] if 0 not in build.shape(known)]
    if not tensors:
        raise NotUnderstoodError
    rank = len(call.result.shape or ())
    names = [build.operand(known) for known in tensors]
    if len(names) == 1:
        build.emit(call, Op.IDENTITY, names, (call.output,))
        return
    build.emit(call, Op.CONCAT, names, (call.output,), axis=int(call["dim"]) % max(rank, 1))


def _stack(call: Bound, build: Builder) -> None:
    """Each value with a new axis, side by side along it."""
    whole = call.result.shape or ()
    axis = int(call["dim"]) % max(len(whole), 1)
    single = (*whole[:axis], 1, *whole[axis + 1 :])
    names = []
    for known in call["tensors"]:
        target, value = build.temporary(call, Value(single, call.result.dtype))
        source = build.activation(call, known)
        names.append(build.emit(call, Op.RESHAPE, (source,), (target,), result=value))
    build.emit(call, Op.CONCAT, names, (call.output,), axis=axis)


def _where(call: Bound, build: Builder) -> None:
    if not call.result.is_float:
        raise NotUnderstoodError
    names = [build.operand(call.arguments[name]) for name in ("condition", "self", "other")]
    build.emit(call, Op.WHERE, names, (call.output,))


def _masked_fill(call: Bound, build: Builder) -> None:
    if not call.result.is_float:
        raise NotUnderstoodError
    names = [build.operand(call.arguments[name]) for name in ("mask", "value", "self")]
    build.emit(call, Op.WHERE, names, (call.output,))


def _triangle(*, upper: bool) -> Handler:
    """Entries on one side of a diagonal, the others zero."""

    def lower(call: Bound, build: Builder) -> None:
        x = build.activation(call, call["self"])
        rows, columns = build.shape(call["self"])[-2:]
        ones = torch.ones(rows, columns)
        mask = torch.triu(ones, call["diagonal"]) if upper else torch.tril(ones, call["diagonal"])
        build.emit(call, Op.MUL, (x, build.constant(mask)), (call.output,))

    return lower


def _glu(call: Bound, build: Builder) -> None:
    """One half times the sigmoid of the other."""
    x, axis = call["self"], int(call["dim"]) % max(len(build.shape(call["self"])), 1)
    halves = [build.temporary(call)[0] for _ in range(2)]
    source = build.activation(call, x)
    build.emit(call, Op.SPLIT, (source,), halves, layer="split", result=call.result, axis=axis)
    gate, value = build.temporary(call)
    build.emit(
        call, Op.ELEMENTWISE, (halves[1],), (gate,), layer="sigmoid", result=value, function="sigmoid", arguments={}
    )
    build.emit(call, Op.MUL, (halves[0], gate), (call.output,))


HANDLERS: dict[str, Handler] = {
    "add": _binary(Op.ADD),
    "addcdiv": _fused(Op.DIV),
    "addcmul": _fused(Op.MUL),
    "cat": _concatenate,
    "concat": _concatenate,
    "concatenate": _concatenate,
    "div": _binary(Op.DIV),
    "divide": _binary(Op.DIV),
    "glu": _glu,
    "lerp": _lerp,
    "masked_fill": _masked_fill,
    "max.other": _binary(Op.MAXIMUM),
    "maximum": _binary(Op.MAXIMUM),
    "min.other": _binary(Op.MINIMUM),
    "minimum": _binary(Op.MINIMUM),
    "mul": _product,
    "multiply": _product,
    "rsub": _binary(Op.SUB, swapped=True),
    "stack": _stack,
    "sub": _binary(Op.SUB),
    "subtract": _binary(Op.SUB),
    "tril": _triangle(upper=False),
    "triu": _triangle(upper=True),
    "true_divide": _binary(Op.DIV),
    "where": _where,
}
